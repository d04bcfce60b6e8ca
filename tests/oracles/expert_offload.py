"""Experts that do not fit, event by event, as docs/explanation/expert-offloading.md says it; slow and plain.

Links carry nothing but loads (timing alone). Systems and replacements are asked for what they name as arguments, so
that registered ones and small classes of a test are run alike.

Where the page leaves a choice, this is what is done here: what the processor runs is asked for in the order in which
it runs; it waits itself for what is read from the drive, which counts as its work; each loader reads by itself; and
after the last step nothing begins.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from tiersim.policies.expert_replacement.contract import NEVER
from tiersim.policies.experts.contract import (
    ABSENT,
    COMING,
    COMING_LOW,
    CPU,
    DEFER,
    HERE,
    HERE_LOW,
    HIGH,
    LOW,
    SKIP,
)
from tiersim.sim.expert_rows import Costs, Rows

__all__ = ["Fate", "Lru", "Verbs", "bound", "costs_of", "offload", "rows_of"]


class Lru:
    """The replacement by last use, as plain as can be."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.now = 0

    def use(self, x: int) -> None:
        self.now += 1
        self.last[x] = self.now

    def worth(self, x: int) -> int:
        return self.last.get(x, 0)


@dataclass
class Fate:
    """What became of rows, steps and experts; times in picoseconds."""

    planned: list[int] = field(default_factory=list)  # of each row r, when its choice is known
    ended: list[int] = field(default_factory=list)  # of each row
    steps: list[int] = field(default_factory=list)  # of each step its end
    counts: Counter[str] = field(default_factory=Counter)
    loads: list[tuple[int, int, int, str]] = field(default_factory=list)  # begin, expert, there, why
    runs: list[tuple[int, int, int]] = field(default_factory=list)  # begin, expert, end
    left: list[tuple[int, int]] = field(default_factory=list)  # time, expert
    processor: list[tuple[int, int, int]] = field(default_factory=list)  # begin, expert, back


class Verbs:
    """Someone to be asked, with its arrays and parameters."""

    def __init__(self, asked: Any, given: dict[str, Any]) -> None:
        self.asked = asked
        self.own: dict[str, Any] = {}
        if is_dataclass(asked):
            self.own = {item.name: getattr(asked, item.name) for item in fields(asked)}
        self.own |= self.ask("state", **given) or {}

    def has(self, verb: str) -> bool:
        return hasattr(self.asked, verb)

    def ask(self, verb: str, **given: Any) -> Any:
        if not self.has(verb):
            return None
        called = getattr(self.asked, verb)
        given = self.own | given
        return called(**{name: given[name] for name in inspect.signature(called).parameters})


@dataclass
class Gpu:
    """What one of them has and does."""

    number: int
    misses: list[tuple[int, int]] = field(default_factory=list)  # expert and precision, still to be loaded
    wishes: list[int] = field(default_factory=list)  # as they were given, without those that were dropped
    next_wish: int = 0
    loader_free: int = 0
    moving: dict[int, int] = field(default_factory=dict)  # expert: when it is there
    to_run: dict[int, int] = field(default_factory=dict)  # expert: tokens
    kept: set[int] = field(default_factory=set)
    order: list[int] = field(default_factory=list)  # hits of this row, and then what has come since
    is_emptying: bool = False  # without overlap: all that is here runs before the loader goes on
    running: int = -1
    run_ends: int = 0
    last: int = 0  # when its last expert of this row had run
    ran: int = 0  # time that those of this row took

    @property
    def is_done(self) -> bool:
        return not self.to_run and self.running < 0


