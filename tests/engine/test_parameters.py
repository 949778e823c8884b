"""Parameters: checked, described, read from text and JSON, written to JSON, and named where they are refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadRequest, UnknownCheckpoint
from engine.parameters import (
    MAX_SEED,
    REQUIRED,
    Flag,
    Kind,
    Many,
    Name,
    Number,
    Object,
    OneOf,
    Optional,
    Seed,
    Text,
    WholeNumber,
    check_fields,
    from_json,
    nullable,
    parameter,
    parameters_of,
    restored,
    schema_of,
    to_json,
    within,
)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    name: str = parameter(REQUIRED, Name("the name of an adapter", optional=False), "which one")
    strength: float = parameter(1.0, Number(-20, 20), "how much of it")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    seed: int | None = parameter(7, Seed(), "the first noise")
    steps: int = parameter(20, WholeNumber(1, 100), "sampling steps")
    adapters: tuple[Adapter, ...] = parameter((), Many(Object(Adapter), most=3), "in this order")
    second: Adapter | None = parameter(None, Optional(Object(Adapter)), "for a second pass")
    kept: str = "not a parameter"

    def __post_init__(self) -> None:
        check_fields(self)


def allows(schema: dict[str, Any], value: object) -> bool:
    return jsonschema_rs.Draft202012Validator(schema).is_valid(value)


EXAMPLES: list[tuple[Kind, object]] = [
    (Text(), ""),
    (Text(1, 5, printable=True), "key 1"),
    (Text(), "(a bottle:1.2)"),
    (Name(), None),
    (Name("a VAE", optional=False), "kl-f8.safetensors"),
    (WholeNumber(16, 1024, 8), 512),
    (Number(0, 1, above_low=True), 0.5),
    (Flag(), False),
    (OneOf(("euler", "heun")), "heun"),
    (Seed(), None),
    (Seed(), MAX_SEED),
    (Seed(optional=False), 0),
    (Many(WholeNumber(1, 9)), (1, 2)),
    (Many(OneOf(("a", "b")), least=1), ("b", "a")),
    (Optional(Number(0, 1)), None),
    (Optional(Number(0, 1)), 0.25),
    (Object(Adapter), Adapter(name="ink", strength=0.8)),
    (Many(Object(Adapter)), (Adapter(name="ink"), Adapter(name="wash", strength=-1))),
    (Optional(Object(Adapter)), Adapter(name="ink")),
]


@pytest.mark.parametrize(("kind", "value"), EXAMPLES)
def test_a_value_comes_back_from_its_json_and_its_schema_allows_it(kind: Kind, value: object) -> None:
    assert kind.check("field", value) == value
    written = json.loads(json.dumps(kind.to_json(value)))
    assert kind.check("field", kind.from_json(written)) == kind.read("field", written) == value
    assert allows(kind.schema(), written)
    assert allows(nullable(kind.schema()), None)
    assert nullable(nullable(kind.schema())) == nullable(kind.schema())


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Text(), "null", "null"),
        (WholeNumber(-9, 99), "20", 20),
        (WholeNumber(-9, 99), " +5 ", 5),
        (WholeNumber(-9, 99), "20.0", 20),
        (Number(0, 9), "1e-1", 0.1),
        (Number(0, 9), "8", 8.0),
        (Flag(), "TRUE", True),
        (Flag(), "0", False),
        (Seed(), "18446744073709551615", MAX_SEED),
        (Seed(), "-1", None),
        (Seed(), "null", None),
        (Many(OneOf(("a", "b"))), "b, a", ("b", "a")),
        (Many(WholeNumber(1, 9)), "", ()),
        (Many(WholeNumber(1, 9)), "[1, 2.0]", (1, 2)),
        (Optional(WholeNumber(1, 9)), "null", None),
        (Optional(WholeNumber(1, 9)), "3", 3),
        (Object(Adapter), '{"name": "ink"}', Adapter(name="ink")),
        (Many(Object(Adapter)), '[{"name": "ink", "strength": 2}]', (Adapter(name="ink", strength=2.0),)),
    ],
)
def test_text_is_read_as_its_kind(kind: Kind, text: str, value: object) -> None:
    read = kind.check("field", kind.from_text(text))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Text(), 5),
        (Text(1, 3), ""),
        (Text(1, 3), "four"),
        (Text(0, 9, printable=True), "a\n"),
        (Name(), 5),
        (Text(), "half a pair \ud800"),
        (Name(), ""),
        (Name(), "a\0b"),
        (Name(optional=False), None),
        (WholeNumber(1, 9), True),
        (WholeNumber(1, 9), "5"),
        (WholeNumber(1, 9), 2.5),
        (WholeNumber(0, 10**17), 2.0**53),
        (WholeNumber(16, 64, 8), 20),
        (Number(0, 1), math.nan),
        (Number(0, 1, above_low=True), 0),
        (Number(0, 1), "0.5"),
        (Number(0, 1), False),
        (Flag(), 1),
        (Flag(), "true"),
        (OneOf(("euler",)), "eular"),
        (OneOf(("euler",)), None),
        (Seed(optional=False), None),
        (Seed(optional=False), -1),
        (Seed(), MAX_SEED + 1),
        (Seed(), 2.0**60),
        (Seed(), "seven"),
        (Seed(), "٧"),
        (Many(WholeNumber(1, 9), least=1), []),
        (Many(WholeNumber(1, 9), most=1), [1, 2]),
        (Many(WholeNumber(1, 9)), 5),
        (Many(Text()), "text"),
        (Optional(WholeNumber(1, 9)), 0),
        (Object(Adapter), 3),
    ],
)
def test_what_is_not_allowed_is_refused_under_its_name(kind: Kind, value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        kind.read("field", value)
    assert caught.value.field == "field"
    assert caught.value.value is value or isinstance(value, list)
    assert isinstance(value, float | str) or not allows(kind.schema(), value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (WholeNumber(0, 99), "1_0"),
        (WholeNumber(0, 99), "2.5"),
        (Number(0, 9), "nan"),
        (Number(0, 9), "1_0"),
        (Flag(), "yes"),
        (Seed(), "abc"),
        (Object(Adapter), "{"),
        (Many(WholeNumber(0, 9)), "[" * 10**5),
    ],
)
def test_text_that_is_none_is_refused_as_it_stands(kind: Kind, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        kind.check("field", kind.from_text(text))
    assert caught.value.value == text


def test_seeds_that_javascript_would_round_are_text_in_json() -> None:
    assert [Seed().to_json(seed) for seed in (None, 0, 2**53 - 1, 2**53)] == [None, 0, 2**53 - 1, str(2**53)]


def test_a_float_that_has_lost_digits_of_a_seed_is_refused_with_the_reason() -> None:
    with pytest.raises(BadRequest, match="all its digits"):
        Seed().read("seed", 1e19)


def test_a_dataclass_is_written_and_read_with_its_parts() -> None:
    wanted = Wanted(seed=MAX_SEED, adapters=(Adapter(name="ink"),), second=Adapter(name="wash", strength=0.5))
    written = to_json(wanted)
    assert written == {
        "seed": str(MAX_SEED),
        "steps": 20,
        "adapters": [{"name": "ink", "strength": 1.0}],
        "second": {"name": "wash", "strength": 0.5},
    }
    assert from_json(Wanted, json.loads(json.dumps(written))) == wanted
    assert allows(schema_of(Wanted), written)


def test_what_is_left_out_has_its_default() -> None:
    assert from_json(Wanted, {"steps": 5.0}) == Wanted(steps=5)


def test_a_default_that_is_not_allowed_or_not_in_its_python_type_is_a_mistake_of_the_class() -> None:
    for default, number in ((30, WholeNumber(1, 20)), (1, Number(0, 2))):
        field = parameter(default, number, "too much, or a whole number for a float")
        wrong = make_dataclass("Wrong", [("value", Any, field)], namespace={"__post_init__": check_fields}, frozen=True)
        with pytest.raises((AssertionError, BadRequest)):
            wrong()


def test_what_another_version_wrote_is_restored_and_refused_when_it_is_checked() -> None:
    kept = {"seed": str(MAX_SEED), "steps": 999, "gone": 1, "adapters": [{"name": "ink"}], "second": {"strength": 99}}
    wanted = restored(Wanted, kept)
    assert (wanted.seed, wanted.steps, wanted.adapters) == (MAX_SEED, 999, (Adapter(name="ink"),))
    assert restored(Wanted, {}) == Wanted()
    assert to_json(wanted)["second"] == {"strength": 99}
    with pytest.raises(BadRequest, match=r"^steps: 999"):
        check_fields(wanted)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"step": 5}, "step"),
        ({"kept": "x"}, "kept"),
        ({"adapters": {}}, "adapters"),
        ({"adapters": [{"name": "a"}, {"name": "b", "strength": 30}]}, "adapters[1].strength"),
        ({"adapters": [{"strength": 1}]}, "adapters[0].name"),
        ({"adapters": [3]}, "adapters[0]"),
        ({"adapters": [{"name": "a"}] * 4}, "adapters"),
        ({"second": {"name": ""}}, "second.name"),
        ({"second": {"nam": "x"}}, "second.nam"),
    ],
)
def test_a_refused_value_is_named_by_its_place(values: dict[str, Any], field: str) -> None:
    assert not allows(schema_of(Wanted), values)
    with pytest.raises(BadRequest) as caught:
        from_json(Wanted, values)
    assert caught.value.field == field


def test_the_place_is_put_before_errors_of_every_class() -> None:
    with pytest.raises(UnknownCheckpoint) as caught, within("second"):
        raise UnknownCheckpoint("name", "x", "one of a, b")
    assert caught.value.field == "second.name"


def test_parameters_are_described_where_they_are_declared() -> None:
    steps = parameters_of(Wanted)["steps"]
    assert (steps.name, steps.kind, steps.default, steps.help) == ("steps", WholeNumber(1, 100), 20, "sampling steps")
    assert list(parameters_of(Wanted)) == ["seed", "steps", "adapters", "second"]
    described = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20, "description": "sampling steps"}
    assert steps.schema() == described
    assert schema_of(Adapter)["required"] == ["name"]
    with pytest.raises(TypeError):
        Adapter()  # type: ignore[call-arg]  # a required parameter has no default


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
@pytest.mark.parametrize("kind", [kind for kind, _ in EXAMPLES])
def test_any_json_is_read_or_refused(kind: Kind, value: object) -> None:
    try:
        read = kind.read("field", value)
    except BadRequest as error:
        assert error.field.startswith("field")
    else:
        assert kind.read("field", kind.to_json(read)) == read


def test_parameters_need_neither_torch_nor_pydantic() -> None:
    code = "import sys, engine.parameters; print({'torch', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
