"""The flags of the command line: the short forms of a request's parts, and what errors call a parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadRequest
from engine.generate_flags import SHORT, Short, flag_of, given_parameters, parser
from engine.request import GenerationRequest
from engine.request_parts import Control, Hires, Lora, Region


def given(*arguments: str) -> dict[str, Any]:
    return given_parameters(parser().parse_args(arguments))


@pytest.mark.parametrize(
    ("text", "lora"),
    [
        ("ink", Lora(name="ink")),
        ("ink:0.8", Lora(name="ink", strength=0.8)),
        ("style/ink.safetensors:-1:0", Lora(name="style/ink.safetensors", strength=-1, clip_strength=0)),
        ("ink::0.5", Lora(name="ink", clip_strength=0.5)),
        ("ink:0.8:null", Lora(name="ink", strength=0.8)),
        ('{"name": "a:b", "strength": 2}', Lora(name="a:b", strength=2)),
    ],
)
def test_a_lora_is_a_name_and_strengths(text: str, lora: Lora) -> None:
    assert given("--lora", text) == {"loras": (lora,)}


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("edges:house.png", Control(model="edges", image="house.png")),
        ("edges:house.png:0.8", Control(model="edges", image="house.png", strength=0.8)),
        ("edges:house.png:0.8:0.1:0.5", Control(model="edges", image="house.png", strength=0.8, start=0.1, end=0.5)),
        ("edges:C:\\pictures\\a b.png", Control(model="edges", image="C:\\pictures\\a b.png")),
        ("edges:c:/a.png:1::0.5", Control(model="edges", image="c:/a.png", end=0.5)),
    ],
)
def test_a_control_is_a_name_a_picture_and_numbers(text: str, control: Control) -> None:
    """The colon of a drive belongs to the picture's path."""
    assert given("--control", text) == {"controls": (control,)}


def test_a_region_is_a_rectangle_and_a_prompt_with_colons_of_its_own() -> None:
    region = Region(prompt="a (red:1.2) boat: fast", x=0, y=64, width=128, height=64)
    assert given("--region", "0:64:128:64:a (red:1.2) boat: fast") == {"regions": (region,)}


def test_a_second_pass_is_a_scale_and_a_method() -> None:
    assert given("--hires", "2") == {"hires": Hires(scale=2)}
    assert given("--hires", "1.5:bilinear") == {"hires": Hires(scale=1.5, method="bilinear")}
    assert given("--hires", "2::0.4:12") == {"hires": Hires(scale=2, denoise=0.4, steps=12)}
    assert given("--hires", '{"method": "area"}') == {"hires": Hires(method="area")}
    assert given("--hires", "null") == {"hires": None}


def test_parts_add_up_in_the_order_in_which_they_are_given() -> None:
    listed = json.dumps([{"name": "b"}, {"name": "c", "strength": 0.5}])
    loras = given("--lora", "a", "--loras", listed, "--lora", "d:2")["loras"]
    assert [(lora.name, lora.strength) for lora in loras] == [("a", 1), ("b", 1), ("c", 0.5), ("d", 2)]
    assert given("--lora", "[]") == {"loras": ()}


def test_the_most_of_a_kind_counts_all_flags_together() -> None:
    with pytest.raises(BadRequest) as caught:
        given(*[word for _ in range(9) for word in ("--control", "edges:a.png")])
    assert (caught.value.field, "at most 8" in caught.value.allowed) == ("controls", True)


def test_every_part_has_its_usage_in_the_help() -> None:
    shown = " ".join(parser().format_help().split())
    for name, short in SHORT.items():
        assert f"{short.flag} {short.usage}" in shown
        known = {*vars(short.cls)["__dataclass_fields__"]}
        assert {*short.fields, *short.others} == known
        assert len(short.fields) + len(short.others) == len(known)
        assert name in vars(GenerationRequest)["__dataclass_fields__"]


@pytest.mark.parametrize("short", SHORT.values(), ids=SHORT)
def test_help_and_readme_name_the_fields_that_json_alone_can_give(short: Short) -> None:
    shown = " ".join(parser().format_help().split())
    readme = (Path(__file__).parents[2] / "engine" / "README.md").read_text()
    (line,) = (line for line in readme.splitlines() if line.startswith(f"| `{short.flag}` |"))
    assert short.usage in line
    assert ("As JSON also" in line) == bool(short.others)
    assert all(f"`{name}`" in line for name in short.others)
    if short.others:
        assert f"as JSON also {', '.join(short.others)}" in shown


@pytest.mark.parametrize(
    ("field", "flag"),
    [
        ("cfg_scale", "--cfg-scale"),
        ("prompt", "PROMPT"),
        ("loras[1].name", "--lora name"),
        ("hires.scale", "--hires scale"),
        ("inputs", "--input"),
        ("models_folders", "--models"),
        ("save-latents", "--save-latents"),
        ("workflow", "--workflow"),
        ("workflow node 3 (KSampler) steps", "workflow node 3 (KSampler) steps"),
        ("repeat infotext Steps", "--repeat infotext Steps"),
        ("unknown", "unknown"),
    ],
)
def test_an_error_is_about_a_flag(field: str, flag: str) -> None:
    assert flag_of(field) == flag


def test_all_flags_at_fault_are_named_at_once() -> None:
    with pytest.raises(BadRequest) as caught:
        given("--steps", "0", "--sampler", "dpm", "--lora", "ink:999", "--lora", "a:1:x", "--width", "64")
    fields = [flag_of(each.field) for each in caught.value.all]
    assert sorted(fields) == ["--lora", "--lora", "--sampler", "--steps"]