class Offload:
    """The engine: ``run`` replays all rows."""

    def __init__(
        self,
        rows: Rows,
        costs: Costs,
        system: Any,
        replacement: Any,
        slots: int,
        scope: str,
        gpus: int,
        overlap: bool,
        placed: Iterable[int],
    ) -> None:
        self.rows, self.costs = rows, costs
        self.slots, self.scope, self.overlap = slots, scope, overlap
        self.residence = np.full(rows.layers * rows.experts, ABSENT, np.int64)
        self.wishes = np.zeros(rows.layers * rows.experts, np.int64)
        self.given: dict[str, Any] = {
            "layers": rows.layers,
            "experts": rows.experts,
            "objects": rows.layers * rows.experts,
            "seed": 0,
            "rows": rows.steps * rows.layers,
            "residence": self.residence,
            "row_start": rows.start,
            "row_x": rows.expert,
            "row_n": rows.tokens,
            "row_rank": rows.rank,
            "row_weight": rows.weight,
            "predicted_start": rows.predicted_start,
            "predicted_e": rows.predicted,
            "load": costs.load,
            "load_low": costs.load_low,
            "cpu": costs.cpu,
            "run": costs.run,
            "wishes": self.wishes,
        }
        self.system = Verbs(system, self.given)
        self.replacement = self.system if replacement is system else Verbs(replacement, self.given)
        self.gpus = [Gpu(number) for number in range(gpus)]
        self.placed = set(placed)
        for x in self.placed:
            assert len(self.in_scope_of(x, self.placed)) <= slots, "more are placed than there are slots"
            self.residence[x] = HERE
        self.host = list(range(costs.host_experts))  # the one that was asked for longest ago first
        self.wished: dict[int, bool] = {}  # experts here or coming by a wish: whether they were used
        self.row, self.step = -1, 0  # at hand: planned last
        self.planned = 0
        self.is_planned = False  # whether the row at hand has been, and has not ended
        self.next_plan = 0
        self.end: int | None = None  # of the last step
        self.processing: list[
            tuple[int, int, bool, int]
        ] = []  # expert, tokens, whether it is deferred, time to read it
        self.processor_free = 0
        self.back = {False: 0, True: 0}  # when what the row at hand wants of the processor is back; deferred apart
        self.deferred_back = 0  # and what the row before deferred
        self.next_use = next_uses(rows)
        self.fate = Fate()

    def gpu_of(self, x: int) -> int:
        return x % self.rows.experts * len(self.gpus) // self.rows.experts

    def in_scope_of(self, x: int, among: Iterable[int]) -> list[int]:
        """Those whose slots x may take: on its GPU, and of its layer or any."""
        return [
            other
            for other in among
            if self.gpu_of(other) == self.gpu_of(x)
            and (self.scope == "model" or other // self.rows.experts == x // self.rows.experts)
        ]

    @property
    def exchange(self) -> int:
        return int(self.costs.exchange[self.step]) if len(self.gpus) > 1 else 0

    # time

    def run(self) -> Fate:
        now = 0
        self.goes_on(0)
        while self.end is None or now < self.end:
            for gpu in self.gpus:
                self.arrives(gpu, now)
            for gpu in self.gpus:
                if gpu.running >= 0 and gpu.run_ends == now:
                    gpu.kept.remove(gpu.running)
                    gpu.running, gpu.last = -1, now
            while self.turns(now):
                pass
            if now == self.end:
                break
            self.begins(now)
            now = self.next_event(now)
        self.fate.counts["wishes_used"] += sum(self.wished.values())
        return self.fate

    def next_event(self, now: int) -> int:
        times = [self.next_plan, self.planned + self.exchange, *([] if self.end is None else [self.end])]
        for gpu in self.gpus:
            times += [gpu.loader_free, *gpu.moving.values()]
        later = [time for time in times if time > now]
        later += [gpu.run_ends for gpu in self.gpus if gpu.running >= 0]  # those that take no time end now
        assert later, "the loader waits for a slot that nobody gives"
        return min(later)

    def arrives(self, gpu: Gpu, now: int) -> None:
        for x in [x for x, there in gpu.moving.items() if there == now]:
            del gpu.moving[x]
            self.residence[x] = HERE if self.residence[x] == COMING else HERE_LOW
            gpu.order.append(x)

    def turns(self, now: int) -> bool:
        """Whether the row at hand has ended, or the next one was planned."""
        if self.is_planned:
            if not all(gpu.is_done for gpu in self.gpus):
                return False
            self.ends()
            return True
        if self.next_plan != now or self.end is not None:
            return False
        self.plans(now)
        return True

    def ends(self) -> None:
        """All that the row wanted on GPUs has run: when it ends is known."""
        is_last = (self.row + 1) % self.rows.layers == 0
        last = max(self.gpus, key=lambda gpu: gpu.last)
        if not self.overlap:
            self.processes(last.last)
        ended = max(last.last, self.back[False], self.deferred_back)
        if is_last or not self.overlap:
            ended = max(ended, self.back[True])
        self.deferred_back = self.back[True]
        self.fate.counts["stall"] += last.last - (self.planned + self.exchange) - last.ran
        self.fate.counts["wait"] += ended - last.last
        self.is_planned = False
        ended += self.exchange
        self.fate.ended.append(ended)
        if is_last:
            ended += int(self.costs.after[self.step])
            self.fate.steps.append(ended)
        self.goes_on(ended)

    def goes_on(self, time: int) -> None:
        """The next row begins at this time, if there is one."""
        step, layer = divmod(self.row + 1, self.rows.layers)
        if step == self.rows.steps:
            self.end = time
        else:
            self.next_plan = time + int(self.costs.dense[step]) + (int(self.costs.before[step]) if layer == 0 else 0)

    # a row

    def plans(self, now: int) -> None:
        rows, counts = self.rows, self.fate.counts
        self.row += 1
        self.step, layer = divmod(self.row, rows.layers)
        self.planned, self.is_planned = now, True
        self.fate.planned.append(now)
        prefill = int(rows.prefill[self.step])
        given = self.given | {"row": self.row, "step": self.step, "layer": layer, "prefill": prefill}
        if layer == 0 and rows.begins[self.step]:
            self.system.ask("begin", **given)
        needed = [
            {
                "x": layer * rows.experts + int(rows.expert[place]),
                "n": int(rows.tokens[place]),
                "rank": int(rows.rank[place]),
                "weight": int(rows.weight[place]),
                "held": int(self.residence[layer * rows.experts + int(rows.expert[place])]),
                "now": int(place),
            }
            for place in range(rows.start[self.row], rows.start[self.row + 1])
        ]
        wants = [HIGH if not self.system.has("decide") else self.system.ask("decide", **given, **one) for one in needed]
        for one, want in zip(needed, wants, strict=True):
            self.replacement.ask("use", **given, **one, want=want, next_use=self.next_use[one["now"]])
        for gpu in self.gpus:
            gpu.order, gpu.ran, gpu.last = [], 0, now + self.exchange
        for one, want in zip(needed, wants, strict=True):
            counts["needed"] += 1
            counts[WANTED[want]] += 1
            if want in (HIGH, LOW):
                self.wants_here(one["x"], want, one["held"], one["n"])
        if self.system.has("wish") and self.overlap:
            listed = self.wishes[: self.system.ask("wish", **given)].tolist()
            for gpu in self.gpus:
                gpu.wishes, gpu.next_wish = [x for x in listed if self.gpu_of(x) == gpu.number], 0
        self.processing = [
            (one["x"], one["n"], kind == DEFER, self.reads(one["x"]))
            for kind in (CPU, DEFER)
            for one, want in zip(needed, wants, strict=True)
            if want == kind
        ]
        self.back = {False: 0, True: 0}
        if self.overlap:
            self.processes(now)

    def wants_here(self, x: int, want: int, held: int, n: int) -> None:
        counts, gpu = self.fate.counts, self.gpus[self.gpu_of(x)]
        gpu.to_run[x] = n
        if held == HERE or (held == HERE_LOW and want == LOW):
            counts["hits"] += 1
            gpu.order.append(x)
        elif held == COMING or (held == COMING_LOW and want == LOW):
            counts["late"] += 1
        else:
            counts["misses"] += 1
            gpu.misses.append((x, want))
            return
        gpu.kept.add(x)
        if x in self.wished:
            self.wished[x] = True

    def processes(self, now: int) -> None:
        """The processor is given its experts of this row."""
        if not self.processing:
            return
        costs, counts = self.costs, self.fate.counts
        sent = min(sum(n for _, n, _, _ in self.processing), int(self.rows.size[self.step]))
        counts["sent"] += sent
        self.processor_free = max(self.processor_free, now + int(costs.ship[sent]))
        for x, n, is_deferred, read in self.processing:
            begun = self.processor_free
            self.processor_free += read + int(costs.cpu[n])
            back = self.processor_free + int(costs.ship[n])
            self.back[is_deferred] = max(self.back[is_deferred], back)
            counts["processor_busy"] += read + int(costs.cpu[n])
            counts["returned"] += n
            self.fate.processor.append((begun, x, back))

    # what begins

    def begins(self, now: int) -> None:
        for gpu in self.gpus:
            if gpu.is_emptying and gpu.running < 0 and not self.ready(gpu):
                gpu.is_emptying = False
            may_load = self.overlap or (not gpu.is_emptying and self.has_begun(now))
            while may_load and gpu.loader_free <= now and self.begins_load(gpu, now):
                pass
        for gpu in self.gpus:
            if gpu.running < 0 and self.has_begun(now) and self.ready(gpu) and (self.overlap or not gpu.moving):
                gpu.is_emptying = not self.overlap
                self.begins_run(gpu, now)

    def has_begun(self, now: int) -> bool:
        """Whether tokens have been exchanged in the row at hand."""
        return now >= self.planned + self.exchange

    def ready(self, gpu: Gpu) -> list[int]:
        """What a GPU may run, in order."""
        return [x for x in gpu.order if x in gpu.to_run]

    def begins_load(self, gpu: Gpu, now: int) -> bool:
        if gpu.misses:
            x, want = gpu.misses[0]
            if self.residence[x] == ABSENT and not self.makes_room(x, gpu, now, True):
                return False
            gpu.misses.pop(0)
            gpu.kept.add(x)
            self.loads(x, want, gpu, now, "miss")
            return True
        while gpu.next_wish < len(gpu.wishes):
            x = gpu.wishes[gpu.next_wish]
            if self.residence[x] != ABSENT:
                gpu.next_wish += 1
            elif self.makes_room(x, gpu, now, False):
                gpu.next_wish += 1
                self.loads(x, HIGH, gpu, now, "wish")
                self.wished[x] = False
                return True
            else:
                gpu.wishes.remove(x)
        return False

    def makes_room(self, x: int, gpu: Gpu, now: int, for_a_miss: bool) -> bool:
        taken = self.in_scope_of(x, np.flatnonzero(self.residence != ABSENT).tolist())
        if len(taken) < self.slots:
            return True
        may_go = [
            other
            for other in taken
            if self.residence[other] in (HERE, HERE_LOW) and other not in gpu.kept and other not in self.placed
        ]
        unlisted = [other for other in may_go if other not in gpu.wishes]
        chosen = unlisted or (may_go if for_a_miss else [])
        if not chosen:
            return False
        now_of = {"now": int(self.rows.start[self.row + 1]), "layer": x // self.rows.experts}
        if for_a_miss:
            first, last = self.rows.start[self.row : self.row + 2]
            now_of["now"] = int(first + self.rows.expert[first:last].tolist().index(x % self.rows.experts))
        given = self.given | {"row": self.row, "step": self.step} | now_of
        worth = {
            other: self.replacement.ask("worth", **given, x=other, held=int(self.residence[other])) for other in chosen
        }
        victim = min(chosen, key=lambda other: (worth[other], other))
        self.residence[victim] = ABSENT
        self.fate.left.append((now, victim))
        self.fate.counts["wishes_used"] += self.wished.pop(victim, False)
        return True

    def loads(self, x: int, want: int, gpu: Gpu, now: int, why: str) -> None:
        costs, counts = self.costs, self.fate.counts
        begun = now + self.reads(x)
        took = costs.load if want == HIGH else costs.load_low
        counts["loads"] += 1
        counts["wishes"] += why == "wish"
        counts["bytes"] += costs.size if want == HIGH else costs.size_low
        counts["link_busy"] += took
        self.residence[x] = COMING if want == HIGH else COMING_LOW
        gpu.loader_free = begun + took
        gpu.moving[x] = begun + took + costs.latency
        self.fate.loads.append((now, x, gpu.moving[x], why))

    def reads(self, x: int) -> int:
        """How long it takes until an expert is in DRAM, which is asked for."""
        if not self.costs.host_experts:
            return 0
        if x in self.host:
            self.host.remove(x)
            self.host.append(x)
            return 0
        self.host = [*self.host[1:], x]
        self.fate.counts["reads"] += 1
        return self.costs.read

    def begins_run(self, gpu: Gpu, now: int) -> None:
        x = self.ready(gpu)[0]
        took = int(self.costs.run[gpu.to_run.pop(x)])
        gpu.running, gpu.run_ends = x, now + took
        gpu.ran += took
        self.fate.counts["gpu_runs"] += took
        self.fate.runs.append((now, x, gpu.run_ends))


def next_uses(rows: Rows) -> list[int]:
    """Of each place the next one of the same expert, or NEVER."""
    row = np.repeat(np.arange(len(rows.start) - 1), np.diff(rows.start))
    x = (row % rows.layers * rows.experts + rows.expert).tolist()
    later: dict[int, int] = {}
    found = []
    for place in reversed(range(len(x))):
        found.append(later.get(x[place], NEVER))
        later[x[place]] = place
    return found[::-1]


WANTED = {HIGH: "high", LOW: "low", CPU: "processor", DEFER: "deferred", SKIP: "skipped"}


def offload(
    rows: Rows,
    costs: Costs,
    system: Any,
    replacement: Any,
    slots: int,
    scope: str = "layer",
    gpus: int = 1,
    overlap: bool = True,
    placed: Iterable[int] = (),
) -> Fate:
    """What becomes of rows; ``slots`` are those of a layer, or of all layers (``scope``), on each GPU.

    A system may have ``begin``, ``decide`` and ``wish``, a replacement ``use`` and has ``worth``; both may be one and
    the same object. Experts that are ``placed`` are there from the beginning and stay.
    """
    return Offload(rows, costs, system, replacement, slots, scope, gpus, overlap, placed).run()


def rows_of(
    steps: Sequence[Sequence[Sequence[int]]],
    experts: int,
    weights: Sequence[Sequence[Sequence[float]]] | None = None,
    predicted: dict[tuple[int, int], Sequence[int]] | None = None,
    begins: Sequence[int] = (0,),
    many: dict[tuple[int, int, int], int] | None = None,
) -> Rows:
    """Rows of single tokens: of each step and layer the experts, the best first, and their weights.

    ``predicted`` has lists of a step and a layer, ``begins`` the steps with which sequences begin, and ``many`` how
    many tokens pass an expert of a step and a layer, where it is not one; the step has as many.
    """
    layers = len(steps[0])
    start, needs, starts, named = [0], [], [0], []
    for step, of_layers in enumerate(steps):
        for layer, chosen in enumerate(of_layers):
            for e in sorted(chosen):
                rank = chosen.index(e)
                weight = int(weights[step][layer][rank] * 10**6 + 0.5) if weights else 10**6 // len(chosen)
                needs.append((e, (many or {}).get((step, layer, e), 1), rank, weight))
            start.append(len(needs))
            named += (predicted or {}).get((step, layer), [])
            starts.append(len(named))
    expert, tokens, rank, weight = np.array(needs, np.int64).reshape(-1, 4).T.copy()
    ones = np.ones(len(steps), np.int64)
    size = ones.copy()
    for (step, _, _), n in (many or {}).items():
        size[step] = max(size[step], n)
    new = np.isin(np.arange(len(steps)), begins).astype(np.int64)
    numbers = [np.array(held, np.int64) for held in (start, starts, named)]
    return Rows(
        layers=layers,
        experts=experts,
        start=numbers[0],
        expert=expert,
        tokens=tokens,
        rank=rank,
        weight=weight,
        predicted_start=numbers[1],
        predicted=numbers[2],
        size=size,
        context=ones,
        pairs=ones,
        sampled=ones,
        begins=new,
        prefill=0 * ones,
        sequence=np.cumsum(new) - 1,
    )


def costs_of(steps: int, most: int = 1, **other: Any) -> Costs:
    """Small round times for so many steps of at most so many tokens: a load takes 10, dense 3, an expert 2 a token."""
    n = np.arange(most + 1)
    same = dict.fromkeys(("before", "after", "exchange"), 0) | {"dense": 3}
    times = {name: np.full(steps, other.pop(name, took), np.int64) for name, took in same.items()}
    by_tokens = {"run": 2 * n, "cpu": 7 * n, "ship": n} | {
        name: np.asarray(other.pop(name), np.int64) for name in ("run", "cpu", "ship") if name in other
    }
    rest = {"load": 10, "load_low": 5, "latency": 0, "size": 100, "size_low": 50, "hidden": 4} | other
    return Costs(**times, **by_tokens, **rest)


def bound(
    rows: Rows, costs: Costs, slots: int, scope: str = "layer", gpus: int = 1, placed: Iterable[int] = ()
) -> Fate:
    """Perfect prefetch: Belady's rule for sets says what is loaded, one after the other from the beginning on."""
    fate = Fate()
    E, L = rows.experts, rows.layers
    sets = [
        [row % L * E + int(e) for e in rows.expert[rows.start[row] : rows.start[row + 1]]]
        for row in range(rows.steps * L)
    ]

    def next_use(x: int, row: int) -> int:
        return next((later for later in range(row + 1, len(sets)) if x in sets[later]), NEVER)

    def scope_of(x: int) -> tuple[int, int]:
        return x % E * gpus // E, x // E if scope == "layer" else 0

    here: dict[tuple[int, int], set[int]] = {}
    for x in placed:
        here.setdefault(scope_of(x), set()).add(x)
    loaded = [0] * gpus
    now = 0
    for row, needed in enumerate(sets):
        step, layer = divmod(row, L)
        exchange = int(costs.exchange[step]) if gpus > 1 else 0
        now += int(costs.before[step]) * (layer == 0) + int(costs.dense[step])
        fate.planned.append(now)
        ends = []
        for gpu in range(gpus):
            mine = [x for x in needed if scope_of(x)[0] == gpu]
            place = (gpu, layer if scope == "layer" else 0)
            held = here.get(place, set())
            loaded[gpu] += len(set(mine) - held)
            used_again = [x for x in held.union(mine) if next_use(x, row) < NEVER]
            here[place] = set(sorted(used_again, key=lambda x: (next_use(x, row), x))[:slots])
            tokens = {
                layer * E + int(rows.expert[k]): rows.tokens[k] for k in range(rows.start[row], rows.start[row + 1])
            }
            ran = now + exchange + sum(int(costs.run[tokens[x]]) for x in mine)
            there = loaded[gpu] * costs.load + costs.latency if loaded[gpu] else 0
            ends.append(max(ran, there))
        now = max(ends) + exchange
        fate.ended.append(now)
        if layer == L - 1:
            now += int(costs.after[step])
            fate.steps.append(now)
    fate.counts["loads"] = sum(loaded)
    return fate
