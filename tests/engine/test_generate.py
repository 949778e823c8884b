"""The command line: what it prints, writes and answers."""

from __future__ import annotations

import copy
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file

from engine import Engine, EngineConfig, GenerationRequest
from engine.formats.comfyui import api_workflow, editor_workflow
from engine.generate import main
from engine.parameters import from_json

SMALL = ["--width", "64", "--height", "64", "--steps", "2"]
PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(models_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line on the tiny checkpoint; returns its status, what it printed and what it complained of."""

    def run(*arguments: str, model: str | None = "tiny") -> tuple[int, str, str]:
        named = ["--model", model] if model else []
        places = ["--out", str(tmp_path / "out"), "--models", str(models_folder), "--device", "cpu"]
        status = main([*places, *named, *arguments])
        captured = capsys.readouterr()
        return int(status), captured.out, captured.err

    return run


def test_it_prints_the_path_of_the_picture_it_wrote(run: Any, tmp_path: Path) -> None:
    status, out, err = run("a lighthouse at dawn", *SMALL)
    assert (status, err) == (0, "")
    (path,) = out.splitlines()
    assert Path(path).parent == tmp_path / "out"
    with Image.open(path) as image:
        assert image.size == (64, 64)
        assert "a lighthouse at dawn" in image.info["parameters"]


def test_every_flag_reaches_the_request(run: Any, models_folder: Path, tmp_path: Path) -> None:
    flags: dict[str, Any] = {
        "negative_prompt": "[fog|mist]",
        "prompt_syntax": "a1111",
        "prompt_reading": {"emphasis": "no_norm", "old_schedules": True},
        "width": 64,
        "height": 80,
        "batch_size": 2,
        "steps": 3,
        "cfg_scale": 5.5,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "seed": 2**64 - 1,
        "start_noise": "cuda",
        "step_noise": "cuda",
        "denoise": 0.75,
        "clip_skip": 2,
        "model": "other",
        "regions": [{"prompt": "a door", "x": 8, "y": 0, "width": 64, "height": 64, "strength": 0.5}],
        "image": str(tmp_path / "photo.png"),
        "mask": str(tmp_path / "mask.png"),
        "hires": {"scale": 1.5, "method": "bilinear", "denoise": 0.5, "steps": 2},
    }
    for name in ("image", "mask"):
        Image.effect_noise((90, 70), 80).save(flags[name])
    texts = {name: json.dumps(value) if isinstance(value, list | dict) else str(value) for name, value in flags.items()}
    arguments = [part for name, text in texts.items() for part in ("--" + name.replace("_", "-"), text)]
    status, out, _ = run("a house", *arguments, "--json", "--save-latents", str(tmp_path / "x.safetensors"), model=None)
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["index"] for line in lines] == [0, 1]
    written, parts = lines[0]["request"], ("hires", "regions", "prompt_reading")
    assert {name: written[name] for name in flags if name not in parts} == {
        name: value for name, value in flags.items() if name not in parts
    }
    assert all(flags[name].items() <= written[name].items() for name in ("hires", "prompt_reading"))
    assert flags["regions"][0].items() <= written["regions"][0].items()
    assert (written["prompt"], written["loras"], written["controls"]) == ("a house", [], [])
    with Engine(EngineConfig(models_folders=(models_folder,), device="cpu")) as engine:
        inputs = [{flags[name]: Path(flags[name]) for name in ("image", "mask")}]
        result = engine.generate(from_json(GenerationRequest, lines[0]["request"]), inputs=inputs)
    assert load_file(tmp_path / "x.safetensors")["latents"].equal(result.latents)
    for line, image in zip(lines, result.images, strict=True):
        assert Image.open(line["path"]).tobytes() == image.tobytes()


def test_a_regions_mask_is_a_file_too(run: Any, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    region = json.dumps({"prompt": "a door", "mask": str(mask)})
    status, _, complaint = run("a house", *SMALL, "--region", region)
    assert (status, "--region mask" in complaint, "a picture's file, or" in complaint) == (2, True, True)
    Image.new("RGB", (32, 32), "red").save(mask)
    status, out, _ = run("a house", *SMALL, "--region", region, "--json")
    assert (status, json.loads(out)["request"]["regions"][0]["mask"]) == (0, str(mask))


def test_nothing_is_ever_overwritten(run: Any) -> None:
    paths = {run("a", *SMALL)[1] for _ in range(3)}
    assert len(paths) == 3


@pytest.mark.parametrize("form", [api_workflow, editor_workflow])
def test_a_workflow_is_run_and_flags_win(run: Any, tmp_path: Path, form: Any) -> None:
    request = GenerationRequest(prompt="from the file", width=64, height=64, steps=3, seed=9)
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(form(request, checkpoint_file="tiny.safetensors")))
    status, out, _ = run("--workflow", str(file), "--steps", "2", "--json", model=None)
    assert status == 0
    request_read = json.loads(out)["request"]
    assert (request_read["prompt"], request_read["seed"], request_read["steps"], request_read["model"]) == (
        "from the file",
        9,
        2,
        "tiny",
    )


def test_a_workflow_loads_the_pictures_that_are_handed_in(run: Any, tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (4, 3), (0, 55, 255)).save(tmp_path / "pictures" / "photo.png")
    (tmp_path / "invert.json").write_text(json.dumps(graph))
    given = ("--workflow", str(tmp_path / "invert.json"))
    for path in ("pictures", "pictures/photo.png"):
        status, out, _ = run(*given, "--input", str(tmp_path / path), model=None)
        assert status == 0
        assert Image.open(out.strip()).getpixel((0, 0)) == (255, 200, 0)
    status, _, complaint = run(*given, model=None)
    assert (status, complaint.startswith("error: workflow node 1 (LoadImage) image")) == (2, True)
    status, _, complaint = run(*given, "--input", "/nowhere", model=None)
    assert (status, complaint.startswith("error: --input")) == (2, True)


def test_any_workflow_is_run_and_its_pictures_carry_it(run: Any, tmp_path: Path) -> None:
    request = GenerationRequest(width=64, height=64, steps=2, seed=9)
    graph = api_workflow(request, checkpoint_file="tiny.safetensors")
    graph["20"] = copy.deepcopy(graph["3"])
    graph["20"]["inputs"] |= {"latent_image": ["3", 0], "denoise": 0.5}
    graph["21"] = {"class_type": "VAEDecode", "inputs": {"samples": ["20", 0], "vae": ["4", 2]}}
    graph["22"] = {"class_type": "PreviewImage", "inputs": {"images": ["21", 0]}}
    file = tmp_path / "two passes.json"
    file.write_text(json.dumps(graph))
    status, out, _ = run("--workflow", str(file), "--json", model=None)
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["node"] for line in lines] == ["9", "22"]
    first, second = (Image.open(line["path"]) for line in lines)
    assert first.tobytes() != second.tobytes()
    assert json.loads(first.info["prompt"]) == graph
    status, _, complaint = run("--workflow", str(file), "--steps", "3", model=None)
    assert status == 2
    assert complaint.startswith("error: --steps: ")
    assert "workflow node" in complaint
    status, out, err = run("--repeat", lines[1]["path"], model=None)
    assert (status, err) == (0, "")
    assert [Image.open(path).tobytes() for path in out.splitlines()] == [first.tobytes(), second.tobytes()]
    status, _, complaint = run("--repeat", lines[1]["path"], "--steps", "3", model=None)
    assert (status, complaint[:16]) == (2, "error: --steps: ")


def test_the_other_name_for_repeating_a_picture_works_and_says_what_it_is_called(run: Any) -> None:
    first = run("again", *SMALL)[1].strip()
    status, out, err = run("--from-image", first, model=None)
    assert (status, Image.open(out.strip()).tobytes()) == (0, Image.open(first).tobytes())
    assert err == "note: --from-image is called --repeat; --image starts from a picture\n"


def test_a_picture_is_repeated_from_what_it_carries(run: Any) -> None:
    first = run("again (please:1.2), ünïcode", *SMALL, "--seed", "77", "--sampler", "dpmpp_sde")[1].strip()
    status, out, err = run("--repeat", first, model=None)
    assert (status, err) == (0, "")
    assert Image.open(out.strip()).tobytes() == Image.open(first).tobytes()


def test_a_repetition_says_what_differs(run: Any) -> None:
    first = run("again", *SMALL)[1].strip()
    status, _, err = run("--repeat", first, "--dtype", "bfloat16", model=None)
    assert status == 0
    assert "dtype (then float32, now bfloat16)" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--steps", "0"], "--steps: 0"),
        (["--steps", "many"], "steps: 'many'"),
        (["--width", "100"], "width: 100"),
        (["--sampler", "eular"], "nearest: euler"),
        (["--cfg-scale", "nan"], "--cfg-scale: 'nan'"),
        (["--seed", "18446744073709551616"], "seed"),
        (["--model", "missing"], "model: 'missing'"),
        (["--device", "abacus"], "device: 'abacus'"),
        (["--dtype", "int4"], "dtype: 'int4'"),
        (["--workflow", "/nowhere.json"], "workflow"),
        (["--repeat", "/nowhere.png"], "--repeat: '/nowhere.png'"),
        (["--save-latents", "/nowhere/x.safetensors"], "save-latents"),
        (["--save-latents", "/"], "save-latents"),
        (["--unknown-flag"], "--unknown-flag"),
        (["--workflow", "a", "--repeat", "b"], "not allowed with"),
        (["--lora", "ghost"], "--lora name: 'ghost'"),
        (["--lora", "ink:strong"], "expected NAME[:STRENGTH[:CLIP_STRENGTH]], or JSON, with a number from -100 to 100"),
        (["--lora", "ink:1:1:1"], "--lora: 'ink:1:1:1'"),
        (["--lora", ""], "--lora: ''"),
        (["--lora", '[{"name": "ink", "strength": 101}]'], "--lora strength: 101"),
        (["--control", "edges"], "expected MODEL:IMAGE[:STRENGTH[:START[:END]]]"),
        (["--control", "edges:photo.png:0.8:0:2"], "with a number from 0 to 1 for END"),
        (["--region", "0:0:64:64"], "expected X:Y:WIDTH:HEIGHT:PROMPT"),
        (["--region", "512:0:64:64:a boat"], "--region x: 512"),
        (["--hires", "2:smooth"], "--hires: '2:smooth'"),
        (["--vae", "ghost"], "--vae: 'ghost'"),
        (["(a:nan)"], "PROMPT: "),
    ],
)
def test_a_callers_mistake_is_one_line_and_status_2(
    run: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    try:
        status, out, err = run(*arguments, model=None if "--model" in arguments else "tiny")
    except SystemExit as end:  # argparse's way out
        status, (out, err) = end.code, capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert named in err


def test_all_that_is_not_there_is_named_at_once(run: Any, tmp_path: Path) -> None:
    _, _, err = run("a", *SMALL, "--lora", "ghost", "--lora", "ghost:0", "--vae", "veil", "--image", "nowhere.png")
    for named in ("--lora name: 'ghost'", "--vae: 'veil'", "--image: 'nowhere.png'"):
        assert err.count(named) == 1
    graph = api_workflow(GenerationRequest(), checkpoint_file="missing.safetensors")
    graph["11"] = {"class_type": "VAELoader", "inputs": {"vae_name": "veil.pt"}}
    graph["8"]["inputs"]["vae"] = ["11", 0]
    graph["12"] = {"class_type": "LoadImage", "inputs": {"image": "nowhere.png"}}
    graph["13"] = {"class_type": "PreviewImage", "inputs": {"images": ["12", 0]}}
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    status, _, err = run("--workflow", str(tmp_path / "graph.json"), model=None)
    assert (status, err.count("\n")) == (2, 1)
    assert "workflow node 4 (CheckpointLoaderSimple) ckpt_name: 'missing.safetensors'" in err
    assert "workflow node 11 (VAELoader) vae_name: 'veil.pt'" in err
    assert "workflow node 12 (LoadImage) image: 'nowhere.png'" in err


def test_an_output_folder_that_is_a_file_is_a_callers_mistake(run: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    status, _, err = run("a", *SMALL)
    assert status == 2
    assert "out" in err


def test_a_broken_checkpoint_is_status_1(run: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"<html>")
    status, _, err = run("a", *SMALL, model=str(broken))
    assert status == 1
    assert str(broken) in err
    assert err.count("\n") == 1


def test_without_a_model_it_says_which_it_takes(
    models_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "starter.safetensors").symlink_to(models_folder / "tiny.safetensors")
    assert main(["a", *SMALL, "--models", str(tmp_path), "--out", str(tmp_path), "--device", "cpu"]) == 0
    printed = capsys.readouterr().err
    assert printed.startswith("model: starter (paints a small world")
    assert "; for AWPainting_v1.3, put AWPainting_v1.3.safetensors (from https://" in printed
    assert printed.count("\n") == 1


def start(models_folder: Path, folder: Path, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "engine.generate", *arguments, "--model", "tiny", "--models", str(models_folder)]
    return subprocess.Popen([*command, "--out", str(folder), "--device", "cpu"], cwd=PROJECT, text=True, **streams)


def terminal() -> tuple[int, int]:
    """Our end and theirs of a terminal of 24 × 80 characters."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    return ours, theirs


def read_until(terminal: int, wanted: bytes | None) -> bytes:
    """What the terminal shows until it shows ``wanted``, or until the other end is closed."""
    shown = b""
    while wanted is None or wanted not in shown:
        try:
            shown += os.read(terminal, 1024)
        except OSError:  # closed
            break
    return shown


def test_a_terminal_shows_a_progress_bar(models_folder: Path, tmp_path: Path) -> None:
    ours, theirs = terminal()
    process = start(models_folder, tmp_path, *SMALL, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = read_until(ours, None)
    os.close(ours)
    assert process.communicate(timeout=60)[0].strip().endswith(".png")
    assert b"2/2" in shown
    assert b"step" in shown


def test_ctrl_c_stops_at_once_and_leaves_nothing_behind(models_folder: Path, tmp_path: Path) -> None:
    ours, theirs = terminal()
    process = start(
        models_folder,
        tmp_path,
        "--width",
        "512",
        "--height",
        "512",
        "--steps",
        "5000",
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    read_until(ours, b"sampling")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    rest = read_until(ours, None)
    os.close(ours)
    assert (process.returncode, out) == (1, "")
    assert rest.endswith(b"error: stopped\r\n")
    assert b"Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_who_stops_reading_loses_no_picture(models_folder: Path, tmp_path: Path) -> None:
    process = start(
        models_folder, tmp_path, *SMALL, "--batch-size", "3", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    process.stderr.close()
    assert len(list(tmp_path.iterdir())) == 3
