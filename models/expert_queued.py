"""Experts that do not fit, where all that moves shares links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Final

from numpy.typing import NDArray
from simpy.events import Event

from tiersim.models.links.duplex import Duplex, Wire
from tiersim.sim.expert_loop import BACK, LOADED, MORE, NEVER, OVER, PLANS, SENT, STREAMED, WAITING
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
    cuts: Sequence[int] = (),
    seen: Callable[[Machine], None] | None = None,
) -> Offloaded:
    """Run all steps, with links that loads, hidden states, keys and values share (``timing: queued``).

    Arguments, result and errors are those of `tiersim.sim.expert_offload.offload`. Each GPU has a link, of which what
    moves takes the time that it takes alone, or its share of what is then a longer one; loads, results, keys and values
    go down to the GPU, tokens for the processor up. A bound is the same in both timings. ``seen`` is shown the machine
    when each row of ``cuts``, in rising order, is to be planned.
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
    run = _Run(machine, costs, gpus, progress, timeline)
    run.cuts, run.seen = list(cuts), seen
    return run.result(log)


@dataclass(eq=False, slots=True)
class _Move:
    """Something that moves: what it is to the machine, and when it takes its way if it has it to itself."""

    kind: int
    gpu: int
    begin: int
    work: int
    tag: int
    bound: int  # when it is told at the earliest
    is_alone: bool = True
    is_told: bool = False


class _Way:
    """A direction of a link.

    What has it to itself needs no link: when it ends is known. As soon as two would be on it at one time, all goes over
    the link, what is on the way with the rest of its work, until nothing is left.
    """

    def __init__(self, run: _Run, link: Link) -> None:
        self.run, self.link = run, link
        self.alone: list[_Move] = []
        self.shared = 0  # that are on the link or will be

    def takes(self, move: _Move) -> None:
        begin, end = move.begin, move.begin + move.work
        if not self.shared:
            for other in self.alone:
                if begin < other.begin + other.work and other.begin < end:
                    break
            else:
                self.alone.append(move)
                self.run.clock.after(move.bound - self.run.clock.now, self.ends, move)
                return
            now = self.run.clock.now
            for other in self.alone:
                if (rest := other.begin + other.work - max(now, other.begin)) > 0:
                    self.shares(other, rest)
            self.alone = [other for other in self.alone if other.is_alone]
        self.shares(move, move.work)

    def ends(self, event: Event) -> None:
        move = event.value
        assert isinstance(move, _Move)
        if move.is_alone:  # else the link says when
            self.alone.remove(move)
            if (timeline := self.link.timeline) is not None and move.work:
                timeline.span(self.link.name, OWNERS[move.kind], move.begin, move.begin + move.work)
            self.run.tells(move)

    def shares(self, move: _Move, work: int) -> None:
        """Put it on the link, now or when it begins."""
        clock = self.run.clock
        move.is_alone = False
        self.shared += 1
        if move.begin > clock.now:
            clock.after(move.begin - clock.now, lambda _: self.sends(move, work))
        else:
            self.sends(move, work)

    def sends(self, move: _Move, work: int) -> None:
        # when a load will be there is known when it is sent
        sent = Event(self.run.clock) if move.kind == LOADED else None
        told = self.link.send(work, owner=OWNERS[move.kind], sent=sent)
        told = told if sent is None else sent
        assert told.callbacks is not None
        told.callbacks.append(lambda _: self.told(move))

    def told(self, move: _Move) -> None:
        self.shared -= 1
        self.run.tells(move)


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
        self.down = [_Way(self, link.there) for link in self.links]
        self.up = [_Way(self, link.back) for link in self.links]
        self.there: list[list[int]] = [[] for _ in range(gpus)]
        self.moves: list[tuple[int, int, _Move]] = []  # a heap, among them such as have been told
        self.number = self.calls = self.rows = 0
        self.wakes = self.upcoming = NEVER
        self.is_over = self.is_settling = False
        self.cuts: list[int] = []
        self.seen: Callable[[Machine], None] | None = None
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
            first = self.first()
            answer = self.advances(NEVER - 1 if first is None else max(first.bound - 1, now))
        for asked in machine.asked():
            self.begins(*asked)
        if answer == OVER:
            self.is_over = True
            return
        # one that has its way to itself is told when it was to be, and until then nothing happens that cannot wait
        first = self.first()
        self.upcoming = machine.word("upcoming")
        if (first is None or not first.is_alone) and self.upcoming < self.wakes:
            self.wakes = self.upcoming
            self.clock.after(self.wakes - now, self.woken, self.wakes)
        self.calls += 1
        if self.progress and self.calls % CALLS == 0:
            row = machine.word("row")
            self.progress(row - self.rows)
            self.rows = row

    def first(self) -> _Move | None:
        """Of what is under way that which may be told first."""
        moves = self.moves
        while moves and moves[0][2].is_told:
            heappop(moves)
        return moves[0][2] if moves else None

    def advances(self, limit: int) -> int:
        """Let the machine go on up to a time, or until it is to be seen; why it has stopped."""
        machine = self.machine
        answer = machine.go(limit, self.cuts[0] if self.cuts else NEVER)
        stands = answer == WAITING and machine.word("phase") == PLANS and machine.word("due") <= limit
        if not self.cuts or not stands or machine.word("row") < self.cuts[0]:
            return answer
        del self.cuts[0]
        if self.seen is not None:
            self.seen(machine)
        return MORE

    def begins(self, kind: int, gpu: int, time: int, work: int, tag: int) -> None:
        """Something moves from this time on."""
        bound = time + work + (0 if kind == LOADED else self.latency)
        move = _Move(kind, gpu, time, work, tag, bound)
        self.number += 1
        heappush(self.moves, (bound, self.number, move))
        (self.up if kind == SENT else self.down)[gpu].takes(move)

    def tells(self, move: _Move) -> None:
        """Tell the machine of something that is there, or of a load that will be."""
        move.is_told = True
        now = self.clock.now
        if move.kind == LOADED:
            self.there[move.gpu].append(now + self.latency)
        changes = self.machine.tell(move.kind, move.gpu, move.tag, now)
        first = self.first()
        if not changes and first is not None and first.is_alone and first.bound <= self.upcoming:
            return  # nothing happens before more is told
        if first is not None and first.bound <= now:  # perhaps more is told now
            self.settles()
        elif not self.is_settling and not self.is_over:
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
