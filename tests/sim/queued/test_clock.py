"""The clock: whole picoseconds, SimPy's order, SimPy's failures."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from simpy.events import Event

from tiersim.sim.queued.clock import Clock, cycles, transfer
from tiersim.sim.queued.streams import stream


def test_simpy_works_on_it() -> None:
    clock = Clock()
    seen: list[tuple[int, str]] = []

    def process(name: str, delay: int) -> Generator[Event, Any, str]:
        for _ in range(2):
            yield clock.timeout(delay)
            seen.append((clock.now, name))
        return name

    one, other = clock.process(process("a", 3)), clock.process(process("b", 2))
    clock.after(6, lambda event: seen.append((clock.now, event.value)), "c")
    assert clock.run(other) == "b"
    assert clock.now == 4
    clock.run()
    assert seen == [(2, "b"), (3, "a"), (4, "b"), (6, "c"), (6, "a")]
    assert one.value == "a"


def test_run_until() -> None:
    clock = Clock()
    seen: list[int] = []
    for delay in (5, 10, 15):
        clock.after(delay, lambda _: seen.append(clock.now))
    clock.run(10)
    assert (clock.now, seen) == (10, [5])
    clock.run(11)
    assert seen == [5, 10]


def test_a_failure_comes_out_as_it_was_raised() -> None:
    clock = Clock()

    def fails() -> Generator[Event, Any, None]:
        yield clock.timeout(1)
        raise KeyError("mine", 3)

    clock.process(fails())
    with pytest.raises(KeyError, match="mine") as caught:
        clock.run()
    assert caught.value.args == ("mine", 3)


@pytest.mark.parametrize("delay", [1.0, np.int64(3)])
def test_a_time_that_is_not_whole(delay: Any) -> None:
    clock = Clock()
    clock.timeout(delay)
    with pytest.raises(TypeError, match="no Python integer of picoseconds"):
        clock.run()


def test_conversions() -> None:
    assert [cycles(count, 3_000_000_000) for count in (0, 1, 3, 4)] == [0, 333, 1000, 1333]
    assert [transfer(size, 3) for size in (0, 1, 3)] == [0, 333_333_333_334, 10**12]


def test_streams() -> None:
    first = stream(0, "arrivals").integers(0, 1 << 62, 8).tolist()
    assert first == stream(0, "arrivals").integers(0, 1 << 62, 8).tolist()
    others = [stream(1, "arrivals"), stream(0, "sizes"), stream(2**70, "arrivals")]
    assert len({tuple(first), *(tuple(other.integers(0, 1 << 62, 8).tolist()) for other in others)}) == 4
    assert first[:2] == [2640846830531265590, 1111587623475470233]  # on every machine
    for wrong in (-1, True, 0.5, None):
        with pytest.raises(ValueError, match="a seed is a whole number"):
            stream(wrong, "arrivals")  # type: ignore[arg-type]
