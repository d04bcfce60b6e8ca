"""Errors: what they say, and that they survive the way between processes."""

import importlib
import pickle
import pkgutil
from collections.abc import Iterator
from copy import copy

import pytest

import tiersim
from tiersim._base.errors import Place, StudyError, TiersimError, UnitError

PLACE = Place("study.yaml", 3, 8, "  ways: eight", 5)


def all_errors() -> list[type[TiersimError]]:
    """Every subclass, wherever it is written: all modules are imported first."""
    for module in pkgutil.walk_packages(tiersim.__path__, "tiersim."):
        if not module.name.endswith(("__main__", ".make")):  # these run something
            importlib.import_module(module.name)

    def below(cls: type[TiersimError]) -> Iterator[type[TiersimError]]:
        yield cls
        for sub in cls.__subclasses__():
            yield from below(sub)

    return list(dict.fromkeys(below(TiersimError)))


def test_the_tree_is_the_one_that_is_drawn() -> None:
    drawn = importlib.import_module("tiersim._base.errors").__doc__ or ""
    for cls in all_errors():
        if cls.__module__ == "tiersim._base.errors":
            assert cls.__name__ in drawn
    assert issubclass(UnitError, StudyError)


@pytest.mark.parametrize("cls", all_errors(), ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling_and_is_rebuilt_from_its_arguments(cls: type[TiersimError]) -> None:
    error = cls("ways must be a number", PLACE, "write ways: 8")
    for other in (pickle.loads(pickle.dumps(error)), copy(error), cls(*error.args)):
        assert type(other) is cls
        assert (other.message, other.place, other.remedy) == ("ways must be a number", PLACE, "write ways: 8")
        assert str(other) == str(error)


def test_a_path_that_was_added_survives_pickling() -> None:
    error = StudyError("does not fit")
    error.path = ("caches", "l1", "ways")
    assert pickle.loads(pickle.dumps(error)).path == ("caches", "l1", "ways")


def test_a_message_holds_place_line_caret_and_remedy() -> None:
    assert str(TiersimError("ways must be a number", PLACE, "write ways: 8")).splitlines() == [
        "study.yaml:3:8: ways must be a number",
        "    3 |   ways: eight",
        "               ^^^^^",
        "  write ways: 8",
    ]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place("a.yaml"), "a.yaml"),
        (Place("a.yaml", 4), "a.yaml:4"),
        (Place("a.yaml", 4, 2), "a.yaml:4:2"),
        (Place("a.yaml", 0, 2), "a.yaml"),
    ],
)
def test_what_is_not_known_of_a_place_is_not_said(place: Place, text: str) -> None:
    assert str(place) == text
    assert place.drawing() == ""
    assert str(TiersimError("wrong", place)) == f"{text}: wrong"


def test_without_place_and_remedy_there_is_just_the_message() -> None:
    assert str(TiersimError("wrong")) == "wrong"
    assert str(TiersimError("wrong", None, "mend it")) == "wrong\n  mend it"


def test_a_caret_is_drawn_at_least_once() -> None:
    assert Place("a", 1, 4, "abc", 0).drawing().splitlines() == ["    1 | abc", "           ^"]
