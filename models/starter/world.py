"""Says what a scene may hold, and draws a scene from a seed. Knows neither words nor pixels."""

import random
from dataclasses import dataclass

SKIES = ("day", "dawn", "sunset", "night", "aurora", "galaxy")
LANDS = ("mountains", "hills", "forest", "desert", "sea", "lake")
SUBJECTS = ("none", "bottle", "lighthouse", "boat", "house", "tree")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
PLACES = ("left", "centre", "right")
CONTENTS = ("galaxy", "sea", "mountains", "forest", "sunset", "empty")
MAX_COUNT = 3

DARK_SKIES = ("night", "aurora", "galaxy")
LANDS_OF = {
    "none": LANDS,
    "bottle": LANDS,
    "lighthouse": ("sea", "sea", "hills", "lake"),
    "boat": ("sea", "lake"),
    "house": ("hills", "mountains", "forest", "lake", "sea"),
    "tree": ("hills", "mountains", "desert", "lake", "sea"),
}
COLOURS_OF = {"tree": ("green", "green", "green", "red", "orange", "yellow", "pink", "white", "purple", "blue")}
SUBJECT_WEIGHTS = (5, 7, 3, 3, 3, 3)
SKY_WEIGHTS = (5, 3, 4, 4, 3, 3)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The contents of one picture. What is not here (the line of a ridge, the shape of a cloud) follows from the
    seed."""

    seed: int
    sky: str
    light: str  # sun, moon or none
    clouds: bool
    land: str
    subject: str
    count: int  # of subjects; 1 where there is none
    colour: str  # the subject's
    place: str  # of a single subject; several stand in a row
    content: str  # of a bottle


def draw_scene(seed: int) -> Scene:
    """Draw the scene that belongs to a seed."""
    rng = random.Random(seed)
    sky = rng.choices(SKIES, SKY_WEIGHTS)[0]
    subject = rng.choices(SUBJECTS, SUBJECT_WEIGHTS)[0]
    count = rng.choices((1, 2, 3), (6, 2, 2))[0] if subject != "none" else 1
    return Scene(
        seed=seed,
        sky=sky,
        light=_light(sky, rng),
        clouds=sky not in ("aurora", "galaxy") and rng.random() < 0.45,
        land=rng.choice(LANDS_OF[subject]),
        subject=subject,
        count=count,
        colour=rng.choice(COLOURS_OF.get(subject, COLOURS)),
        place=rng.choice(("left", "centre", "centre", "right")) if count == 1 else "centre",
        content=rng.choices(CONTENTS, (5, 1, 1, 1, 1, 1))[0],
    )


def _light(sky: str, rng: random.Random) -> str:
    if sky == "galaxy":
        return "none"
    shown = rng.random() < 0.55
    return ("moon" if sky in DARK_SKIES else "sun") if shown else "none"
