"""Reads what a caller sends as parameters, and describes what may be sent, in the words of the caller's dialect.

A dialect makes one ``Reader`` from dataclasses of parameters: ``GenerationRequest``, and the controls of its own calls.
How a value is checked, read and described is known to the parameters' kinds. This module knows no dialect and no HTTP.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from engine import BadRequest, GenerationRequest, UnknownCheckpoint
from engine.errors import MOST_SAID
from engine.parameters import Kind, nullable, parameters_of, placed, spelt, within
from server.backends.checkpoints import ModelInfo
from server.problems import Mistake, Problem, all_said

FRESH = GenerationRequest(seed=None)
"""The defaults of the dialects whose callers expect a new picture from each call: a seed that is absent is drawn."""

Found = dict[str, tuple[str, object]]
"""A parameter's name → the caller's word for it, with the place where it was found, and its value."""

T = TypeVar("T")

_SHOWN = 80
"""Characters of an unknown word that an error shows."""

_HEAD = re.compile(r"[^.\[]*")
"""The parameter in the name of a part of it, such as ``loras[0].strength``."""


class Reader:
    """Reads the parameters of some dataclasses, under their own names and under a dialect's words for them."""

    def __init__(
        self,
        *defaults: object,
        words: Mapping[str, str] | None = None,
        hidden: Collection[str] = (),
        null_is_absent: bool = True,
    ) -> None:
        """Make a reader.

        Args:
            defaults: An instance of each dataclass, which has the values of the parameters that are absent.
            words: The dialect's words, and the names of the parameters that they stand for.
            hidden: The parameters that callers can name by the dialect's word alone.
            null_is_absent: Whether null stands for every parameter's default, and not for a value of its own.
        """
        self._defaults = {type(each): each for each in defaults}
        self._null_is_absent = null_is_absent
        self._parameters = {name: each for cls in self._defaults for name, each in parameters_of(cls).items()}
        own = {name: name for name in self._parameters if name not in hidden and name not in (words or {})}
        self.words: Mapping[str, str] = {**(words or {}), **own}
        """The words that callers may use → the names of the parameters."""

    def find(self, given: Mapping[str, object], place: str = "") -> Found:
        """Return the parameters in ``given``, which was found at ``place``, such as ``input.``.

        Raises ``Problem``, which names all unknown words, and ``BadRequest`` where two words stand for one parameter.
        """
        found: Found = {}
        if strange := {word: value for word, value in given.items() if word not in self.words}:
            raise unknown(strange, self.words, place)
        for word, value in given.items():
            if value is None and self._null_is_absent:
                continue
            name = self.words[word]
            if name in found:
                raise BadRequest(place + word, value, f"nothing beside {found[name][0]}, which says the same")
            found[name] = (place + word, value)
        return found

    def read(self, cls: type[T], found: Found, base: T | None = None) -> T:
        """Return the ``cls`` that ``found`` describes; what is absent is as in ``base``, or else in the defaults.

        Raises ``BadRequest``, in the caller's words, which names all values in ``found`` that are not allowed, also
        those that are parameters of another class.
        """
        known, values = parameters_of(cls), {}
        defaults: Any = self._defaults[cls] if base is None else base
        try:
            for name, (word, value) in found.items():
                if name in known:
                    with within(word):
                        values[name] = known[name].kind.from_json(value)
            with worded(words_of(found)):
                made: T = dataclasses.replace(defaults, **values)
        except BadRequest as error:
            raise BadRequest.together([*self.mistakes(found), *error.all]) from None
        return made

    def mistakes(self, found: Found) -> list[BadRequest]:
        """Return what is wrong with each value in ``found``, in the caller's words."""
        mistakes: list[BadRequest] = []
        for name, (word, value) in found.items():
            if name in self._parameters and not isinstance(value, bytes):  # a form's file is for others to read
                try:
                    self._parameters[name].kind.read(word, value)
                except BadRequest as error:
                    mistakes += error.all
        return mistakes

    def from_text(self, query: Mapping[str, str]) -> dict[str, object]:
        """Return a query's texts as the values that they spell. ``read`` refuses a text that spells none."""
        return self._spelt(query, lambda kind, text: kind.from_text(text))

    def from_form(self, form: Mapping[str, object]) -> dict[str, object]:
        """Return a form's texts, also those in its lists and objects, as the values that they spell."""
        return self._spelt(form, spelt)

    def _spelt(self, given: Mapping[str, T], read: Callable[[Kind, T], object]) -> dict[str, object]:
        values: dict[str, object] = {word: value for word, value in given.items() if word not in self.words}
        found: Found = {}
        mistakes: list[BadRequest] = []
        for word, value in given.items():
            if word in self.words:
                name = self.words[word]
                try:
                    values[word] = read(self._parameters[name].kind, value)
                except BadRequest as error:
                    mistakes += placed(word, error).all
                else:
                    found[name] = word, values[word]
        if mistakes:
            raise BadRequest.together([*mistakes, *self.mistakes(found)])
        return values

    def schemas(self, leave: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """Return the JSON schema of each word that callers may use, but those in ``leave``."""
        return {word: self._schema(name) for word, name in self.words.items() if word not in leave}

    def _schema(self, name: str) -> dict[str, Any]:
        each = self._parameters[name]
        default = next(getattr(made, name) for cls, made in self._defaults.items() if name in parameters_of(cls))
        schema = nullable(each.kind.schema()) if self._null_is_absent else each.kind.schema()
        return {**schema, "default": each.kind.to_json(default), "description": each.help}


def unknown(words: Mapping[str, object], known: Collection[str], place: str = "") -> Problem:
    """Return the problem, with status 400, that ``words``, found at ``place``, are none of the ``known`` words.

    Its text says the first ``MOST_SAID`` of them.
    """
    mistakes: list[Mistake] = []
    listed = False
    for word, value in words.items():
        name = place + word[:_SHOWN].encode("utf-8", "backslashreplace").decode()
        allowed = "only known parameters"
        if len(mistakes) < MOST_SAID:
            nearest = difflib.get_close_matches(word[:_SHOWN], known, n=3, cutoff=0.5)
            all_of_them = "" if nearest or listed else f": {', '.join(known)}"
            listed = listed or not nearest
            allowed += f"; nearest: {', '.join(nearest)}" if nearest else all_of_them
        detail = f"{name}: there is no such parameter, or it is not supported; expected {allowed}"
        said = Mistake.of(BadRequest(name, value, allowed))
        mistakes.append(dataclasses.replace(said, detail=detail))
    return Problem(
        status=400,
        kind="unknown_parameter",
        title="Unknown parameter",
        detail=all_said(mistakes),
        field=mistakes[0].field,
        mistakes=tuple(mistakes),
    )


def ensure_known(found: Found, models: Iterable[ModelInfo]) -> None:
    """Raise ``UnknownCheckpoint``, with all models, if a model is named that is none of ``models``."""
    word, value = found.get("model", ("", None))
    known = list(models)
    if isinstance(value, str) and not any(value in (info.name, info.file) for info in known):
        raise UnknownCheckpoint(word, value, f"one of {', '.join(info.name for info in known)}")


def words_of(found: Found) -> dict[str, str]:
    """Return each parameter's name with the caller's word for it."""
    return {name: word for name, (word, _) in found.items()}


@contextlib.contextmanager
def worded(words: Mapping[str, str]) -> Iterator[None]:
    """Make the errors raised inside name the caller's word for a parameter. ``words``: as ``words_of`` returns them."""
    try:
        yield
    except BadRequest as error:
        word = _worded(error.field, words)
        if word == error.field:
            raise
        raise error.renamed(lambda field: _worded(field, words)) from None
    except Problem as problem:
        raise problem.renamed(lambda field: _worded(field, words)) from None


def _worded(field: str, words: Mapping[str, str]) -> str:
    """Return ``field`` with the caller's word for it, or for the parameter that it is a part of."""
    if field in words:
        return words[field]
    match = _HEAD.match(field)
    assert match is not None  # the pattern allows nothing
    return words.get(match[0], match[0]) + field[match.end() :]
