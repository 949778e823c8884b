"""Names → files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine import UnknownCheckpoint
from engine.folders import SHIPPED_MODELS
from engine.models import catalog
from engine.models.folders import KINDS, Folders
from engine.models.incoming import safe_name
from engine.models.web import checked_url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one.safetensors", "two.ckpt", "both.ckpt", "both.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "hidden.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("one", "one.safetensors"),
        ("one.safetensors", "one.safetensors"),
        ("two", "two.ckpt"),
        ("both", "both.safetensors"),
        ("both.ckpt", "both.ckpt"),
    ],
)
def test_a_name_is_found_with_or_without_its_suffix(folder: Path, name: str, file: str) -> None:
    assert catalog.find(name, [folder]) == folder / file


@pytest.mark.parametrize(
    "name",
    ["notes", "hidden", "inner", "inner/notes", "inner/../one", "../nowhere", "", ".", "ONE", "x" * 5000, "a\0"],
)
def test_other_names_are_unknown(folder: Path, name: str) -> None:
    for look_up in (catalog.find, catalog.resolve):
        with pytest.raises(UnknownCheckpoint) as caught:
            look_up(name, [folder])
        assert caught.value.field == "model"


def test_a_path_is_taken_as_it_is(folder: Path) -> None:
    hidden = folder / "inner" / "hidden.safetensors"
    assert catalog.resolve(hidden, [Path("nowhere")]) == hidden
    with pytest.raises(UnknownCheckpoint):
        catalog.find(str(hidden), [folder])


def test_of_two_folders_the_first_counts(folder: Path, tmp_path: Path) -> None:
    second = tmp_path / "inner"
    for name in ("one.safetensors", "both.ckpt", "two.safetensors"):
        (second / name).touch()
    folders = [second, folder]
    assert list(catalog.installed(folders)) == ["both", "hidden", "one", "two"]
    assert catalog.find("one", folders) == second / "one.safetensors"
    assert catalog.find("both", folders) == second / "both.ckpt"
    assert catalog.find("both.safetensors", folders) == folder / "both.safetensors"
    assert catalog.name_of(second / "one.safetensors", folders) == "one"
    assert catalog.name_of(folder / "one.safetensors", folders) == str(folder / "one.safetensors")
    assert catalog.name_of(folder / "two.ckpt", folders) == "two.ckpt"
    assert catalog.how_to_get_the_first(folders).endswith(f"into {second}")


def test_folders_that_do_not_exist_are_named(folder: Path, tmp_path: Path) -> None:
    typo = tmp_path / "modles"
    with pytest.raises(UnknownCheckpoint) as caught:
        catalog.find("three", [folder, typo])
    assert f"{folder} and {typo} (no such folder)" in str(caught.value)


def test_the_nearest_names_are_told(folder: Path) -> None:
    with pytest.raises(UnknownCheckpoint, match="one"):
        catalog.find("onn", [folder])


def test_a_known_name_is_told_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(UnknownCheckpoint, match=r"civitai\.com/models/84476"):
        catalog.find("AWPainting_v1.3", [tmp_path])


def test_the_default_is_awpainting_then_the_starter(tmp_path: Path) -> None:
    with pytest.raises(UnknownCheckpoint):
        catalog.default([tmp_path])
    for name in ("starter", "AWPainting_v1.3"):
        (tmp_path / f"{name}.safetensors").touch()
        assert catalog.default([tmp_path]).stem == name


@pytest.mark.parametrize("entry", catalog.known_files(), ids=lambda entry: entry.name)
def test_an_entry_of_the_catalog_is_complete(entry: catalog.CatalogEntry) -> None:
    assert entry.kind in KINDS
    assert entry.file == safe_name(entry.file)
    assert entry.name == Path(entry.file).stem
    assert entry.source
    assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
    if entry.download is not None:
        assert entry.sha256 is not None
        assert entry.licence
        assert checked_url(entry.download) == entry.download
        assert entry.download.startswith("https://")


def test_names_and_files_of_the_catalog_are_unique_and_stand_in_the_order_of_kinds() -> None:
    known = catalog.known_files()
    for values in ([entry.name.lower() for entry in known], [entry.sha256 for entry in known if entry.sha256]):
        assert len(set(values)) == len(values)
    assert [entry.kind for entry in known] == sorted((entry.kind for entry in known), key=KINDS.index)


def test_what_this_repository_ships_is_in_the_catalog() -> None:
    for kind, files in Folders([SHIPPED_MODELS]).by_kind().items():
        shipped = {name for name in files if name.startswith("starter")}
        assert shipped <= {entry.file for entry in catalog.known_files() if entry.kind == kind}


def test_the_catalog_claims_only_what_is_known() -> None:
    known = {entry.name: entry for entry in catalog.known_checkpoints()}
    assert known["AWPainting_v1.3"].sha256 is None
    assert known["AWPainting_v1.2"].sha256 == "3d1b3c42ec704f3397d9e2968e3e544eda111741e10793afd78faa8148b36e12"
