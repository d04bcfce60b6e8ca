"""Runs cores whose references are translated, in front of caches of their own, of shared ones, and of a memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, StudyError
from tiersim.sim import core_loop
from tiersim.sim.blame import blame, check_ways
from tiersim.sim.cache_loop import HEADER, identifier
from tiersim.sim.core_translation_loop import make_core_translation_loop
from tiersim.sim.cores import Buffers, Cores, Events, channels_of, settings_of
from tiersim.sim.pages import LINE, Tables, with_frames
from tiersim.sim.queued import chains, dram
from tiersim.sim.replay import EMPTY
from tiersim.sim.translation import NO_SHADOW, Books, Held, Timing, Translated, _audit, _audit_nested, _State
from tiersim.sim.translation_loop import Loop

__all__ = ["CoreBooks", "TranslatedCores", "run_translation"]

LONGEST = chains.FIELDS.index("walk_longest")


@dataclass
class CoreBooks:
    """Counters of each core, and times, at one moment.

    What all cores have together, memory too, is in the books of the first. ``cores`` and ``told`` have a row for each
    core, of `tiersim.sim.core_loop.FIELDS` and of `tiersim.sim.queued.chains.FIELDS`; ``chips`` is what the DRAM did.
    """

    own: list[Books]
    cores: NDArray[np.int64]
    told: NDArray[np.int64]
    chips: dict[str, int]

    def __sub__(self, other: CoreBooks) -> CoreBooks:
        """What happened since; what is a state and no count stays."""
        told = self.told - other.told
        told[:, LONGEST] = self.told[:, LONGEST]
        return CoreBooks(
            [held - before for held, before in zip(self.own, other.own, strict=True)],
            self.cores - other.cores,
            told,
            {key: held - other.chips[key] for key, held in self.chips.items()},
        )

    def core(self, number: int = 0) -> dict[str, int]:
        """The times of a core, by name."""
        times = dict(zip(core_loop.FIELDS, map(int, self.cores[number]), strict=True))
        return times | dict(zip(chains.FIELDS, map(int, self.told[number]), strict=True))


@dataclass
class TranslatedCores(CoreBooks):
    """What came out at the end, and at each of the cuts.

    ``order`` is the core of each reference, ``journal`` the rows of `tiersim.sim.queued.chains.JOURNAL`, where they
    were kept; ``held`` what each core's parts hold, and those of all in the first.
    """

    cuts: list[CoreBooks]
    order: NDArray[np.uint8] | None
    journal: NDArray[np.int64]
    held: list[Held] | None = None

    @property
    def books(self) -> CoreBooks:
        """The books at the end."""
        return CoreBooks(self.own, self.cores, self.told, self.chips)


class _Cores:
    """The arrays of one run: those of each core as if it were alone, one behind the other."""

    def __init__(
        self,
        loop: Loop,
        sets: dict[str, int],
        shared: frozenset[str],
        tables: Tables,
        timing: Timing,
        seed: int,
        cores: int,
    ) -> None:
        small = sets | dict.fromkeys(shared, 1)  # what is shared is the first core's
        parts = len(loop.structures)
        made = [_State(loop, small if core else sets, tables, timing, seed + core * parts) for core in range(cores)]
        self.shared, self.names, self.block = shared, made[0].names, made[0].size
        tags, words = 0, cores * self.block
        for state in made:
            for k, name in enumerate(self.names):
                if name != "memory":
                    state.words[k * HEADER + 1] += tags
                    state.words[k * HEADER + 2] += words - self.block
            tags += len(state.tags)
            words += len(state.words) - self.block
        self.words = np.concatenate(
            [*(state.words[: self.block] for state in made), *(state.words[self.block :] for state in made)]
        )
        self.words[len(loop.levels) * HEADER + core_loop.CORES] = cores
        self.tags = np.full(tags, EMPTY, np.int32)
        self.counters = made[0].counters
        self.reused = np.zeros(tags if loop.reuse is not None else 1, np.uint8)
        self.states = []
        for core, state in enumerate(made):
            view = copy(state)
            view.words, view.tags = self.words[core * self.block :], self.tags
            self.states.append(view)

    def books(self) -> list[Books]:
        """Those of each core."""
        return [self._own(state.books(), core) for core, state in enumerate(self.states)]

    def held(self) -> list[Held]:
        """What each core's parts hold."""
        return [self._own(state.held(), core) for core, state in enumerate(self.states)]

    def _own(self, told: Any, core: int) -> Any:
        if core:
            for name in self.shared:
                told.caches.pop(name, None)
                told.structures.pop(name, None)
            if isinstance(told, Books):
                told.memory = {}
        return told


