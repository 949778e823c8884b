"""The command line for the models folder: what it prints, brings and answers."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.models import catalog, hashes, states
from engine.models.__main__ import main
from tests.web_server import Server, answer, cut, stall

PROJECT = Path(__file__).parents[3]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def run(models: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on an empty folder; returns its status, what it printed and what it complained of."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main([*arguments, "--models", str(models)])
        except SystemExit as exit_:
            status = int(str(exit_.code))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the catalog hold one file, ``tiny``, of the given fields: a checkpoint, if they do not say otherwise."""

    def known(**fields: Any) -> None:
        entry = catalog.CatalogEntry(
            **{"kind": "checkpoints", "name": "tiny", "file": "tiny.safetensors", "source": "https://a.page"} | fields
        )
        for module in (catalog, states):
            monkeypatch.setattr(module, "known_files", lambda: (entry,))

    return known


def brought(models: Path) -> list[str]:
    return sorted(path.name for path in models.iterdir() if path.name != ".hashes.json") if models.exists() else []


def test_list_tells_where_to_get_what_is_missing(run: Run, models: Path) -> None:
    status, out, err = run("list")
    assert (status, err) == (0, "")
    line = next(line for line in out.splitlines() if line.startswith("AWPainting_v1.3"))
    assert "missing" in line
    assert (
        f"get AWPainting_v1.3.safetensors from https://civitai.com/models/84476 in a browser and put it into {models}"
        in line
    )


def test_list_shows_what_is_installed_and_what_its_hash_is_known_to_be(
    run: Run, models: Path, tiny_checkpoint: Path, sha256: str
) -> None:
    models.mkdir()
    shutil.copy(tiny_checkpoint, models / "mine.safetensors")
    assert "not checked" in run("list")[1]
    run("verify")
    assert f"{sha256[:10]}, nothing known to compare it with" in run("list")[1]
    states = map(json.loads, run("list", "--json")[1].splitlines())
    (state,) = (state for state in states if state["name"] == "mine")
    assert state["size_bytes"] == tiny_checkpoint.stat().st_size
    assert state["sha256"] == sha256
    assert state["known"] is None
    with (models / "mine.safetensors").open("ab") as file:
        file.write(b"x")
    assert "not checked" in run("list")[1]


def test_list_prints_one_json_line_per_file_of_the_catalog(run: Run) -> None:
    states = [json.loads(line) for line in run("list", "--json")[1].splitlines()]
    assert [(state["kind"], state["name"]) for state in states] == [
        (entry.kind, entry.name) for entry in catalog.known_files()
    ]
    assert all(state["path"] is None for state in states)
    assert states[0]["known"]["unconfirmed_short_hash"] == "5a44dad2e0"


def adapter(path: Path) -> Path:
    save_file(
        {"lora_unet_a.lora_up.weight": torch.zeros(4, 2), "lora_unet_a.lora_down.weight": torch.zeros(2, 4)}, path
    )
    return path


def test_files_of_other_kinds_go_into_their_folders_and_are_listed_and_verified(
    run: Run, models: Path, tmp_path: Path, server: Server
) -> None:
    source = adapter(tmp_path / "ink.safetensors")
    assert run("add", str(source))[1].strip() == str(models / "loras" / "ink.safetensors")
    torch.save({"emb_params": torch.zeros(3, 8)}, tmp_path / "word.pt")
    assert run("add", str(tmp_path / "word.pt"))[1].strip() == str(models / "embeddings" / "word.pt")
    assert run("add", str(source))[0] == 2
    server.site.content = source.read_bytes()
    status, out, _ = run("add", server.url + "/tone.safetensors")
    assert (status, out.strip()) == (0, str(models / "loras" / "tone.safetensors"))
    assert sorted(path.name for path in models.iterdir()) == ["embeddings", "loras"]
    listed = [json.loads(line) for line in run("list", "--json", "--kind", "loras")[1].splitlines()]
    there = [(state["kind"], state["name"]) for state in listed if state["path"] is not None]
    assert there == [("loras", "ink"), ("loras", "tone")]
    status, out, _ = run("verify", "ink", "word")
    assert status == 0
    assert "a LoRA, 16 parameters" in out
    assert "a textual-inversion embedding, 24 parameters" in out


def test_a_file_of_no_kind_that_is_known_is_refused(run: Run, models: Path, tmp_path: Path) -> None:
    save_file({"something.else": torch.zeros(2, 2, 2)}, tmp_path / "odd.safetensors")
    status, _, err = run("add", str(tmp_path / "odd.safetensors"))
    assert (status, brought(models)) == (1, [])
    assert "none of its 1 tensors is known; the engine works with checkpoint, LoRA" in err


def test_pull_brings_a_known_checkpoint_once(
    run: Run, known: Any, server: Server, models: Path, content: bytes, sha256: str
) -> None:
    known(download=server.url + "/file", sha256=sha256)
    server.site.script = [cut(5000)]
    assert "pull tiny" in run("list")[1]
    status, out, err = run("pull", "tiny")
    assert (status, out.strip()) == (0, str(models / "tiny.safetensors"))
    assert "as the catalog says" in err
    assert "\r" not in err
    assert (models / "tiny.safetensors").read_bytes() == content
    assert "as the catalog says" in run("list")[1]
    asked = len(server.site.requests)
    status, out, err = run("pull", "tiny.safetensors")
    assert (status, out.strip()) == (0, str(models / "tiny.safetensors"))
    assert "there already" in err
    assert len(server.site.requests) == asked


