"""Parameters: how values of a study are read, refused, shown and described."""

from typing import Annotated, Any, Literal

import pytest

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config, default, dump, forms, param_of, params
from tiersim._base.registry import inside, validate
from tiersim._base.units import Quantity


@config
class Part:
    """Something inside."""

    size: Annotated[int, Param("how large", unit="bytes", ge=64, le=1 << 20)]
    wait: Annotated[Quantity | None, Param("how long", unit="time|cycles")] = None


@config
class Whole:
    """Something with everything in it."""

    parts: Annotated[dict[str, Part], Param("by name")]
    count: Annotated[int | Literal["all"], Param("how many", ge=1)] = "all"
    share: Annotated[float, Param("how much", ge=0, le=1)] = 0.5
    mode: Annotated[Literal["fast", "slow"], Param("which way")] = "fast"
    on: Annotated[bool | None, Param("whether")] = None
    names: Annotated[list[str] | None, Param("whose")] = None
    inner: Part | None = None


GOOD: dict[str, Any] = {"parts": {"a": {"size": "1 KiB", "wait": "3 cycles"}}}


def wrong(**changes: Any) -> dict[tuple[Any, ...], str]:
    problems, made = validate(Whole, GOOD | changes)
    assert made is None
    return dict(problems)


def test_units_become_integers_of_the_base_unit() -> None:
    problems, made = validate(Whole, GOOD)
    assert not problems
    assert made is not None
    assert made.parts["a"] == Part(size=1024, wait=Quantity(3, "cycles"))
    assert made.count == "all"


def test_an_optional_quantity_may_be_nothing_and_another_may_not() -> None:
    _, made = validate(Whole, GOOD | {"parts": {"a": {"size": "1 KiB", "wait": None}}})
    assert made is not None
    assert made.parts["a"].wait is None
    assert "nothing is not" in wrong(parts={"a": {"size": None}})["parts", "a", "size"]


def test_a_config_is_frozen_and_takes_keywords_only() -> None:
    part = Part(size=64)
    with pytest.raises(AttributeError):
        part.size = 128  # type: ignore[misc]
    with pytest.raises(TypeError):
        Part(64)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"cuont": 3}, ("cuont",), "unknown key 'cuont'; did you mean 'count'?"),
        ({"colour": 3}, ("colour",), "unknown key 'colour'; known here: parts, count, share, mode, on, names, inner"),
        ({"parts": {"a": {"sise": "1 KiB"}}}, ("parts", "a", "size"), "the key 'size' is missing"),
        (
            {"parts": {"a": {"size": "1 KiB", "wiat": "1 ns"}}},
            ("parts", "a", "wiat"),
            "unknown key 'wiat'; did you mean 'wait'?",
        ),
        ({"inner": {"size": "1 KiB", "wiat": "1 ns"}}, ("inner", "wiat"), "unknown key 'wiat'; did you mean 'wait'?"),
        ({"parts": ["a"]}, ("parts",), "must be a mapping of names, not a list"),
        ({"parts": {"a": None}}, ("parts", "a"), "must be a mapping, not nothing; known here: size, wait"),
        ({"parts": {"a": {"size": "1 B"}}}, ("parts", "a", "size"), "must be at least 64 B"),
        ({"parts": {"a": {"size": "2 MiB"}}}, ("parts", "a", "size"), "must be at most 1 MiB"),
        (
            {"parts": {"a": {"size": "2 ns"}}},
            ("parts", "a", "size"),
            "'2 ns' is a time; expected a size such as 80 GiB",
        ),
        ({"count": "many"}, ("count",), "must be a whole number or `all`, not 'many'"),
        ({"count": [1]}, ("count",), "must be a whole number or `all`, not a list"),
        ({"count": 1.5}, ("count",), "must be a whole number or `all`, not 1.5"),
        ({"count": True}, ("count",), "must be a whole number or `all`, not true"),
        ({"count": 0}, ("count",), "must be at least 1"),
        ({"share": True}, ("share",), "must be a number, not true"),
        ({"share": "half"}, ("share",), "must be a number, not 'half'"),
        ({"share": "nan"}, ("share",), "must be a number, not 'nan'"),
        ({"share": float("inf")}, ("share",), "must be a number, not inf"),
        ({"share": 1.5}, ("share",), "must be at most 1"),
        ({"mode": "fats"}, ("mode",), "must be `fast` or `slow`, not 'fats'; did you mean 'fast'?"),
        ({"mode": None}, ("mode",), "must be `fast` or `slow`, not nothing"),
        ({"on": "perhaps"}, ("on",), "must be true or false, not 'perhaps'"),
        ({"names": "a"}, ("names",), "must be a list of text, not 'a'"),
        ({"names": ["a", 3]}, ("names", 1), "must be text, not 3"),
    ],
)
def test_what_is_refused_is_said_in_words(changes: dict[str, Any], path: tuple[Any, ...], message: str) -> None:
    assert wrong(**changes)[path] == message


