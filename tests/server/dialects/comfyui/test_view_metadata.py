"""``/view_metadata`` answers with what training programs have written into a safetensors file."""

from __future__ import annotations

from pathlib import Path

import httpx
from safetensors.torch import save_file

from server.backends.engine import EngineBackend
from tests.adapters import QUERY, low_rank
from tests.checkpoints import write_tiny_checkpoint
from tests.server.conftest import running
from tests.server.queues import settings_in


def test_metadata_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "loras" / "sub").mkdir(parents=True)
    write_tiny_checkpoint(folder / "tiny.safetensors")
    tensors = low_rank("lora_unet_" + QUERY.replace(".", "_"), 32, 32)
    texts = {"ss_tag_frequency": '{"ink": {"drawing": 3}}', "ss_output_name": "ink"}
    save_file(tensors, folder / "loras" / "sub" / "ink.safetensors", metadata=texts)
    save_file(tensors, folder / "loras" / "plain.safetensors")
    settings = settings_in(tmp_path, backend="engine", model="tiny", models_folders=(folder,), device="cpu")
    with running(settings, EngineBackend(settings)) as server:

        def metadata(folder: str, filename: str | None) -> httpx.Response:
            params = {} if filename is None else {"filename": filename}
            return httpx.get(f"{server.url}/view_metadata/{folder}", params=params, timeout=60)

        assert metadata("loras", "sub/ink.safetensors").json() == texts
        for place, name in (
            ("loras", None),
            ("loras", "plain.safetensors"),
            ("loras", "none.safetensors"),
            ("loras", "../tiny.safetensors"),
            ("loras", str(folder / "tiny.safetensors")),
            ("nothing", "sub/ink.safetensors"),
            ("vae", "sub/ink.safetensors"),
        ):
            answer = metadata(place, name)
            assert answer.status_code == 404, (place, name)
            assert set(answer.json()) == {"error", "node_errors"}
