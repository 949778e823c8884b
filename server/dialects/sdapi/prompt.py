r"""A prompt in AUTOMATIC1111's syntax → the same words and weights in the engine's.

``(words)`` weigh 1.1 times as much in both. Beyond that, ``(words:1.3)`` *multiplies* the weight in AUTOMATIC1111 and
*sets* it in the engine; and only AUTOMATIC1111 knows ``[words]``, ``\[``, ``\\``, unclosed brackets and ``# comments``.
A prompt that would mean something else to the engine is rewritten, word for word and weight for weight; any other is
passed on unchanged. The engine has no equivalent of ``[from:to:when]``, ``[a|b]``, ``AND``, ``BREAK`` and
``<lora:…>``; they are refused.

A weight has the engine's effect: it moves a token's features away from those of the empty prompt. AUTOMATIC1111 scales
them and then restores their mean, so that prompts with weights give pictures that differ more than others do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from engine import BadRequest
from engine.text.prompt import MAX_NESTING, weighted
from server.problems import bad_request, unsupported

Weighted = list[tuple[str, float]]

_TOKEN = re.compile(
    r"""
    \\(?P<escaped>[\\()\[\]]?)                # a backslash that escapes nothing vanishes
    | :\s*(?P<weight>[+-]?[.\d]+)\s*(?P<end>\))
    | (?P<bracket>[()\[\]])
    | (?P<text>[^\\()\[\]:]+ | :)
    """,
    re.VERBOSE,
)
_EDITING = re.compile(r":\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*\Z")
_AND = re.compile(r"\bAND\b")
_BREAK = re.compile(r"\bBREAK\b")
_NETWORK = re.compile(r"<\w+:[^>]+>")
_LONGEST_WHEN = 64
"""Characters at the end of a bracket in which the number of ``[from:to:when]`` is looked for."""


def translated(prompt: str, field: str) -> str:
    """Translate ``prompt`` for the engine. ``field`` is ``prompt`` or ``negative_prompt``.

    Raises ``Problem`` for what the engine cannot do, and for weights that are not finite numbers.
    """
    prompt = _without_comments(prompt)
    _refuse_whole(prompt, field)
    meant = _merged(_pairs(prompt, field))
    try:
        if _same(meant, _merged(weighted(prompt, field))):
            return prompt
    except BadRequest:
        pass  # the engine would refuse the prompt as it is
    return _written(meant)


def _without_comments(prompt: str) -> str:
    """Remove what follows a ``#`` on each line, as AUTOMATIC1111 does."""
    if "#" not in prompt:
        return prompt
    lines = (line.partition("#") for line in prompt.split("\n"))
    return "\n".join(text for text, sign, _ in lines if text or not sign)


def _refuse_whole(prompt: str, field: str) -> None:
    """Refuse what AUTOMATIC1111 finds anywhere in a prompt. In a negative prompt ``AND`` and ``<…>`` are plain text."""
    if found := _BREAK.search(prompt):
        raise unsupported(field, found[0], "a prompt without BREAK (write it in small letters to mean the word)")
    if field == "prompt":
        if found := _AND.search(prompt):
            raise unsupported(field, found[0], "a prompt without AND (write it in small letters to mean the word)")
        if found := _NETWORK.search(
            prompt, 0, prompt.rfind(">") + 1
        ):  # after the last > no < can match, and each would be tried
            raise unsupported(field, found[0], "a prompt without <lora:…> and other extra networks")


def _pairs(prompt: str, field: str) -> Weighted:
    """Read ``prompt`` as AUTOMATIC1111 does: (text, weight) in reading order.

    Round and square brackets are matched independently; an unclosed bracket reaches to the end.
    """
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    brackets = _Brackets(field)

    def close(kind: str, factor: float) -> None:
        for place in range(opened[kind].pop(), len(weights)):
            weights[place] *= factor

    for token in _TOKEN.finditer(prompt):
        bracket = token["bracket"] or token["end"]
        if token["escaped"] is None:
            brackets.meet(token[0], bracket)
        if bracket in ("(", "["):
            if len(opened[bracket]) >= MAX_NESTING:
                raise bad_request(field, prompt, f"brackets at most {MAX_NESTING} deep")
            opened[bracket].append(len(texts))
        elif bracket == ")" and opened["("]:
            close("(", 1.1 if token["weight"] is None else _number(token["weight"], field))
        elif bracket == "]" and opened["["]:
            close("[", 1 / 1.1)
        else:
            texts.append(token[0] if token["escaped"] is None else token["escaped"])
            weights.append(1.0)
    for kind, factor in (("(", 1.1), ("[", 1 / 1.1)):
        while opened[kind]:
            close(kind, factor)
    if not all(map(math.isfinite, weights)):
        raise bad_request(field, prompt, "finite weights")
    return list(zip(texts, weights, strict=True))


class _Brackets:
    """Distinguishes ``[from:to:when]`` and ``[a|b]`` from ``[words]`` by the text directly in the bracket."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._open: list[tuple[str, str, bool]] = []
        """The open brackets: which kind, the end of the text directly in it, and whether that text has a ``|``."""

    def meet(self, text: str, bracket: str | None) -> None:
        """Take the next piece of the prompt, and the bracket that it is or ends with."""
        if bracket in ("(", "["):
            self._open.append((bracket, "", False))
        elif bracket == "]" and self._open and self._open[-1][0] == "[":
            _, inside, choice = self._open.pop()
            if choice or _EDITING.search(inside):
                what = "[a|b], which takes turns," if choice else "[from:to:when], which edits it on the way"
                raise unsupported(self._field, f"[{inside}]", rf"a prompt without {what} (\[ and \] mean the signs)")
        elif bracket == ")" and self._open and self._open[-1][0] == "(":
            self._open.pop()
        elif self._open:
            kind, inside, choice = self._open[-1]
            self._open[-1] = kind, (inside + text[-_LONGEST_WHEN:])[-_LONGEST_WHEN:], choice or "|" in text


def _number(weight: str, field: str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise bad_request(field, weight, "a number as weight") from None


def _merged(pairs: Weighted) -> Weighted:
    """Join neighbours of equal weight, and drop empty texts."""
    merged: Weighted = []
    for text, weight in pairs:
        if merged and math.isclose(merged[-1][1], weight, rel_tol=1e-9):
            merged[-1] = merged[-1][0] + text, merged[-1][1]
        elif text:
            merged.append((text, weight))
    return merged


def _same(one: Weighted, other: Weighted) -> bool:
    return len(one) == len(other) and all(
        text == text_ and math.isclose(weight, weight_, rel_tol=1e-9)
        for (text, weight), (text_, weight_) in zip(one, other, strict=True)
    )


def _written(pairs: Weighted) -> str:
    return "".join(_groups(pairs))


def _groups(pairs: Weighted) -> Iterator[str]:
    """Write each pair in the engine's syntax."""
    for number, (text, weight) in enumerate(pairs):
        escaped = text.replace("(", r"\(").replace(")", r"\)")
        escapes_next = text.endswith("\\") and number + 1 < len(pairs)  # it would escape the next group's parenthesis
        yield escaped if weight == 1 and not escapes_next else f"({escaped}:{weight:.10g})"
