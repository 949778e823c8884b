"""Writes captions of a scene, as a person might who wants it painted. Knows words, and no pixels and no tokens."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from models.starter import words
from models.starter.world import COLOURS, CONTENTS, DARK_SKIES, LANDS, PLACES, SKIES, SUBJECTS, Scene

ANSWERS = {  # what a caption can say; the answer 0 is "nothing"
    "subject": SUBJECTS[1:],
    "count": ("1", "2", "3"),
    "colour": COLOURS,
    "place": PLACES,
    "content": CONTENTS,
    "land": LANDS,
    "sky": SKIES,
    "light": ("sun", "moon"),
    "clouds": ("clouds",),
    "stars": ("stars",),
}


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A prompt, and what it says of the scene: only what is said can be asked for."""

    text: str
    said: dict[str, str]


def caption(scene: Scene, rng: random.Random) -> Caption:
    """Write ``scene`` down in one of many ways; anything may be left out."""
    said = _chosen(scene, rng)
    return Caption(text=rng.choices((_sentence, _tags, _jumble), (5, 4, 2))[0](said, rng), said=said)


def empty_caption(rng: random.Random) -> Caption:
    """Write a caption that asks for nothing: no words, or those of the usual negative prompts and of mere praise."""
    pool = rng.choice(((), (), words.JUNK, words.PRAISE))
    return Caption(text=", ".join(rng.sample(pool, rng.randint(1, 6))) if pool else "", said={})


def answers_of(caption: Caption) -> list[int]:
    """Return the number of the caption's answer to each question of ``ANSWERS``; 0 if it says nothing about it."""
    return [1 + values.index(caption.said[name]) if name in caption.said else 0 for name, values in ANSWERS.items()]


def _chosen(scene: Scene, rng: random.Random) -> dict[str, str]:
    """Choose what the caption says."""
    chances = {"land": (scene.land, 0.72), "sky": (scene.sky, 0.80)}
    if scene.light != "none":
        chances["light"] = (scene.light, 0.55)
    if scene.clouds:
        chances["clouds"] = ("clouds", 0.6)
    if scene.sky in DARK_SKIES:
        chances["stars"] = ("stars", 0.25)
    chances |= _chosen_subject(scene, rng)
    said = {key: value for key, (value, chance) in chances.items() if rng.random() < chance}
    return said or {"sky": scene.sky}


def _chosen_subject(scene: Scene, rng: random.Random) -> dict[str, tuple[str, float]]:
    if scene.subject == "none" or rng.random() < 0.06:
        return {}
    chances = {"subject": (scene.subject, 1.0), "count": (str(scene.count), 0.95), "colour": (scene.colour, 0.85)}
    if scene.count == 1:
        chances["place"] = (scene.place, 0.25 if scene.place == "centre" else 0.6)
    if scene.subject == "bottle":
        chances["content"] = (scene.content, 0.85)
    return chances


def _subject(said: dict[str, str], rng: random.Random, *, article: bool) -> str:
    """Write the noun with all that belongs to it."""
    many = said.get("count", "1") != "1"
    parts = [rng.choice(words.ARTICLES[int(said["count"])])] if "count" in said and (article or many) else []
    content, after = said.get("content"), ""
    adjectives = [rng.choice(words.COLOUR_WORDS[said["colour"]])] if "colour" in said else []
    if content:
        before, inside = words.CONTENT_WORDS[content]
        if content == "empty" or rng.random() < 0.5:
            adjectives.append(rng.choice(before))
        else:
            after = rng.choice(words.HOLDING).format(rng.choice(inside))
    noun = rng.choice(words.NOUNS[said["subject"]])[many]
    return " ".join([*parts, *adjectives, noun, *([after] if after else [])])


def _phrases(said: dict[str, str], rng: random.Random, *, article: bool) -> dict[str, str]:
    """Write each thing that is said, in its own words."""
    phrases = {}
    if "subject" in said:
        phrases["subject"] = _subject(said, rng, article=article)
    tables: dict[str, Mapping[str, tuple[str, ...]]] = {
        "place": words.PLACE_WORDS,
        "land": words.LAND_WORDS,
        "sky": words.SKY_WORDS,
        "light": words.LIGHT_WORDS,
        "clouds": {"clouds": words.CLOUD_WORDS},
        "stars": {"stars": words.STAR_WORDS},
    }
    return phrases | {key: rng.choice(table[said[key]]) for key, table in tables.items() if key in said}


def _sentence(said: dict[str, str], rng: random.Random) -> str:
    """Write a sentence: 'A painting of two red boats by the sea at dawn, clouds'."""
    phrases = _phrases(said, rng, article=True)
    parts = [rng.choice(words.OPENINGS)] if rng.random() < 0.3 else []
    parts += [phrases[key] for key in ("subject", "place") if key in phrases]
    if "land" in phrases:
        parts += [rng.choice(words.BEFORE_LAND)] if "subject" in said else []
        parts.append(phrases["land"])
    if "sky" in phrases:
        parts += [rng.choice(words.BEFORE_SKY)] if parts else []
        parts.append(phrases["sky"])
    rest = [phrases[key] for key in ("light", "clouds", "stars") if key in phrases]
    rng.shuffle(rest)
    rest += _praise(rng, 2)
    separator = rng.choice((", ", ", ", " and ", " with "))
    return separator.join([part for part in (" ".join(parts), *rest) if part])


def _tags(said: dict[str, str], rng: random.Random) -> str:
    """Write tags: 'masterpiece, lake, purple galaxy bottle, on the left, night'."""
    phrases = _phrases(said, rng, article=rng.random() < 0.3)
    parts = list(phrases.values())
    rng.shuffle(parts)
    praise = _praise(rng, 4)
    return ", ".join(praise + parts if rng.random() < 0.5 else parts + praise)


def _jumble(said: dict[str, str], rng: random.Random) -> str:
    """Write words in any order: 'beautiful scenery nature glass bottle landscape, , purple galaxy bottle'."""
    parts = list(_phrases(said, rng, article=False).values())
    if "subject" in said:
        parts.append(rng.choice(words.NOUNS[said["subject"]])[said.get("count", "1") != "1"])
    parts += _praise(rng, 4)
    rng.shuffle(parts)
    return "".join(part + rng.choice((" ", ", ", " ", ", , ")) for part in parts).strip(" ")


def _praise(rng: random.Random, most: int) -> list[str]:
    return rng.sample(words.PRAISE, rng.randint(0, most))