def test_every_problem_is_told_once() -> None:
    assert wrong(count="many", share="half", parts={"a": {"size": 3}}).keys() == {
        ("count",),
        ("share",),
        ("parts", "a", "size"),
    }


@pytest.mark.parametrize(
    ("path", "known"),
    [
        (("parts", "a", "size"), ("parts", "a", "size")),
        (("parts", "a", "sise"), ("parts", "a", "sise")),
        (("count", "int"), ("count",)),
        (("names", 0), ("names", 0)),
        (("share", "deeper", "still"), ("share",)),
        ((), ()),
    ],
)
def test_how_far_a_path_leads(path: tuple[Any, ...], known: tuple[Any, ...]) -> None:
    assert inside(Whole, path)[0] == known


@config
class Pair:
    """Two values that must go together."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise StudyError(f"{self.low} is above {self.high}")


@config
class Holder:
    """Something with a pair in it."""

    pair: Annotated[Pair, Param("from where to where")]


def test_what_a_class_refuses_is_told_with_its_path() -> None:
    problems, made = validate(Holder, {"pair": {"low": 3, "high": 2}})
    assert (problems, made) == ([(("pair",), "3 is above 2")], None)
    assert validate(Holder, {"pair": {"low": 2, "high": 3}})[1] == Holder(pair=Pair(low=2, high=3))


def test_dump_reads_back() -> None:
    problems, made = validate(Whole, GOOD | {"inner": {"size": "64 B", "wait": "1.5 us"}, "names": ["x"], "on": False})
    assert not problems
    shown = dump(made)
    assert shown["inner"] == {"size": "64 B", "wait": "1.5 us"}
    assert validate(Whole, shown) == ([], made)


def test_notes_and_defaults_are_found() -> None:
    found = {item.name: (param, default(item)) for item, _, param in params(Whole)}
    assert found["share"] == (Param("how much", ge=0, le=1), 0.5)
    assert found["inner"] == (None, None)
    assert param_of(int) is None


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | Literal["full"], ["a whole number", "full"]),
        (bool | None, ["true", "false"]),
        (list[Part], ["a list of mappings"]),
        (dict[str, Part], ["a mapping of names"]),
        (Annotated[float, Param("x")], ["a number"]),
        (object, ["a value"]),
    ],
)
def test_types_in_words(hint: Any, words: list[str]) -> None:
    assert forms(hint) == words


def test_the_json_schema_holds_documentation_and_bounds() -> None:
    from pydantic import TypeAdapter

    schema = TypeAdapter(Whole).json_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["parts"]
    share = schema["properties"]["share"]
    assert (share["description"], share["minimum"], share["maximum"]) == ("how much", 0, 1)
    size = schema["$defs"]["Part"]["properties"]["size"]
    assert (size["type"], size["description"]) == (["string", "number"], "how large (a size such as 80 GiB)")
