"""A policy that breaks its contract in the middle of a replay, or does not compile, is one message that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError
from tiersim.sim.cache_loop import Level
from tiersim.sim.events import events_from
from tiersim.sim.replay import replay

LINES = events_from(np.arange(64, dtype=np.uint64) * np.uint64(64), np.zeros(64, np.uint8), 64)


def decided(x: int) -> int:
    return len([str(x)])


class Good:
    """Evicts way 0, and counts in its first word how often."""

    def state(self, sets: int, ways: int, seed: int) -> NDArray[np.int64]:
        return np.zeros((sets, 1), np.int64)

    @staticmethod
    def hit(s: Any, at: int) -> None:
        return

    @staticmethod
    def fill(s: Any, at: int) -> None:
        s[at] += 1

    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        return 0


class Beyond(Good):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        return ways + 7 if s[at] > 6 else 0


class Before(Good):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        return -5 if s[at] > 6 else 0


class Far(Good):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        return 1 << 50 if s[at] > 6 else 0


class Raises(Good):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        if s[at] > 6:
            raise ValueError("seven")
        return 0


class Nothing(Good):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        if s[at] < 6:
            return 0
        return None


class Half(Good):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        return 0.5 if s[at] > 6 else 0


class Outside(Good):
    @staticmethod
    def fill(s: Any, at: int) -> None:
        s[at] += 1
        s[at] += (0, 0, 0, 0, 0, 0)[s[at] - 1]


class Appends(Good):
    @staticmethod
    def hit(s: Any, at: int) -> None:
        s.append(1)


class Helped(Good):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        return decided(ways) - 1


class Opens(Good):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> Any:
        with open("there") as there:
            return len(there.read())


def message(policy: Any, *, compiled: bool) -> str:
    levels = [Level("l1", 1, Good(), 1, frozenset({"data"})), Level("l2", 4, policy, None)]
    with pytest.raises(PolicyError) as caught:
        replay(levels, [1, 4], LINES, compiled=compiled)
    return caught.value.message


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("policy", "way"), [(Beyond, 11), (Before, -5), (Far, 1 << 50)])
def test_a_way_outside_the_set_is_told_and_harms_nothing(policy: type, way: int, compiled: bool) -> None:
    assert message(policy(), compiled=compiled) == f"{policy.__name__} in l2 chose way {way} of 4 ways"


def test_a_way_outside_the_set_is_told_in_the_cache_that_another_asks_for_a_future() -> None:
    class Last(Good):
        needs_future = True

    levels = [Level("l1", 1, Beyond(), 1, frozenset({"data"})), Level("l2", 4, Last(), None)]
    with pytest.raises(PolicyError, match="Beyond in l1 chose way 8 of 1 ways"):
        replay(levels, [1, 4], LINES, compiled=False)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Raises, "Raises.victim in l2 fails: ValueError: seven, in `raise ValueError('seven')`"),
        (Outside, "Outside.fill in l2 fails: IndexError: "),
        (Nothing, "Nothing.victim in l2 must give a whole number: TypeError: "),
        (Half, "Half.victim in l2 must give a whole number: IndexError: "),
        (Opens, "Opens.victim in l2 fails: FileNotFoundError: "),
    ],
)
def test_a_late_exception_in_plain_python_is_a_message(policy: type, said: str) -> None:
    assert message(policy(), compiled=False).startswith(said)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Raises, "Raises.victim in l2 fails: ValueError: seven, in `raise ValueError('seven')`"),
        (Nothing, "a policy among Good, Nothing must give a whole number and gave None"),
    ],
)
def test_a_late_exception_in_compiled_code_is_a_message(policy: type, said: str) -> None:
    assert message(policy(), compiled=True) == said


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Half, "Half.victim in l2 must give a whole number: numba has no getitem(int32*, float64)"),
        (Appends, "Appends.hit in l2 cannot be compiled: Unknown attribute 'append' of type int64*, in `s.append(1)`"),
        (Helped, "Helped.decided in l2 cannot be compiled: numba has no str("),
        (Opens, "a policy among Good, Opens cannot be compiled: The 'with (context manager) as (variable):' construct"),
    ],
)
def test_what_cannot_be_compiled_is_quoted(policy: type, said: str) -> None:
    assert message(policy(), compiled=True).startswith(said)


def test_a_state_that_fails_is_a_message() -> None:
    class Few(Good):
        def state(self, sets: int, ways: int, seed: int) -> NDArray[np.int64]:
            return np.zeros((2 - sets, 1), np.int64)

    assert message(Few(), compiled=False).startswith("Few.state(4, 4, 1) in l2 fails: ValueError: negative dimensions")


def test_a_fault_of_the_engine_stays_what_it_is() -> None:
    """No policy is blamed for what is wrong outside of it."""
    short = events_from(np.zeros(3, np.uint64), np.zeros(3, np.uint8), 64)
    short.lines = short.lines[:0]
    with pytest.raises(IndexError):
        replay([Level("l1", 1, Good(), None, frozenset({"data"}))], [1], short, compiled=False)
