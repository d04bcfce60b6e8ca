"""Experts that do not fit: the engine against the oracle, row by row and load by load, and by hand."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import expert_offload as oracle
from tests.oracles.expert_offload import costs_of, rows_of
from tiersim._base.errors import AuditError, PolicyError, StudyError
from tiersim._base.params import config
from tiersim._base.registry import build
from tiersim.policies.experts import contract
from tiersim.policies.experts.contract import CPU, DEFER, HIGH, LOW, SKIP
from tiersim.sim import expert_loop
from tiersim.sim.expert_offload import Machine, Offloaded, offload
from tiersim.sim.expert_rows import Costs, Rows


def lru() -> Any:
    return build("expert-replacement", "lru")


@config
class Fancy:
    """Wants and wishes whatever a number says; wishes twice, and what is here."""

    replacement: Any = field(default_factory=lru)
    scope: str = "layer"
    number: int = 0
    wants: tuple[int, ...] = (HIGH,)
    wishing: int = 0

    def state(self, objects: int) -> dict[str, Any]:
        return {
            "about": np.array([self.number, len(self.wants), self.wishing], np.int64),
            "choice": np.array(self.wants, np.int64),
            "uses": np.zeros(objects, np.int64),
        }

    @staticmethod
    def begin(about: Any, step: int) -> None:
        about[0] += step

    @staticmethod
    def decide(about: Any, choice: Any, x: int, n: int, rank: int, held: int, row: int) -> int:
        return int(choice[(about[0] + x * 7 + n + rank * 3 + held + row * 5) % about[1]])

    @staticmethod
    def wish(about: Any, row_start: Any, row_x: Any, wishes: Any, row: int, layers: int, experts: int) -> int:
        many = 0
        for other in range(row + 1, min(row + 4, len_of(row_start, row, layers))):
            for i in range(row_start[other], row_start[other + 1]):
                if many < about[2]:
                    wishes[many] = other % layers * experts + (row_x[i] + (about[0] + i) % 3 // 2) % experts
                    many += 1
        return many


def len_of(row_start: Any, row: int, layers: int) -> int:
    """Where the rows of this step end."""
    return row // layers * layers + layers


@config
class Own:
    """Replaces by itself: by what was wanted last, and how often."""

    replacement: Any = None
    scope: str = "model"

    def state(self, objects: int) -> dict[str, Any]:
        return {"uses": np.zeros(objects, np.float64)}

    @staticmethod
    def decide(x: int, row: int) -> int:
        return HIGH if (x + row) % 3 else LOW

    @staticmethod
    def use(uses: Any, x: int, want: int, n: int) -> None:
        uses[x] += want * n / 2

    @staticmethod
    def worth(uses: Any, x: int, held: int, layer: int, row: int) -> int:
        return int(uses[x] * 2) + held + (x + layer + row) % 2


COUNTS = {
    "needed": "needed",
    "hits": "hits",
    "late": "late",
    "misses": "misses",
    "loads": "loads",
    "wished": "wishes",
    "used": "wishes_used",
    "reads": "reads",
    "bytes": "bytes",
    "link_time": "link_busy",
    "gpu_time": "gpu_runs",
    "sent": "sent",
    "returned": "returned",
    "skipped": "skipped",
    "deferrals": "deferred",
}


def agree(rows: Rows, costs: Costs, system: Any, **options: Any) -> Offloaded:
    """Engine and oracle say the same of everything."""
    compiled = options.pop("compiled", False)
    made = offload(rows, costs, system, **options, log=True, compiled=compiled)
    # both have arrays of their own
    whole = replace(system)
    part = whole if system.replacement is None else system.replacement
    said = oracle.offload(rows, costs, whole, part, scope=system.scope, **options)
    assert made.row_end.tolist() == said.ended
    assert made.step_end.tolist() == said.steps
    assert made.loads is not None
    mine = [(begun, x, there, "wish" if wish else "miss") for begun, there, x, _, wish, _ in made.loads.tolist()]
    assert mine == said.loads
    assert {name: made.counts[name] for name in COUNTS} == {name: said.counts[other] for name, other in COUNTS.items()}
    assert made.counts["processed"] == said.counts["processor"] + said.counts["deferred"]
    assert (int(made.stall.sum()), int(made.wait.sum())) == (said.counts["stall"], said.counts["wait"])
    return made


@st.composite
def needs(draw: Any) -> Rows:
    """A few steps of one or more tokens."""
    layers, experts = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    steps = draw(st.integers(1, 8))
    start, held, sizes = [0], [], []
    for _ in range(steps):
        size = draw(st.integers(1, 3))
        sizes.append(size)
        for _ in range(layers):
            chosen = draw(st.dictionaries(st.integers(0, experts - 1), st.integers(1, size), max_size=4))
            held += [(e, chosen[e], rank, 10**5) for rank, e in enumerate(sorted(chosen))]
            start.append(len(held))
    expert, tokens, rank, weight = np.array(held, np.int64).reshape(-1, 4).T.copy()
    size = np.array(sizes, np.int64)
    begins = np.array(draw(st.lists(st.integers(0, 1), min_size=steps, max_size=steps)), np.int64)
    return Rows(
        layers=layers,
        experts=experts,
        start=np.array(start, np.int64),
        expert=expert,
        tokens=tokens,
        rank=rank,
        weight=weight,
        predicted_start=np.zeros(steps * layers + 1, np.int64),
        predicted=np.zeros(0, np.int64),
        size=size,
        context=size,
        pairs=size,
        sampled=size,
        begins=begins,
        prefill=0 * size,
        sequence=np.cumsum(begins),
    )


@st.composite
def prices(draw: Any, rows: Rows) -> Costs:
    small = st.integers(0, 6)
    times = {name: draw(small) for name in ("before", "dense", "after", "exchange")}
    run, cpu, ship = (draw(st.lists(small, min_size=4, max_size=4)) for _ in range(3))
    hosted = draw(st.one_of(st.just(0), st.integers(1, rows.layers * rows.experts)))
    return costs_of(
        rows.steps,
        3,
        **times,
        run=[0, *run[1:]],
        cpu=[0, *cpu[1:]],
        ship=[0, *ship[1:]],
        load=draw(st.integers(1, 12)),
        load_low=draw(st.integers(1, 6)),
        latency=draw(st.integers(0, 9)),
        read=draw(small) if hosted else 0,
        host_experts=hosted,
    )


WANTS = st.lists(st.sampled_from([HIGH, HIGH, HIGH, LOW, CPU, DEFER, SKIP]), min_size=1, max_size=6).map(tuple)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_engine_and_oracle_agree(data: Any) -> None:
    rows = data.draw(needs())
    system: Any = Own()
    if data.draw(st.integers(0, 5)):
        part = data.draw(st.sampled_from(["lru", "lfu", "least-stale", "belady", "lfu-aged"]))
        system = Fancy(
            replacement=build("expert-replacement", part),
            scope=data.draw(st.sampled_from(["layer", "model"])),
            number=data.draw(st.integers(0, 99)),
            wants=data.draw(WANTS),
            wishing=data.draw(st.integers(0, 5)) if rows.layers * rows.experts > 5 else 0,
        )
    gpus = data.draw(st.integers(1, min(3, rows.experts)))
    objects = rows.layers * rows.experts
    placed = data.draw(st.lists(st.integers(0, objects - 1), max_size=3, unique=True))
    slots = len(placed) + data.draw(st.integers(1, 5))
    agree(
        rows,
        data.draw(prices(rows)),
        system,
        slots=slots,
        gpus=gpus,
        overlap=data.draw(st.sampled_from([True, True, False])),
        placed=placed,
    )


def test_names_are_those_of_the_contract() -> None:
    assert {name: getattr(contract, name) for name in contract.__all__ if name.isupper()} == expert_loop.CONTRACT


def random_rows(steps: int, layers: int, experts: int, k: int, seed: int = 1, tokens: int = 1) -> Rows:
    """Steps of so many tokens, each with k experts of a skewed draw."""
    draws = np.random.default_rng(seed)
    chances = 1 / np.arange(1, experts + 1)
    chances /= chances.sum()
    start, held = [0], []
    for _ in range(steps * layers):
        chosen = np.concatenate([draws.choice(experts, k, replace=False, p=chances) for _ in range(tokens)])
        numbers, counts = np.unique(chosen, return_counts=True)
        held += [(e, n, rank % k, 10**6 // k) for rank, (e, n) in enumerate(zip(numbers, counts, strict=True))]
        start.append(len(held))
    expert, many, rank, weight = np.array(held, np.int64).T.copy()
    size = np.full(steps, tokens)
    return Rows(
        layers=layers,
        experts=experts,
        start=np.array(start),
        expert=expert,
        tokens=many,
        rank=rank,
        weight=weight,
        predicted_start=np.zeros(steps * layers + 1, np.int64),
        predicted=np.zeros(0, np.int64),
        size=size,
        context=size,
        pairs=size,
        sampled=size,
        begins=(np.arange(steps) % 5 == 0).astype(np.int64),
        prefill=0 * size,
        sequence=np.arange(steps) // 5,
    )


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize("overlap", [True, False])
def test_compiled_is_as_plain(gpus: int, overlap: bool) -> None:
    rows = random_rows(12, 3, 8, 2, tokens=2)
    costs = costs_of(rows.steps, 4, latency=3, before=2, exchange=1, read=4, host_experts=9)
    wants = (HIGH, HIGH, CPU, HIGH, LOW, DEFER, SKIP)
    for system in (Fancy(wants=wants, wishing=6), Own()):
        agree(rows, costs, system, slots=3, gpus=gpus, overlap=overlap, placed=[1, 9], compiled=True)


def test_several_rows_at_a_time_are_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(9, 3, 8, 2)
    costs = costs_of(rows.steps, 2, latency=3)
    whole = offload(rows, costs, Fancy(wishing=4), slots=3, compiled=False, log=True)
    monkeypatch.setattr("tiersim.sim.expert_offload.CHUNK", 4)
    monkeypatch.setattr("tiersim.sim.expert_offload.LOADS", 1)
    told: list[int] = []
    parts = offload(rows, costs, Fancy(wishing=4), slots=3, compiled=False, log=True, progress=told.append)
    assert told == [4] * 6 + [3]
    assert whole.counts == parts.counts
    for name in ("step_begin", "step_end", "row_end", "hits", "late", "misses", "stall", "wait", "loads"):
        assert getattr(whole, name).tolist() == getattr(parts, name).tolist()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_bound_is_that_of_the_oracle_and_never_beaten(data: Any) -> None:
    rows = data.draw(needs())
    costs = replace(data.draw(prices(rows)), host_experts=0)
    gpus = data.draw(st.integers(1, min(2, rows.experts)))
    scope = data.draw(st.sampled_from(["layer", "model"]))
    objects = rows.layers * rows.experts
    placed = data.draw(st.lists(st.integers(0, objects - 1), max_size=3, unique=True))
    slots = len(placed) + data.draw(st.integers(1, 4))
    options: dict[str, Any] = {"slots": slots, "gpus": gpus, "placed": placed}
    best = offload(rows, costs, build("experts", {"use": "perfect-prefetch", "scope": scope}), **options)
    said = oracle.bound(rows, costs, slots, scope, gpus, placed)
    assert (best.row_end.tolist(), best.step_end.tolist()) == (said.ended, said.steps)
    assert best.counts["loads"] == said.counts["loads"]
    wishing = data.draw(st.integers(0, 5)) if objects > 5 else 0
    system = Fancy(scope=scope, wishing=wishing, number=data.draw(st.integers(0, 9)))
    made = offload(rows, costs, system, overlap=data.draw(st.booleans()), compiled=False, **options)
    assert (made.row_end >= best.row_end).all()


def test_without_loads_only_computing_takes_time() -> None:
    rows = random_rows(8, 3, 8, 2, tokens=2)
    costs = costs_of(rows.steps, 4, load=0, before=1, after=4)
    computing = int(costs.run[rows.tokens].sum()) + rows.steps * (3 * 3 + 1 + 4)
    for overlap in (True, False):
        made = offload(rows, costs, Fancy(wishing=4), slots=2, overlap=overlap, compiled=False)
        assert made.end == computing
        assert made.counts["loads"]
    # nor do they where all is here
    costs = replace(costs, load=50)
    made = offload(rows, costs, Fancy(), slots=8, placed=range(24), compiled=False)
    assert made.end == computing


def test_without_overlap_a_row_is_the_sum() -> None:
    rows = random_rows(8, 3, 8, 3, tokens=2)
    costs = costs_of(rows.steps, 6, before=1, after=4)
    made = offload(rows, costs, build("experts", "on-demand"), slots=6, overlap=False, compiled=False)
    computing = int(costs.run[rows.tokens].sum()) + rows.steps * (3 * 3 + 1 + 4)
    assert made.end == computing + made.counts["misses"] * costs.load
    assert made.stall.tolist() == (made.misses * costs.load).tolist()
    assert made.counts["bytes"] == made.counts["misses"] * costs.size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 0}, "no slot for it will ever be free"),
        ({"slots": -1}, "there cannot be -1 slots"),
        ({"slots": 1, "placed": [0]}, "no slot for it will ever be free"),
        ({"slots": 1, "placed": [0, 1]}, "2 experts are placed where there are 1 slots"),
        ({"slots": 4, "placed": [1, 1]}, "placed twice"),
        ({"slots": 4, "placed": [8]}, "that the model has not: 8"),
        ({"slots": 4, "gpus": 5}, "5 GPUs cannot share the 4 experts"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, Any], message: str) -> None:
    rows = rows_of([[[0, 1], [2, 3]], [[2, 1], [0, 3]]], 4)
    with pytest.raises(StudyError, match=message):
        offload(rows, costs_of(2), build("experts", "on-demand"), compiled=False, **options)


def test_times_that_are_missing_are_said() -> None:
    rows = rows_of([[[0, 1]], [[2, 1]]], 4)
    with pytest.raises(StudyError, match="'before' has 3 times"):
        offload(rows, costs_of(3), build("experts", "on-demand"), slots=2)
    with pytest.raises(StudyError, match="'run' has no time for 1 tokens"):
        offload(rows, costs_of(2, 0), build("experts", "on-demand"), slots=2)


@config
class Wrong:
    replacement: Any = field(default_factory=lru)
    scope: str = "layer"

    @staticmethod
    def decide() -> int:
        return 9


@config
class Many:
    replacement: Any = field(default_factory=lru)
    scope: str = "layer"

    @staticmethod
    def wish() -> int:
        return 99


@config
class Nobody:
    replacement: Any = field(default_factory=lru)
    scope: str = "layer"

    @staticmethod
    def wish(wishes: Any) -> int:
        wishes[0] = -3
        return 1


@config
class Curious:
    replacement: Any = field(default_factory=lru)
    scope: str = "layer"

    @staticmethod
    def wish(n: int) -> int:
        return n


@config
class Failing:
    replacement: Any = field(default_factory=lru)
    scope: str = "layer"

    @staticmethod
    def decide(n: int) -> int:
        return n // 0


@config
class Silent:
    scope: str = "layer"


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (Wrong, "Wrong.decide gave 9"),
        (Many, "Many.wish gave 99"),
        (Nobody, "Nobody.wish listed -3"),
        (Curious, "Curious.wish asks for 'n'"),
        (Failing, "Failing fails: ZeroDivisionError"),
        (Silent, "Silent has no replacement and no verb 'use'"),
    ],
)
def test_broken_contracts_are_said(system: Any, message: str) -> None:
    rows = rows_of([[[0, 1]], [[2, 1]]], 4)
    with pytest.raises(PolicyError, match=message):
        offload(rows, costs_of(2), system(), slots=2, compiled=False)


def test_books_that_do_not_balance_are_seen() -> None:
    rows = rows_of([[[0, 1]], [[2, 1]]], 4)
    machine = Machine(rows, costs_of(2), build("experts", "on-demand"), slots=2, compiled=False)
    assert machine.go() == expert_loop.OVER
    machine.result()
    machine._held[0][expert_loop.HEADER.index("loads")] += 1
    with pytest.raises(AuditError, match="misses and wishes begun"):
        machine.result()


def test_popularity_is_asked_for_and_decides() -> None:
    rows = rows_of([[[0, 1]], [[2, 3]], [[0, 1]]], 4)
    system = build("experts", {"use": "on-demand", "replacement": "static"})
    with pytest.raises(PolicyError, match="Static must know how often"):
        offload(rows, costs_of(3), system, slots=3, compiled=False)
    for popular, missed_again in (([5, 4, 3, 2], 1), ([2, 3, 4, 5], 0)):
        made = offload(rows, costs_of(3), system, slots=3, popular=np.array(popular), log=True, compiled=False)
        assert made.loads is not None
        assert made.loads[:, expert_loop.LOG.index("x")].tolist() == [0, 1, 2, 3, missed_again]


def test_a_replacement_sees_ahead() -> None:
    # 3 comes and 0 or 1 leaves: 1 is used in the next two steps twice, 0 once, though 0 is the one used last
    rows = rows_of([[[1]], [[0]], [[3]], [[1]], [[0]], [[1]]], 4)
    system = build("experts", {"use": "on-demand", "replacement": {"use": "sch", "ahead": 4}})
    made = offload(rows, costs_of(6), system, slots=2, compiled=False)
    assert made.hits.tolist() == [0, 0, 0, 1, 0, 1]