def test_a_known_file_of_another_kind_goes_into_its_folder(
    run: Run, known: Any, server: Server, models: Path, tmp_path: Path
) -> None:
    content = adapter(tmp_path / "source.safetensors").read_bytes()
    server.site.content = content
    known(kind="loras", download=server.url + "/weights.safetensors", sha256=hashlib.sha256(content).hexdigest())
    assert "pull tiny" in run("list", "--kind", "loras")[1]
    status, out, err = run("pull", "tiny")
    assert (status, out.strip()) == (0, str(models / "loras" / "tiny.safetensors"))
    assert "as the catalog says" in err
    assert run("pull", "tiny")[1] == out
    assert "as the catalog says" in run("verify", "tiny")[1]
    (state,) = map(json.loads, run("list", "--json")[1].splitlines())
    assert (state["kind"], state["hash"], state["path"]) == ("loras", "matches", out.strip())
    shutil.copy(tmp_path / "source.safetensors", models / "loras" / "other.safetensors")
    known(kind="vae", file="other.safetensors", sha256="0" * 64)
    assert "nothing known to compare it with" in run("verify", "other")[1]  # a LoRA is not the VAE of this name


def test_pull_refuses_another_file(run: Run, known: Any, server: Server, models: Path) -> None:
    known(download=server.url + "/file", sha256="0" * 64)
    status, out, err = run("pull", "tiny")
    assert (status, out, brought(models)) == (1, "", [])
    assert "SHA-256" in err.splitlines()[-1]


def test_pull_without_a_direct_download_says_where_and_where_to(run: Run, models: Path) -> None:
    for name in ("AWPainting_v1.3", "AWPainting_v1.2"):
        status, out, err = run("pull", name)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert f"get {name}.safetensors from https://civitai.com/models/84476" in err
        assert str(models) in err
    assert not models.exists()


def test_pull_of_an_unknown_name_tells_the_known_ones(run: Run) -> None:
    status, _, err = run("pull", "AWPainting")
    assert status == 2
    assert "AWPainting_v1.3" in err


def test_add_takes_a_path(run: Run, models: Path, tiny_checkpoint: Path, content: bytes, sha256: str) -> None:
    status, out, err = run("add", str(tiny_checkpoint), "--name", "mine.safetensors")
    assert (status, out.strip()) == (0, str(models / "mine.safetensors"))
    assert sha256 in err
    assert (models / "mine.safetensors").read_bytes() == content
    assert brought(models) == ["mine.safetensors"]


def test_add_takes_a_url_and_the_name_that_the_server_gives(run: Run, models: Path, server: Server) -> None:
    server.site.extra = {"Content-Disposition": 'attachment; filename="../../evil.safetensors"'}
    status, _, _ = run("add", server.url + "/api/download/1?token=hidden")
    assert (status, brought(models)) == (0, ["evil.safetensors"])


def test_add_never_writes_over_a_file(run: Run, models: Path, tiny_checkpoint: Path, server: Server) -> None:
    models.mkdir()
    (models / "tiny.safetensors").write_text("mine")
    for source in (str(tiny_checkpoint), server.url + "/tiny.safetensors"):
        status, _, err = run("add", source)
        assert status == 2
        assert "is taken" in err
    assert (models / "tiny.safetensors").read_text() == "mine"
    assert server.site.requests == []


def test_add_expects_the_given_hash_or_the_catalogs(
    run: Run, known: Any, models: Path, tiny_checkpoint: Path, server: Server, sha256: str
) -> None:
    known(sha256="0" * 64)
    assert run("add", str(tiny_checkpoint))[0] == 2
    assert run("add", server.url + "/tiny.safetensors")[0] == 1
    assert run("add", str(tiny_checkpoint), "--sha256", sha256)[0] == 2  # not what the catalog knows
    assert run("add", str(tiny_checkpoint), "--name", "x.safetensors", "--sha256", "1" * 64)[0] == 2
    assert run("add", server.url + "/x.safetensors", "--sha256", "1" * 64)[0] == 1
    assert brought(models) == []
    assert run("add", server.url + "/x.safetensors", "--sha256", sha256.upper())[0] == 0
    assert brought(models) == ["x.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["x.safetensors", "--name", "../x.safetensors"], "name"),
        (["x.safetensors", "--name", "x.txt"], "name"),
        (["x.safetensors", "--name", ".x.ckpt"], "name"),
        (["x.safetensors", "--name", ""], "name"),
        (["x.zip"], "name"),
        (["x.safetensors", "--sha256", "5a44dad2e0"], "sha256"),
        (["none.safetensors"], "model"),
        (["ftp://host/x.safetensors"], "url"),
        (["https://host/x.safetensors", "--token-env", "NO_SUCH_VARIABLE"], "token-env"),
    ],
)
def test_a_callers_mistake_is_one_line_and_status_2(run: Run, models: Path, arguments: list[str], field: str) -> None:
    status, out, err = run("add", *arguments)
    assert (status, out, brought(models)) == (2, "", [])
    assert len(err.splitlines()) == 1
    assert err.startswith(f"error: {field}: ")


