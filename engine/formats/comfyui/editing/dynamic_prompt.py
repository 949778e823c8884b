r"""Text as the ComfyUI editor holds it ⇄ the prompt that it sends: comments, ``{a|b}`` choices and escapes.

The editor changes the text of a prompt widget when a graph is queued; a graph in API form has been through that.
Knows nothing of graphs.
"""

from __future__ import annotations

import re

from engine.errors import BadRequest

_DEEPEST = 50
_COMMENT = re.compile(r"//|/\*")
_LINE_END = re.compile("[\n\r\u2028\u2029]")
_SPECIAL = re.compile(r"\{|\\.?", re.DOTALL)
_ESCAPE = re.compile(r"\\([{}|])")
_TO_ESCAPE = re.compile(r"\\+[{}|]?|[{}|]")
_COMMENT_SECOND = re.compile(r"(?<=/)[/*]")


def expand(text: str, field: str) -> str:
    r"""Return the prompt that the editor sends for ``text``.

    ``// …`` and ``/* … */`` go, ``{x}`` is x, ``\{``, ``\}`` and ``\|`` are the bare character; a backslash at the end
    stands for itself. Raises ``BadRequest`` for ``{a|b}``, of which the editor draws one at random at each run.
    """
    return _expand(text, text, field, 0)


def _expand(text: str, whole: str, field: str, depth: int) -> str:
    if depth > _DEEPEST:
        raise BadRequest(field, whole, f"braces nested at most {_DEEPEST} deep")
    text = _without_comments(text)
    parts: list[str] = []
    at = 0
    while special := _SPECIAL.search(text, at):
        start, after = special.span()
        parts.append(text[at:start])
        if special[0] == "{":
            end = _block_end(text, after, whole, field)
            parts.append(_expand(text[after:end], whole, field, depth + 1))
            at = end + 1
        else:
            parts.append(special[0])
            at = after
    return _ESCAPE.sub(r"\1", "".join(parts) + text[at:])


def _block_end(text: str, at: int, whole: str, field: str) -> int:
    """The place of the brace that closes the block whose inside starts at ``at``; the text's end if nothing does."""
    depth = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        elif char == "}":
            break
        elif char == "|" and not depth:
            allowed = r"text without {a|b}, of which the editor draws one at random (\{ is a plain brace)"
            raise BadRequest(field, whole, allowed)
        at += 1
    return min(at, len(text))


def _without_comments(text: str) -> str:
    last_closer = text.rfind("*/")  # looked for once: a search behind every opener would take n² time
    parts: list[str] = []
    kept = at = 0
    while opener := _COMMENT.search(text, at):
        start, inside = opener.span()
        if opener[0] == "//":
            line_end = _LINE_END.search(text, inside)
            end = line_end.start() if line_end else len(text)
        elif inside <= last_closer:
            end = text.index("*/", inside) + 2
        else:
            at = start + 1
            continue
        parts.append(text[kept:start])
        kept = at = end
    return "".join(parts) + text[kept:]


def escape(prompt: str) -> str:
    """Return the text for which the editor sends ``prompt``: ``expand(escape(prompt), …) == prompt`` for every
    prompt."""
    return _COMMENT_SECOND.sub(lambda second: "{" + second[0] + "}", _TO_ESCAPE.sub(_escaped, prompt))


def _escaped(match: re.Match[str]) -> str:
    r"""One backslash more before a brace or bar, because the editor takes one away there.

    Backslashes pair up from the left; where they are even in number an opening brace would open a block, so it is
    itself put in one: ``{\{}``.
    """
    run = match[0].rstrip("{}|")
    char = match[0][len(run) :]
    if char == "{" or (char and run):
        run += "\\"
    return run + (r"{\{}" if char == "{" and len(run) % 2 == 0 else char)