def run_translation(
    loop: Loop,
    sets: dict[str, int],
    shared: frozenset[str],
    streams: Sequence[Events],
    starts: Sequence[int],
    tables: Tables,
    timing: Timing,
    cores: Cores,
    walkers: int,
    *,
    seed: int = 0,
    cuts: Sequence[int] = (),
    again: bool = False,
    keep_order: bool = False,
    follow: NDArray[np.uint8] | None = None,
    contents: bool = False,
    compiled: bool = True,
    shootdowns: bool = False,
    journal: int = 0,
    progress: Callable[[int], None] | None = None,
) -> TranslatedCores:
    """Run one stream of references on each core, each with `walkers` page walkers.

    `tables` are over the pages of all cores; those of core k begin with page ``starts[k]``. Caches, TLBs and parts of
    the mechanism that are not named in `shared` are each core's own. The rest is as in `tiersim.sim.cores.run_cores`
    and `tiersim.sim.translation.translate`, whose counts these are.
    """
    if keep_order and again:
        raise ValueError("no order is kept of cores that begin anew: nobody knows how long it will be")
    count = len(streams)
    compiled = compiled and all(getattr(part.policy, "compiled", True) for part in loop.structures)
    for part in loop.mechanism.parts:
        tables = with_frames(tables, f"{identifier(part.level)}_line", -(-sets[part.name] * part.lines >> LINE))
    grouped = []
    if any(part.coalesces for part in loop.tlbs):
        assert tables.groups is not None, "see tiersim.sim.pages.coalesced"
        grouped = [tables.groups.reshape(-1)]
    state = _Cores(loop, sets, shared, tables, timing, seed, count)
    places = frozenset(k for k, name in enumerate(state.names) if name in shared)
    module = make_core_translation_loop(loop, places, state.block, compiled=compiled, shootdowns=shootdowns)
    buffers = Buffers(streams, np.asarray(starts, np.int64) << LINE, cuts, again)
    channels = channels_of(cores.memory)
    settings, sizes, roles = settings_of(cores, count, follow, keep_order)
    desk = chains.new_desk(count, walkers, journal)
    kept_order = np.zeros(sum(len(piece[0]) for own in streams for piece in own.pieces(1 << 20)) if keep_order else 1)
    order = kept_order.astype(np.uint8) if follow is None else follow
    placed = np.array([0, -1, dram.NEVER, 0], np.int64)
    given = (
        buffers.events, buffers.gaps, buffers.cores, np.zeros((count, cores.outstanding, chains.MISS), np.int64),
        settings, order, placed, sizes, roles, np.zeros((chains.STEPS, dram.R_FIELDS), np.int64),
        np.zeros(1, np.int64), np.zeros(chains.FIRST + chains.MOST * chains.DRAFT, np.int64),
        desk.journal, *channels.arrays, np.zeros(64, np.int64),
        np.zeros((0, 4), np.int64), buffers.windows, *desk.arrays, state.tags, state.words, tables.numbers, NO_SHADOW,
        tables.rows.reshape(-1), tables.parents.reshape(-1), state.counters, state.reused, *grouped,
    )  # fmt: skip

    def books() -> CoreBooks:
        chips = channels.counts() if cores.memory else {}
        return CoreBooks(state.books(), buffers.cores.copy(), desk.told.copy(), chips)

    def call() -> int:
        return _call(module, given, loop, state)

    kept = buffers.run(call, books, cores.pace, progress)
    result = TranslatedCores(**vars(books()), cuts=kept, order=order if keep_order else None, journal=desk.noted())
    held = state.held()
    _check(loop, result, held, tables, timing, desk, cores, followed=follow is not None)
    if contents:
        result.held = [own.listed() for own in held]
    return result


def _call(module: Any, given: Sequence[Any], loop: Loop, state: _Cores) -> int:
    try:
        wanted = int(module.run(*given))
    except MemoryError:
        raise
    except Exception as error:
        fault = blame(error, loop.structures, module)
        if fault is error:
            raise
        raise fault from None
    for own in state.states:
        check_ways(loop.structures, own.words)
    if wanted < 0:
        raise StudyError(
            f"more than {chains.STEPS:,} reads and writes wait for memory, or one reference makes more than "
            f"{chains.MOST:,}",
            None,
            "give the memory more bandwidth, or prefetchers a smaller `degree`",
        )
    return wanted


def _check(
    loop: Loop,
    result: TranslatedCores,
    held: list[Held],
    tables: Tables,
    timing: Timing,
    desk: chains.Desk,
    cores: Cores,
    *,
    followed: bool,
) -> None:
    """Conservation of all that is counted, in all cores together, of walks that ended, and of what memory moved."""
    whole = Translated(**vars(_sum(result.own)), ends=[], cuts=[])
    caches: dict[str, Any] = {name: [] for name in held[0].caches}  # lists: cores may hold the same lines of tables
    structures: dict[str, Any] = {name: [] for name in held[0].structures}
    for own in held:
        for kept, more in ((caches, own.caches), (structures, own.structures)):
            for name, inside in more.items():
                kept[name] += inside
    together = Held(caches, structures)
    _audit(loop, whole, together, tables)
    if loop.nested:
        _audit_nested(loop, whole, together, tables, timing)
    if followed:
        return
    reads, walks = (int(result.told[:, chains.FIELDS.index(name)].sum()) for name in ("memory_reads", "walks"))
    for what, counted, taken in (
        ("steps wait", desk.waiting(), 0),
        ("demand walks ended", walks, whole.own["walks"]),
        ("lines were read", reads, whole.memory["reads"]),
    ):
        if counted != taken:
            raise AuditError(f"{counted:,} {what} at the end, and {taken:,} should", None, "please report it")
    for what, moved in result.chips.items():
        if cores.memory and what in ("reads", "writes") and moved != whole.memory[what] * cores.memory.parts:
            raise AuditError(f"{whole.memory[what]} {what} were sent to memory, and it served {moved} bursts")


def _sum(books: Sequence[Books]) -> Books:
    """The books of all cores as one."""

    def more(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
        return {key: held + b.get(key, 0) for key, held in a.items()}

    whole, *rest = books
    for own in rest:
        whole = Books(
            {name: more(held, own.caches.get(name, {})) for name, held in whole.caches.items()},
            more(whole.memory, own.memory),
            {name: more(held, own.structures.get(name, {})) for name, held in whole.structures.items()},
            more(whole.own, own.own),
            whole.walks + own.walks,
            whole.reuse + own.reuse,
        )
    return whole