def test_unknown_commands_and_flags_are_one_line(run: Run) -> None:
    for arguments in (["remove"], ["list", "--nonsense"], ["pull"]):
        status, _, err = run(*arguments)
        assert status == 2
        assert len(err.splitlines()) == 1


def test_the_token_comes_from_the_named_variable_alone_and_is_never_told(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIVITAI_TOKEN", "secret")
    run("add", server.url + "/x.safetensors")
    assert "authorization" not in server.site.requests[-1]
    server.site.script = [answer(403)]
    status, out, err = run("add", server.url + "/y.safetensors", "--token-env", "CIVITAI_TOKEN")
    assert server.site.requests[-1]["authorization"] == "Bearer secret"
    assert status == 1
    assert "secret" not in out + err
    for bad in ("se cret", "secret\nX-Injected: 1", "sécret"):
        monkeypatch.setenv("CIVITAI_TOKEN", bad)
        status, out, err = run("add", server.url + "/y.safetensors", "--token-env", "CIVITAI_TOKEN")
        assert status == 2
        assert "cret" not in out + err


def test_verify_compares_with_the_catalog(
    run: Run, known: Any, models: Path, tiny_checkpoint: Path, sha256: str
) -> None:
    models.mkdir()
    shutil.copy(tiny_checkpoint, models)
    for fields, said, expected in (
        ({"sha256": sha256}, f"{sha256[:10]}, as the catalog says", 0),
        ({"sha256": "0" * 64}, f"{sha256[:10]} DIFFERS from the catalog's 0000000000", 1),
        ({"unconfirmed_short_hash": sha256[:10]}, "as a third party says (unconfirmed)", 0),
        (
            {"unconfirmed_short_hash": "5a44dad2e0"},
            "differs from 5a44dad2e0, which a third party says (unconfirmed)",
            0,
        ),
        ({}, "nothing known to compare it with", 0),
    ):
        known(**fields)
        status, out, err = run("verify", "tiny")
        assert status == expected
        assert said in out
        assert sha256 in out
        assert "sound Stable Diffusion 1.x" in out
        assert bool(err) == bool(expected)


def test_verify_finds_what_is_no_sound_checkpoint_and_looks_at_the_others_too(
    run: Run, models: Path, tiny_checkpoint: Path
) -> None:
    models.mkdir()
    (models / "a.safetensors").write_bytes(tiny_checkpoint.read_bytes()[:-5])
    (models / "b.safetensors").write_text("<html>")
    shutil.copy(tiny_checkpoint, models / "c.safetensors")
    status, out, err = run("verify", "--json")
    assert status == 1
    assert "2 of 3 failed: a.safetensors, b.safetensors" in err
    problems = {state["name"]: state["problem"] for state in map(json.loads, out.splitlines())}
    assert "truncated" in problems["a"]
    assert "web page" in problems["b"]
    assert problems["c"] is None


def test_verify_of_nothing(run: Run) -> None:
    assert run("verify")[0] == 0
    status, _, err = run("verify", "AWPainting_v1.2")
    assert status == 2
    assert "civitai.com/models/84476" in err


def test_a_folder_that_is_only_to_be_read_can_be_verified(
    run: Run, models: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.mkdir()
    shutil.copy(tiny_checkpoint, models)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(hashes.os, "replace", refuse)
    status, out, _ = run("verify")
    assert status == 0
    assert "sound" in out
    assert brought(models) == ["tiny.safetensors"]


def command(models: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "engine.models", *arguments, "--models", str(models)]


def test_a_killed_download_goes_on(run: Run, server: Server, models: Path, content: bytes) -> None:
    server.site.script = [stall(5_000_000, 30)]
    url = server.url + "/tiny.safetensors"
    process = subprocess.Popen(command(models, "add", url), cwd=PROJECT, env={**os.environ, "no_proxy": "*"})
    part = models / "tiny.safetensors.part"
    until = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size == 5_000_000) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert brought(models) == ["tiny.safetensors.part", "tiny.safetensors.part.json"]
    assert run("add", url)[0] == 0
    assert server.site.requests[-1]["range"] == "bytes=5000000-"
    assert (models / "tiny.safetensors").read_bytes() == content
    assert brought(models) == ["tiny.safetensors"]


@pytest.mark.slow
def test_a_terminal_gets_a_progress_bar(server: Server, models: Path) -> None:
    terminal, shell = pty.openpty()
    fcntl.ioctl(shell, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        command(models, "add", server.url + "/tiny.safetensors"),
        cwd=PROJECT,
        env={**os.environ, "no_proxy": "*"},
        stdout=subprocess.PIPE,
        stderr=shell,
    )
    os.close(shell)
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
    os.close(terminal)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert b"tiny.safetensors: 100%" in seen
    assert out.decode().strip() == str(models / "tiny.safetensors")
