"""The names that ``filename_prefix`` asks for."""

from __future__ import annotations

import datetime

import pytest

from engine import BadRequest
from server.dialects.comfyui.names import file_of, name_of, resolved
from tests.server.dialects.comfyui.client import graph_of
from tests.server.dialects.comfyui.jobs import picture

NOW = datetime.datetime(2026, 3, 7, 15, 4, 9)
FILE = f"{'0a' * 16}-1-0.png"


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("ComfyUI", "ComfyUI"),
        ("%date:yyyy-MM-dd%/x", "2026-03-07/x"),
        ("%date:d.M.yy hh-mm-ss%", "7.3.26 15-04-09"),
        ("%year%%month%%day%_%hour%%minute%%second%", "20260307_150409"),
        ("%KSampler.sampler_name% %Empty Latent Image.width%", "euler 64"),
        ("%Prompt.text%", "a_ _b_c_"),
        ("%CheckpointLoaderSimple.ckpt_name%", "instant.safetensors"),
        ("%width%x%height%", "%width%x%height%"),
        ("%KSampler.model% %Nope.x% 100% %", "%KSampler.model% %Nope.x% 100% %"),
        ("a\\b:c*?", "a/b_c__"),
        ("é ü", "é ü"),
    ],
)
def test_what_stands_between_percent_signs_is_filled_in(prefix: str, expected: str) -> None:
    assert resolved(prefix, graph_of(prompt="a: <b/c>"), NOW).startswith(expected)


@pytest.mark.parametrize("prefix", ["../a", "a/..", "/a", "\\a", "x" * 201])
def test_a_prefix_that_leads_elsewhere_is_refused(prefix: str) -> None:
    with pytest.raises(BadRequest) as caught:
        resolved(prefix, {}, NOW)
    assert caught.value.field == "prefix"


@pytest.mark.parametrize("prefix", ["ComfyUI", "a/b/c", "", "x_%width%_%batch_num%", "folder/"])
def test_the_file_is_found_by_the_name_that_clients_have_for_it(prefix: str) -> None:
    filename, subfolder = name_of(picture(FILE), prefix)
    assert file_of(filename) == FILE
    assert "/" not in filename
    assert subfolder == prefix.rpartition("/")[0]
    assert "%" not in filename


def test_pictures_of_older_jobs_keep_their_names() -> None:
    assert name_of(picture(FILE), None) == (FILE, "")
    assert file_of(FILE) == FILE
    assert [file_of(name) for name in ("a.png", "", f"{FILE}/x", FILE.upper(), FILE.replace("-0", "-x"))] == [None] * 5
