"""Translation in queued time: counts are those of additive time, and times those of a model that plays all again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.oracles import queued_translation as oracle
from tests.oracles.strategies import translated, variants
from tests.oracles.translation import Config, Reference
from tests.sim.test_cores import chips
from tests.sim.test_translation_engine import UNIT, Machine
from tiersim.sim.core_translation import TranslatedCores, run_translation
from tiersim.sim.cores import Cores
from tiersim.sim.translation import Books, Translated

PACE = 3 * UNIT


class Stream:
    """The references of a machine with the instructions between them, and the windows that end before each."""

    def __init__(self, machine: Machine) -> None:
        held = machine.events.held
        assert held is not None
        self.held, self.lines = held, machine.events.lines
        self.gaps = np.array([gap for *_, gap in machine.references], np.int64)
        marks = machine.events.marks
        self.windows = np.bincount(marks[marks < len(held)], minlength=len(held))

    def pieces(self, size: int) -> Iterator[tuple[NDArray[Any], ...]]:
        for begin in range(0, len(self.held), size):
            yield tuple(held[begin : begin + size] for held in (self.held, self.gaps, self.windows))


def queued(machine: Machine, *, walkers: int = 2, **given: Any) -> TranslatedCores:
    """One core."""
    timing = machine.timing()
    said: dict[str, Any] = {"pace": PACE << 20, "outstanding": 3, "window": 40, "latency": timing.latencies["memory"]}
    said |= {key: given.pop(key) for key in ("pace", "outstanding", "window", "latency", "memory") if key in given}
    shot = any(kind == "shootdown" for *_, kind, _ in machine.references)
    given = {"compiled": False, "contents": True, "shootdowns": shot} | given
    return run_translation(
        machine.loop, machine.sets, frozenset(), [Stream(machine)], [0], machine.tables, timing,
        Cores(latencies=(), **said), walkers, **given,
    )  # fmt: skip


def counts_of(machine: Machine, made: Books) -> tuple[Any, ...]:
    """All that is counted. A loop without clock does not look up again what was just the last one."""
    again = {tlb.name for tlb in machine.loop.tlbs if tlb.serves}
    again |= {part.name for part in machine.loop.lookups if part.name.endswith(".prefetcher")}
    structures = {
        name: {key: count for key, count in held.items() if key != "lookups" or name not in again}
        for name, held in made.structures.items()
    }
    return made.caches, made.memory, structures, made.own, made.walks.tolist(), made.reuse.tolist()


def assert_same_counts(machine: Machine, made: TranslatedCores, right: Translated) -> None:
    assert counts_of(machine, made.own[0]) == counts_of(machine, right)
    assert made.held == [right.held]


@settings(deadline=None, max_examples=60)
@given(config=variants(), references=translated(200), timed=st.booleans())
def test_counts_are_those_of_additive_time(config: Config, references: list[Reference], timed: bool) -> None:
    assume(references)
    machine = Machine(config, references)
    assert_same_counts(machine, queued(machine, memory=chips(channels=2) if timed else None), machine.run())


limits = st.tuples(st.integers(1, 4), st.integers(0, 60), st.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(config=variants(), references=translated(80), limits=limits)
def test_times_of_any_machine(config: Config, references: list[Reference], limits: tuple[int, int, int]) -> None:
    assume(references)
    space, address, kind, gap = references[0]
    machine = Machine(config, [(space, address, kind, gap + 1), *references[1:]])
    outstanding, window, walkers = limits
    assume(machine.references)
    made = queued(machine, outstanding=outstanding, window=window, walkers=walkers)
    right = oracle.run_core(config, machine.references, pace=3, outstanding=outstanding, window=window, walkers=walkers)
    core = made.core()
    assert core["time"] == UNIT * right.time
    for name, told in right.told.items():
        assert core[name] == (told if name.endswith("walks") else UNIT * told), name
