"""Prompts as the ComfyUI editor holds them: comments, choices, escapes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.formats.comfyui import request_from_workflow
from engine.formats.comfyui.editing.dynamic_prompt import escape, expand
from engine.request import GenerationRequest
from tests.graphs import (
    SHIPPED,
    api,
    editor,
    editor_node,
    refused,
)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("plain", "plain"),
        ("a // comment\nb", "a \nb"),
        ("a /* more\nlines */ b", "a  b"),
        ("a /* open", "a /* open"),
        ("a /*/ b", "a /*/ b"),
        (r"\{a\|b\}", "{a|b}"),
        ("{one}", "one"),
        ("{{{best}}}", "best"),
        ("{open", "open"),
        ("a } b | c", "a } b | c"),
        (r"(a:1.2) \(x\)", r"(a:1.2) \(x\)"),
        ("https:{/}/x", "https://x"),
        ("ends\\", "ends\\"),
    ],
)
def test_editor_text_is_what_the_editor_would_send(text: str, prompt: str) -> None:
    assert expand(text, "x") == prompt
    graph = editor()
    editor_node(graph, 6)["widgets_values"] = [text]
    assert request_from_workflow(graph).prompt == prompt


@pytest.mark.parametrize("text", ["{a|b}", "{|}", "x {a|{b}} y", "{" * 1000])
def test_choices_that_the_editor_draws_are_refused(text: str) -> None:
    graph = editor()
    editor_node(graph, 6)["widgets_values"] = [text]
    refused(graph, "workflow node 6 (CLIPTextEncode) text")
    plain = api()
    plain["6"]["inputs"]["text"] = text
    assert request_from_workflow(plain).prompt == text


@given(st.text() | st.text("\\{}|/*a\n"))
@settings(max_examples=1000)
def test_escaped_text_expands_to_itself(prompt: str) -> None:
    assert expand(escape(prompt), "x") == prompt


def test_plain_prompts_are_not_escaped() -> None:
    for prompt in (SHIPPED.prompt, "a (b:1.2), c/d; e|f}", r"\(escaped\)"):
        assert escape(prompt) == prompt


def test_long_prompts_are_no_attack() -> None:
    for part in ("\\", "{", "/*", "/", "//", "{}", "\\{", "*/"):
        text = part * 50_000
        assert expand(escape(text), "x") == text
        graph = editor()
        editor_node(graph, 6)["widgets_values"] = [text]
        try:
            assert isinstance(request_from_workflow(graph), GenerationRequest)
        except BadRequest:
            refused(graph, "workflow node 6 (CLIPTextEncode) text")
