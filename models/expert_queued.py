"""Experts that do not fit, where all that moves shares links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from numpy.typing import NDArray
from simpy.events import Event

from tiersim.models.links.duplex import Duplex, Wire
from tiersim.sim.expert_loop import BACK, LOADED, MORE, NEVER, OVER, SENT, STREAMED
from tiersim.sim.expert_offload import Machine, Offloaded, offload
from tiersim.sim.expert_rows import Costs, Rows
from tiersim.sim.queued.clock import SECOND, Clock
from tiersim.sim.queued.link import Link
from tiersim.sim.queued.timeline import Timeline

__all__ = ["offload_queued"]

LATEST: Final = 2  # priority of what comes after all else at one time; SimPy's own are 0 and 1
CALLS: Final = 1 << 12  # between two words of progress
OWNERS: Final = {LOADED: "load", SENT: "tokens", BACK: "results", STREAMED: "keys and values"}


def offload_queued(
    rows: Rows,
    costs: Costs,
    system: Any,
    *,
    slots: int,
    gpus: int = 1,
    overlap: bool = True,
    placed: Sequence[int] = (),
    popular: NDArray[Any] | None = None,
    seed: int = 0,
    log: bool = False,
    compiled: bool = True,
    progress: Callable[[int], None] | None = None,
    timeline: Timeline | None = None,
) -> Offloaded:
    """Run all steps, with links that loads, hidden states, keys and values share (``timing: queued``).

    Arguments, result and errors are those of `tiersim.sim.expert_offload.offload`. Each GPU has a link, of which what
    moves takes the time that it takes alone, or its share of what is then a longer one; loads, results, keys and values
    go down to the GPU, tokens for the processor up. A bound is the same in both timings.
    """
    options: dict[str, Any] = {
        "slots": slots,
        "gpus": gpus,
        "overlap": overlap,
        "placed": placed,
        "popular": popular,
        "seed": seed,
        "log": log,
        "compiled": compiled,
    }
    if getattr(system, "bound", False):
        return offload(rows, costs, system, **options, progress=progress)
    machine = Machine(rows, costs, system, **options, queued=True)
    return _Run(machine, costs, gpus, progress, timeline).result(log)


class _Way:
    """A direction of a link, and whether any two that are on it, or will be, may be so at one time."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.count = 0
        self.is_shared = False

    def takes(self) -> None:
        self.count += 1
        self.is_shared |= self.count > 1

    def gives(self) -> None:
        self.count -= 1
        self.is_shared &= self.count > 0


class _Run:
    """One run: what is on its way, and the machine, which goes ahead of the clock as far as it can be told nothing."""

    def __init__(
        self,
        machine: Machine,
        costs: Costs,
        gpus: int,
        progress: Callable[[int], None] | None,
        timeline: Timeline | None,
    ) -> None:
        self.clock = Clock()
        self.machine, self.progress = machine, progress
        self.latency = costs.latency
        # a byte is a picosecond of the link
        wire = Wire(SECOND, costs.latency)
        self.links = [
            Duplex(self.clock, (f"gpu{gpu} down", f"gpu{gpu} up"), wire, timeline=timeline) for gpu in range(gpus)
        ]
        self.down = [_Way(link.there) for link in self.links]
        self.up = [_Way(link.back) for link in self.links]
        self.there: list[list[int]] = [[] for _ in range(gpus)]
        # of what is under way: when it is told at the earliest, its number, and which way it goes
        self.bounds: dict[int, tuple[int, int, _Way]] = {}
        self.number = self.calls = self.rows = 0
        self.wakes = NEVER
        self.is_over = self.is_settling = False
        for gpu in range(machine.word("streaming")):
            self.begins(STREAMED, gpu, 0, int(costs.stream[0]), 0)

    def result(self, log: bool) -> Offloaded:
        """What became of all when nothing moves any more."""
        self.goes()
        self.clock.run()
        for link in self.links:
            link.audit()
        if log:
            self.machine.arrived(self.there)
        if self.progress:
            self.progress(self.machine.word("row") - self.rows)
        return self.machine.result()

    def goes(self) -> None:
        """Begin what the machine has asked for, and let it go on."""
        machine, now = self.machine, self.clock.now
        answer = MORE
        while answer == MORE:
            for asked in machine.asked():
                self.begins(*asked)
            first = min(self.bounds.values()) if self.bounds else None
            answer = machine.go(max(first[0] - 1, now) if first else NEVER - 1)
        for asked in machine.asked():
            self.begins(*asked)
        if answer == OVER:
            self.is_over = True
            return
        # one that has its way alone is told when it was to be, and until then nothing comes that cannot wait
        first = min(self.bounds.values()) if self.bounds else None
        if first is None or first[2].is_shared:
            at = machine.word("upcoming")
            if at < self.wakes:
                self.wakes = at
                self.clock.after(at - now, self.woken, at)
        self.calls += 1
        if self.progress and self.calls % CALLS == 0:
            row = machine.word("row")
            self.progress(row - self.rows)
            self.rows = row

    def begins(self, kind: int, gpu: int, time: int, work: int, tag: int) -> None:
        """Something moves from this time on."""
        way = self.up[gpu] if kind == SENT else self.down[gpu]
        way.takes()
        self.number += 1
        self.bounds[self.number] = (time + work + (0 if kind == LOADED else self.latency), self.number, way)
        what = (self.number, kind, gpu, work, tag, way)
        if time == self.clock.now:
            self.sends(what)
        else:
            self.clock.after(time - self.clock.now, lambda _: self.sends(what))

    def sends(self, what: tuple[int, int, int, int, int, _Way]) -> None:
        _, kind, _, work, _, way = what
        if kind == LOADED:  # when it will be there is known when it is sent
            told = Event(self.clock)
            way.link.send(work, owner=OWNERS[kind], sent=told)
        else:
            told = way.link.send(work, owner=OWNERS[kind])
        assert told.callbacks is not None
        told.callbacks.append(lambda _: self.tells(what))

    def tells(self, what: tuple[int, int, int, int, int, _Way]) -> None:
        number, kind, gpu, _, tag, way = what
        del self.bounds[number]
        way.gives()
        now = self.clock.now
        if kind == LOADED:
            self.there[gpu].append(now + self.latency)
        self.machine.tell(kind, gpu, tag, now)
        if self.bounds:
            self.settles()
        elif not self.is_settling and not self.is_over:  # nobody else can be told something now
            self.goes()

    def woken(self, event: Event) -> None:
        if event.value == self.wakes:
            self.wakes = NEVER
        self.settles()

    def settles(self) -> None:
        """The machine goes on when all else of this time has happened."""
        if self.is_settling or self.is_over:
            return
        self.is_settling = True
        event = Event(self.clock)
        event._ok = True
        event._value = None
        assert event.callbacks is not None
        event.callbacks.append(self.settled)
        self.clock.schedule(event, LATEST, 0)  # type: ignore[arg-type]  # SimPy names two priorities, and takes any

    def settled(self, _: Event) -> None:
        self.is_settling = False
        self.goes()
