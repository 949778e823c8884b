"""Nodes for conditioning: what the network is asked to show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from engine.parameters import REQUIRED, FileName, Flag, OneOf, Text, WholeNumber, parameter
from engine.text.a1111.reading import EMPHASES, Reading
from engine.workflow.models import Clip
from engine.workflow.node import Node, link
from engine.workflow.weights import Weights

MOST_TEXTS = 256
"""Different texts that one prompt with a schedule has at most: each is encoded."""

MOST_CHARACTERS = 100_000
"""Characters that they have at most, all together."""

BACKTRACKS = WholeNumber(0, 75)
EMPHASIS_HELP = (
    "original: weights multiply features, whose mean is restored; no_norm: it is not; ignore: weights do nothing; "
    "none: brackets are text"
)
OLD_EMPHASIS_HELP = "weights come from tokens with brackets, without numbers, and text is cut at 75 tokens"
BACKTRACK_HELP = "how many tokens before the end of a chunk of 75 a comma may stand at which the chunk is cut"
OLD_SCHEDULES_HELP = "[a:b:when] means a share below 1 and a number from 1 on, in both passes alike"


class Conditioning(Node):
    """What a prediction is conditioned on."""


class EncodedText(Conditioning):
    """A prompt's text, encoded, in whatever language."""

    clip: Clip
    text: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EncodeText(EncodedText):
    """A prompt, encoded."""

    clip: Clip = link(Clip)
    text: str = parameter("", Text(), "what the picture shows; (words:1.3) weigh more, any length")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EncodeA1111Text(EncodedText):
    """A prompt as AUTOMATIC1111 writes and encodes it: ``[from:to:when]``, ``[a|b]``, ``BREAK``, embeddings by their
    bare names, weights that nest and that multiply features. ``AND`` is a word in it.
    """

    clip: Clip = link(Clip)
    text: str = parameter("", Text(), "what the picture shows; [from:to:0.5] changes at half of the evaluations")
    evaluations: int = parameter(20, WholeNumber(1, 100_000), "evaluations of the sampling that it is for")
    before: int = parameter(
        0, WholeNumber(0, 100_000), "evaluations of the pass before, which numbers in it count too; 0 in a first pass"
    )
    emphasis: str = parameter("original", OneOf(EMPHASES), EMPHASIS_HELP)
    old_emphasis: bool = parameter(False, Flag(), OLD_EMPHASIS_HELP)
    comma_backtrack: int = parameter(20, BACKTRACKS, BACKTRACK_HELP)
    old_schedules: bool = parameter(False, Flag(), OLD_SCHEDULES_HELP)

    @property
    def reading(self) -> Reading:
        """How its words are read."""
        return Reading(emphasis=self.emphasis, old_emphasis=self.old_emphasis, comma_backtrack=self.comma_backtrack)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Embedding(Weights):
    """A textual-inversion embedding. No node links to it: prompts name it, as ``embedding:name`` or as ``name``."""

    name: str = parameter(
        REQUIRED,
        FileName(what="the name of an embedding", folder="embeddings", optional=False),
        "an embedding from the models folders",
    )


def bare_name(name: str) -> str:
    """Return the name of an embedding's file without folders and suffix, as AUTOMATIC1111's prompts have it."""
    return PurePath(name.replace("\\", "/")).stem
