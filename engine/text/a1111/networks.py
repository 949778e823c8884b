"""Tags in a prompt of AUTOMATIC1111: ``<lora:name:weight>``. A tag is no words; it changes the model.

Knows no file and no node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.errors import BadRequest

MOST_TAGS = 32

_TAG = re.compile(r"<(\w+):([^<>]+)>")
_LORA_KINDS = ("lora", "lyco")
_ALLOWED = "a prompt whose tags are <lora:name:weight> or <lora:name:text weight:unet weight:rank>"
_RANK = re.compile(r"\d{1,4}")


@dataclass(frozen=True, kw_only=True)
class LoraTag:
    """A LoRA that a prompt names."""

    name: str
    text_strength: float
    """How strongly it changes the text encoder."""
    strength: float
    """How strongly it changes the UNet."""
    rank: int = 0
    """How many dimensions of its products count; 0: all."""


def without_tags(prompt: str, field: str = "prompt") -> tuple[str, tuple[LoraTag, ...]]:
    """Return ``prompt`` without its tags, and the LoRAs that they name, each once, in the order of their first mention.

    Blanks around a tag stay. Of a LoRA that is named twice, the last weights count, once for each mention: both tags
    mean one object in AUTOMATIC1111. Raises ``BadRequest``, naming ``field``, for tags of other networks, for a weight
    that is no number, and for a third number that is no rank.
    """
    tags = [_read(found, field) for found in _TAG.finditer(prompt)]
    if len(tags) > MOST_TAGS:
        raise BadRequest(field, f"{len(tags)} tags", f"at most {MOST_TAGS} tags")
    return _TAG.sub("", prompt), tuple(_counted(tags))


def only_known(prompt: str, known: Callable[[str], bool]) -> str:
    """Return ``prompt`` without the tags of LoRAs whose name is not ``known``; blanks around a tag stay."""

    def kept(found: re.Match[str]) -> str:
        name = found[2].partition(":")[0]
        return found[0] if found[1] not in _LORA_KINDS or known(name) else ""

    return _TAG.sub(kept, prompt)


def written_tag(tag: LoraTag) -> str:
    """Return the tag's text. Raises ``BadRequest`` on ``loras`` for a name that no tag can hold."""
    if not tag.name or any(sign in tag.name for sign in ":<>"):
        raise BadRequest("loras", tag.name, "a name without : < and >, which end a tag's name")
    weights = [tag.text_strength] if tag.text_strength == tag.strength else [tag.text_strength, tag.strength]
    rank = f":dyn={tag.rank}" if tag.rank else ""
    return f"<lora:{tag.name}:{':'.join(map(_plain, weights))}{rank}>"


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _counted(tags: list[LoraTag]) -> Iterator[LoraTag]:
    last = {tag.name: tag for tag in tags}
    for name, tag in last.items():
        mentions = sum(each.name == name for each in tags)
        strengths = {"text_strength": mentions * tag.text_strength, "strength": mentions * tag.strength}
        yield LoraTag(name=name, **strengths, rank=tag.rank)


def _read(found: re.Match[str], field: str) -> LoraTag:
    kind, (name, *arguments) = found[1], found[2].split(":")
    named = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    placed = [argument for argument in arguments if "=" not in argument]
    if kind not in _LORA_KINDS or not name or len(placed) > 3 or set(named) - {"te", "unet", "dyn"}:
        raise BadRequest(field, found[0], _ALLOWED)
    try:
        text = float(named["te"]) if "te" in named else float(placed[0]) if placed else 1.0
        unet = float(named["unet"]) if "unet" in named else float(placed[1]) if len(placed) > 1 else text
    except ValueError:
        raise BadRequest(field, found[0], _ALLOWED) from None
    rank = named.get("dyn", placed[2] if len(placed) > 2 else "0")
    if not _RANK.fullmatch(rank):
        raise BadRequest(field, found[0], _ALLOWED)
    return LoraTag(name=name, text_strength=text, strength=unet, rank=int(rank))
