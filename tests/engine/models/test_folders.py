"""Files of every kind are found by name, in flat folders and in the layouts of ComfyUI and AUTOMATIC1111."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import UnknownCheckpoint, UnknownFile
from engine.models.folders import KINDS, Folders, content_of
from engine.models.layouts import kind_folder
from engine.tensors.kinds import FileKind

MARKS: dict[FileKind, str] = {
    "checkpoints": "model.diffusion_model.out.0.weight",
    "loras": "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight",
    "vae": "encoder.down.0.block.0.norm1.weight",
    "controlnet": "control_model.zero_convs.0.0.weight",
    "embeddings": "emb_params",
    "upscale_models": "conv_first.weight",
}
"""A tensor's name that shows what a file of each kind is."""

COMFYUI = {kind: kind for kind in KINDS}
AUTOMATIC1111: dict[FileKind, str] = {
    "checkpoints": "Stable-diffusion",
    "loras": "Lora",
    "vae": "VAE",
    "controlnet": "ControlNet",
    "embeddings": "../embeddings",
    "upscale_models": "ESRGAN",
}


def write(path: Path, kind: FileKind) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {MARKS[kind]: torch.zeros(2, 8)}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("layout", [COMFYUI, AUTOMATIC1111, dict.fromkeys(KINDS, ".")])
def test_each_kind_is_found_in_each_layout(tmp_path: Path, layout: dict[FileKind, str]) -> None:
    folder = tmp_path / "models"
    files = {kind: write(folder / layout[kind] / f"my_{kind}.safetensors", kind) for kind in KINDS}
    write(folder / layout["loras"] / "styles" / "ink.pt", "loras")
    folders = Folders([folder])
    for kind, file in files.items():
        below = "styles/ink.pt"
        assert folders.names(kind) == [f"my_{kind}.safetensors", *([below] if kind == "loras" else [])]
        for name in (f"my_{kind}", f"my_{kind}.safetensors"):
            assert folders.find(kind, name).samefile(file)
    for name in ("styles/ink.pt", "styles\\ink.pt", "styles\\ink", "ink", "ink.pt", "other\\ink.pt"):
        assert folders.find("loras", name).name == "ink.pt"


def test_a_file_is_what_its_tensors_are_wherever_it_lies(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints" / "strayed.safetensors", "loras")
    folders = Folders([tmp_path])
    assert folders.names("loras") == ["strayed.safetensors"]
    assert folders.names("checkpoints") == []
    with pytest.raises(UnknownCheckpoint, match=r"strayed\.safetensors is there, but it is a LoRA"):
        folders.find("checkpoints", "strayed")


def test_a_file_that_cannot_be_read_is_what_its_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "half.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "empty.ckpt").touch()
    folders = Folders([tmp_path])
    assert (folders.names("vae"), folders.names("checkpoints")) == (["half.pt"], ["empty.ckpt"])
    assert folders.find("vae", "half") == tmp_path / "vae" / "half.pt"


def test_a_changed_file_is_looked_at_again(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", "loras")
    assert content_of(file).kind == "loras"
    write(file, "embeddings")
    os.utime(file, (1, 1))
    assert content_of(file).kind == "embeddings"
    file.unlink()
    assert content_of(file).kind is None


@pytest.mark.parametrize(
    "name", ["../outside", "..\\outside", "a/../../outside", "/ABSOLUTE", "C:\\outside", "", ".", "a//b", "x\0", "\\"]
)
def test_no_name_leads_out_of_the_folders(tmp_path: Path, name: str) -> None:
    write(tmp_path / "outside.safetensors", "loras")
    folder = tmp_path / "models"
    write(folder / "a" / "inside.safetensors", "loras")
    with pytest.raises(UnknownFile) as caught:
        Folders([folder]).find("loras", name.replace("ABSOLUTE", str(tmp_path / "outside.safetensors")), field="lora")
    assert caught.value.field == "lora"
    assert "a/inside.safetensors" in str(caught.value)


def test_the_earlier_folder_counts_and_a_name_of_two_files_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    one = write(first / "loras" / "ink.safetensors", "loras")
    write(second / "loras" / "ink.safetensors", "loras")
    assert Folders([first, second]).find("loras", "ink") == one
    assert Folders([second, first]).find("loras", "ink") != one
    for name in ("a/tone.safetensors", "b/tone.safetensors"):
        write(second / "loras" / name, "loras")
    with pytest.raises(UnknownFile, match=r"with its subfolder: a/tone\.safetensors, b/tone\.safetensors"):
        Folders([first, second]).find("loras", "tone")
    assert Folders([first, second]).find("loras", "b/tone") == second / "loras" / "b" / "tone.safetensors"


def test_unknown_names_are_answered_with_near_ones_and_folders_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "loras" / "watercolour.safetensors", "loras")
    with pytest.raises(UnknownFile, match=r"nowhere \(no such folder\): watercolour"):
        Folders([tmp_path, tmp_path / "nowhere"]).find("loras", "watercolor")
    with pytest.raises(UnknownFile, match="there is none in"):
        Folders([tmp_path]).find("embeddings", "watercolour")


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere / "linked.safetensors", "loras")
    folder = tmp_path / "models"
    (folder / "loras").mkdir(parents=True)
    (folder / "loras" / "more").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(elsewhere)
    assert Folders([folder]).names("loras") == ["more/linked.safetensors"]


def test_a_new_file_belongs_into_the_folder_for_its_kind(tmp_path: Path) -> None:
    assert kind_folder(tmp_path, "checkpoints") == tmp_path
    assert kind_folder(tmp_path, "loras") == tmp_path / "loras"
    for name in ("Stable-diffusion", "Lora"):
        (tmp_path / name).mkdir()
    assert kind_folder(tmp_path, "checkpoints") == tmp_path / "Stable-diffusion"
    assert kind_folder(tmp_path, "loras") == tmp_path / "Lora"


def test_a_lora_is_found_by_the_name_in_its_metadata_where_no_file_has_that_name(tmp_path: Path) -> None:
    tensors = {MARKS["loras"]: torch.zeros(2, 8)}
    save_file(tensors, tmp_path / "v3-final.safetensors", metadata={"ss_output_name": "ink"})
    folders = Folders([tmp_path])
    assert folders.find("loras", "ink").name == "v3-final.safetensors"
    save_file(tensors, tmp_path / "ink.safetensors")
    assert folders.find("loras", "ink").name == "ink.safetensors"
    (tmp_path / "ink.safetensors").unlink()
    save_file(tensors, tmp_path / "v4.safetensors", metadata={"ss_output_name": "ink"})
    with pytest.raises(UnknownFile):  # which of the two?
        folders.find("loras", "ink")
