"""What LoRAs make of resident models: shared tensors, counted sizes, and the same bytes alone and beside others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine import BadRequest, BrokenCheckpoint, Engine, EngineConfig, Workflow
from engine.models.hashes import adapter_hash
from engine.running.loading import source_of
from engine.running.model import Model, Network, TextEncoder
from engine.running.residents.adapters import text_size, unet_size
from engine.workflow.latents import EmptyLatents
from engine.workflow.models import Checkpoint, Clip, ClipWithLora, WithLora
from engine.workflow.models import Model as ModelNode
from engine.workflow.node import Node
from engine.workflow.pictures import Decode, SavePictures
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.text import EncodeText
from tests.adapters import QUERY, low_rank, write_adapter
from tests.checkpoints import write_tiny_checkpoint
from tests.requests import same

BASE = Checkpoint(name="tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    write_tiny_checkpoint(folder / "tiny.safetensors", seed=0)
    write_adapter(folder / "loras" / "one.safetensors")
    write_adapter(folder / "loras" / "style" / "two.safetensors", seed=5, text=False)
    save_file(low_rank("lora_unet_" + QUERY.replace(".", "_"), 32, 48), folder / "loras" / "wrong.safetensors")
    return folder


def engine_on(folder: Path, **settings: Any) -> Engine:
    return Engine(EngineConfig(models_folders=(folder,), device="cpu", **settings))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    with engine_on(folder, unet_rows=4) as engine:
        yield engine


def picture(model: ModelNode, clip: Clip = BASE, *, seed: int = 1) -> Workflow:
    sample = Sample(
        guider=CfgGuider(
            model=model, positive=EncodeText(clip=clip, text="a cat"), negative=EncodeText(clip=clip), cfg_scale=5.0
        ),
        sampler=Sampler(name="euler"),
        noise=RandomNoise(seed=seed),
        sigmas=ScheduledSigmas(model=model, sampler="euler", scheduler="normal", steps=3),
        latents=EmptyLatents(width=64, height=64),
    )
    return Workflow(outputs={"9": SavePictures(pictures=Decode(latents=sample, vae=BASE))})


def located(folder: Path, node: Node) -> Any:
    changes: dict[str, Any] = {name: located(folder, value) for name, value in node.fields() if isinstance(value, Node)}
    sub = "loras" if not isinstance(node, Checkpoint) else "."
    return dataclasses.replace(node, name=str(folder / sub / f"{node.name}.safetensors"), **changes)  # type: ignore[type-var,attr-defined]


def resident(engine: Engine, folder: Path, *wanted: Node) -> tuple[Any, ...]:
    lease = engine._pool.acquire(*(source_of(located(folder, node)) for node in wanted))
    things = lease.resident.result(60)
    lease.release()
    return things


def tensors_of(module: Any) -> dict[str, Tensor]:
    return dict(module.named_parameters())


def new_tensors(base: Any, variant: Any) -> list[Tensor]:
    """The tensors that ``variant`` does not share with ``base``."""
    own = {id(each) for each in _tensors(base)}
    return [each for each in _tensors(variant) if id(each) not in own]


def _tensors(network: Any) -> list[Tensor]:
    unet = network.denoiser.network
    packs = [*unet._qkv.values(), unet._kv, unet._shift, unet._shift_bias]
    doubled = [each for layer in unet._doublings.values() for each in layer.parameters()]
    views = {each.untyped_storage().data_ptr() for each in packs if not each.is_mkldnn}
    plain = [p for p in unet.module.parameters() if p.is_mkldnn or p.untyped_storage().data_ptr() not in views]
    return [*packs, *doubled, *plain]


def test_only_what_is_changed_is_held_and_counted(engine: Engine, folder: Path) -> None:
    node = WithLora(model=BASE, name="one")
    base, variant = resident(engine, folder, BASE, node)
    assert isinstance(base, Model)
    assert isinstance(variant, Network)
    held = new_tensors(base, variant)
    assert [math.prod(each.shape) for each in held] == [3 * 32 * 32]  # queries, keys and values are packed together
    assert unet_size(located(folder, node), engine._loader.tools) == 3 * 32 * 32 * 4
    clip = ClipWithLora(clip=BASE, name="one")
    (encoder,) = resident(engine, folder, clip)
    assert isinstance(encoder, TextEncoder)
    before, after = tensors_of(base.conditioner._encoder), tensors_of(encoder.conditioner._encoder)
    other = [name for name, value in after.items() if before[name].data_ptr() != value.data_ptr()]
    assert [after[name].numel() * 4 for name in other] == [text_size(located(folder, clip), engine._loader.tools)]


def test_weights_are_changed_in_float32_and_rounded_once(engine: Engine, folder: Path) -> None:
    clip = ClipWithLora(clip=BASE, name="one", strength=0.7)
    (encoder,) = resident(engine, folder, clip)
    (name,) = [name for name in tensors_of(encoder.conditioner._encoder) if name.endswith("layers.0.mlp.fc1.weight")]
    stored = load_file(folder / "tiny.safetensors")
    (weight,) = [value for key, value in stored.items() if key.endswith("layers.0.mlp.fc1.weight")]
    parts = low_rank("x", 256, 64, seed=1)
    expected = weight.float() + 0.7 * (parts["x.lora_up.weight"] @ parts["x.lora_down.weight"])
    assert torch.equal(tensors_of(encoder.conditioner._encoder)[name], expected.half().float())


def test_a_stack_is_made_of_its_checkpoint_alone(engine: Engine, folder: Path) -> None:
    stack = WithLora(model=WithLora(model=BASE, name="one", strength=0.3), name="style/two")
    engine.unload("tiny")
    engine.generate(picture(stack))
    assert [str(each) for each in engine._pool.resident()] == [
        "tiny.safetensors",
        "two.safetensors + one.safetensors + tiny.safetensors",
    ]
    swapped = WithLora(model=WithLora(model=BASE, name="style\\two"), name="one", strength=0.3)
    assert not torch.equal(engine.generate(picture(stack)).latents, engine.generate(picture(BASE)).latents)
    assert torch.allclose(
        engine.generate(picture(stack)).latents, engine.generate(picture(swapped)).latents, rtol=1e-3, atol=1e-3
    )


def test_a_strength_of_0_loads_nothing(engine: Engine, folder: Path) -> None:
    nothing = WithLora(model=BASE, name="none of this name", strength=0)
    assert same(engine.generate(picture(nothing)), engine.generate(picture(BASE)))


def test_letting_a_checkpoint_go_lets_go_of_its_variants(engine: Engine, folder: Path) -> None:
    engine.generate(picture(WithLora(model=BASE, name="one")))
    assert engine.unload("tiny")
    assert engine._pool.resident() == []


def test_the_same_bytes_alone_and_beside_the_base(engine: Engine) -> None:
    models: list[ModelNode] = [BASE, WithLora(model=BASE, name="one"), WithLora(model=BASE, name="style/two")]
    wanted = [picture(model, seed=seed) for seed in range(2) for model in models]
    alone = [engine.generate(workflow) for workflow in wanted]
    handles = [engine.submit(workflow) for workflow in wanted]
    for one, handle in zip(alone, handles, strict=True):
        assert same(one, handle.result(60))
    assert not torch.equal(alone[0].latents, alone[1].latents)


def test_a_file_that_does_not_fit_fails_its_request_alone(engine: Engine) -> None:
    wrong = engine.submit(picture(WithLora(model=BASE, name="wrong")))
    good = engine.submit(picture(BASE))
    with pytest.raises(BrokenCheckpoint, match=r"wrong\.safetensors.*does not fit"):
        wrong.result(60)
    good.result(60)


def test_a_name_that_is_not_there_is_the_nodes(engine: Engine) -> None:
    graph = picture(WithLora(model=BASE, name="on")).to_comfyui()
    with pytest.raises(BadRequest, match=r"LoraLoaderModelOnly\) lora_name.*one"):
        engine.submit(Workflow.from_comfyui(graph))


def test_a_cancelled_request_leaves_the_pool_in_order(engine: Engine) -> None:
    engine.unload("tiny")
    handle = engine.submit(picture(WithLora(model=BASE, name="one")))
    handle.cancel()
    assert engine.generate(picture(WithLora(model=BASE, name="one"))).images


def test_the_record_says_what_was_applied(engine: Engine, folder: Path) -> None:
    clip = ClipWithLora(clip=BASE, name="one", strength=0.5)
    record = engine.generate(picture(WithLora(model=BASE, name="style/two", strength=2), clip)).record
    assert record["checkpoint"] == "tiny.safetensors"
    found = sorted(record["adapters"], key=lambda each: each["file"])
    files = [folder / "loras" / name for name in ("one.safetensors", "style/two.safetensors")]
    assert [each.pop("hash") for each in found] == [adapter_hash(file) for file in files]
    assert found == [
        {"file": "one.safetensors", "strength": 0.5, "unknown_tensors": 0},
        {"file": "two.safetensors", "strength": 2, "unknown_tensors": 0},
    ]


def test_a_variant_has_to_fit_into_the_budget(folder: Path, engine: Engine) -> None:
    (base,) = resident(engine, folder, BASE)
    size = engine._loader.size_of(source_of(located(folder, BASE)))
    assert base is not None
    with engine_on(folder, memory_budget=size + 3 * 32 * 32 * 4) as narrow:
        first = narrow.generate(picture(WithLora(model=BASE, name="one")))
        narrow.generate(picture(WithLora(model=BASE, name="style/two")))
        assert [str(each) for each in narrow._pool.resident()] == [
            "tiny.safetensors",
            "two.safetensors + tiny.safetensors",
        ]
        assert same(first, narrow.generate(picture(WithLora(model=BASE, name="one"))))
