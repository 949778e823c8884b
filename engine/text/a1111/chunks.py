"""Words and weights of an AUTOMATIC1111 prompt → chunks of 77 tokens, with embeddings in the place of their names.

Knows no text encoder. A chunk's weights multiply features here; they do not interpolate as ComfyUI's do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.text.a1111.emphasis import BREAK, BREAK_WEIGHT
from engine.text.a1111.reading import Reading
from engine.text.a1111.tokens import bracket_factors, tokens_of
from engine.text.embeddings import Embedding, Vector
from engine.text.prompt import CHUNK, END, ROOM, START, Chunk

_COMMA = 267

_PLACE = 0
"""The token that stands in the place of a vector. It is read where a comma's rest leaves its vectors behind."""


class Vocabulary:
    """The embeddings that a prompt may name, found by the tokens of their bare names."""

    def __init__(self, embeddings: Mapping[str, Embedding], width: int) -> None:
        """Those of another width than the text encoder's are left out, and their names are words."""
        fitting = {name: each for name, each in embeddings.items() if each.vectors(width).shape[1] == width}
        self._width = width
        self._by_tokens = {tokens_of(name): embedding for name, embedding in fitting.items()}
        self._lengths = sorted({len(tokens) for tokens in self._by_tokens if tokens}, reverse=True)

    def at(self, tokens: Sequence[int], place: int) -> tuple[list[Vector], int]:
        """Return the vectors of the embedding whose name is at ``place``, and the tokens of its name, of the longest
        name that fits; no vectors where there is none."""
        for length in self._lengths:
            embedding = self._by_tokens.get(tuple(tokens[place : place + length]))
            if embedding is not None:
                count = len(embedding.vectors(self._width))
                return [Vector(embedding, index, self._width) for index in range(count)], length
        return [], 1


def names_in(texts: Iterable[str], names: Iterable[str], reading: Reading) -> Iterator[str]:
    """Yield those of ``names`` that one of ``texts``, none of which has a schedule, has in the place of words."""
    words = {words for text in set(texts) for words, _ in reading.weighted(text)}
    written = [_written(each) for each in words]
    for name in names:
        wanted = _written(name)
        if wanted and any(wanted in each for each in written):
            yield name


def _written(text: str) -> str:
    return "".join(f" {token} " for token in tokens_of(text))


def chunks_of(text: str, vocabulary: Vocabulary, reading: Reading, field: str = "text") -> tuple[Chunk, ...]:
    """Return the chunks of a text without schedules, at least one.

    ``BREAK`` ends a chunk. Where a chunk is full, the words behind its last comma, if there is one within
    ``reading.comma_backtrack`` tokens of its end, go to the next. An embedding is never torn. Raises ``BadRequest``,
    naming ``field``, for weights that are no finite numbers.
    """
    if reading.old_emphasis:
        return (_old_chunk(text, vocabulary, reading),)
    open_, done = _Open(backtrack=reading.comma_backtrack), []
    for words, weight in reading.weighted(text, field):
        if words == BREAK and weight == BREAK_WEIGHT:
            done.append(open_.closed())
            open_ = _Open(backtrack=reading.comma_backtrack)
            continue
        for full in open_.filled(tokens_of(words), weight, vocabulary):
            done.append(full.closed())
    return (*done, open_.closed()) if open_.weights or not done else tuple(done)


def _old_chunk(text: str, vocabulary: Vocabulary, reading: Reading) -> Chunk:
    """The first 75 tokens, in the oldest way to weigh them: a token with brackets is no word and changes the weight of
    all that follows. ``BREAK`` is a word, and there are no numbers."""
    chunk, weight, place, tokens = _Open(), 1.0, 0, tokens_of(text)
    factors = bracket_factors() if reading.weighs else {}
    while place < len(tokens):
        vectors, length = vocabulary.at(tokens, place)
        if tokens[place] in factors:
            weight, length = weight * factors[tokens[place]], 1
        else:
            chunk.take(tokens[place], vectors, weight)
        place += length
    return chunk.closed()


@dataclass
class _Open:
    """A chunk that is being filled."""

    backtrack: int = 0
    """Tokens from its end within which a comma is looked for."""
    tokens: list[int] = field(default_factory=list)
    """Without the start."""
    weights: list[float] = field(default_factory=list)
    vectors: dict[int, Vector] = field(default_factory=dict)
    """By place. They stay where they are when the words behind a comma leave."""
    comma: int | None = None
    """The place of the last comma."""

    def closed(self) -> Chunk:
        tokens: list[int | Vector] = [START, *self.tokens[:ROOM]]
        tokens += [END] * (CHUNK - len(tokens))
        for place, vector in self.vectors.items():
            if place + 1 < CHUNK:  # one that is too long takes the end's place too
                tokens[place + 1] = vector
        weights = [1.0, *self.weights[:ROOM]]
        return Chunk(tuple(tokens), (*weights, *[1.0] * (CHUNK - len(weights))))

    def filled(self, tokens: Sequence[int], weight: float, vocabulary: Vocabulary) -> Iterator[_Open]:
        """Take in tokens of one weight. Yields the chunks that are full; this one is then the next."""
        place = 0
        while place < len(tokens):
            if tokens[place] == _COMMA:
                self.comma = len(self.tokens)
            elif self._breaks_at_comma():
                yield self._without_rest()
            if len(self.tokens) >= ROOM:
                yield self._moved()
            vectors, length = vocabulary.at(tokens, place)
            if len(self.tokens) + len(vectors) > ROOM and self.tokens:
                yield self._moved()
            self.take(tokens[place], vectors, weight)
            place += length

    def take(self, token: int, vectors: Sequence[Vector], weight: float) -> None:
        """Take in an embedding's vectors, or a token where there are none."""
        self.vectors |= {len(self.tokens) + index: vector for index, vector in enumerate(vectors)}
        self.tokens += [_PLACE] * len(vectors) or [token]
        self.weights += [weight] * (len(vectors) or 1)

    def _breaks_at_comma(self) -> bool:
        full = len(self.tokens) == ROOM
        return full and self.comma is not None and ROOM - self.comma <= self.backtrack

    def _without_rest(self) -> _Open:
        """The chunk up to its last comma; what follows the comma stays here, without embeddings."""
        assert self.comma is not None
        cut = self.comma + 1
        full = _Open(self.backtrack, self.tokens[:cut], self.weights[:cut], self.vectors)
        self.tokens, self.weights, self.vectors, self.comma = self.tokens[cut:], self.weights[cut:], {}, None
        return full

    def _moved(self) -> _Open:
        """The whole chunk; an empty one stays here."""
        full = _Open(self.backtrack, self.tokens, self.weights, self.vectors)
        self.tokens, self.weights, self.vectors, self.comma = [], [], {}, None
        return full
