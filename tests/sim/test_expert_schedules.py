"""Schedules of offloaded experts, worked out by hand: when each load, run and row begins and ends.

Unless a test says otherwise a load takes 10, the dense part of a row 3, an expert 2 for each token on a GPU and 7 on
the processor, and hidden states 1 for each token and direction. Expert e of layer l is l x 4 + e. ``r`` is when the
choice of a row is known.
"""

from __future__ import annotations

from dataclasses import field
from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import expert_offload as oracle
from tests.oracles.expert_offload import Fate, Lru, Verbs, costs_of, rows_of
from tiersim._base.errors import StudyError
from tiersim._base.params import config
from tiersim._base.registry import build
from tiersim.policies.expert_replacement.lru import Lru as RegisteredLru
from tiersim.policies.experts.contract import CPU, DEFER, HIGH, LOW, SKIP
from tiersim.sim.expert_offload import offload
from tiersim.sim.expert_rows import Costs, Rows

COUNTS = {  # as the engine calls them, and as the oracle does
    "hits": "hits",
    "late": "late",
    "misses": "misses",
    "deferrals": "deferred",
    "skipped": "skipped",
    "loads": "loads",
    "wished": "wishes",
    "used": "wishes_used",
    "reads": "reads",
    "bytes": "bytes",
    "link_time": "link_busy",
    "gpu_time": "gpu_runs",
    "processor_time": "processor_busy",
    "sent": "sent",
    "returned": "returned",
}


def run(rows: Rows, costs: Costs, system: Any, slots: int, compiled: bool = False, **options: Any) -> Fate:
    """What the oracle says becomes of rows, and the engine says as well."""
    replacement = system if system.replacement is None else system.replacement
    if isinstance(replacement, RegisteredLru):
        replacement = Lru()
    fate = oracle.offload(rows, costs, system, replacement, slots, system.scope, **options)
    made = offload(rows, costs, system, slots=slots, compiled=compiled, log=True, **options)
    assert made.row_end.tolist() == fate.ended
    assert made.step_end.tolist() == fate.steps
    assert made.loads is not None
    assert [(begun, x, there) for begun, there, x, *_ in made.loads.tolist()] == loads(fate)
    assert {name: made.counts[name] for name in COUNTS} == {name: fate.counts[other] for name, other in COUNTS.items()}
    assert (made.stall.sum(), made.wait.sum()) == (fate.counts["stall"], fate.counts["wait"])
    return fate


def bound(rows: Rows, costs: Costs, slots: int, **options: Any) -> Fate:
    """The bound, as both have it."""
    fate = oracle.bound(rows, costs, slots, **options)
    system = build("experts", {"use": "perfect-prefetch", "scope": options.pop("scope", "layer")})
    made = offload(rows, costs, system, slots=slots, **options)
    assert (made.row_end.tolist(), made.step_end.tolist()) == (fate.ended, fate.steps)
    assert made.counts["loads"] == fate.counts["loads"]
    return fate


def played(use: str, rows: Rows, costs: Costs, slots: int, training: Any = (), **parameters: Any) -> Fate:
    """A system as it is registered; ``training`` is what it places by: how many tokens passed each expert, singly."""
    compiled = parameters.pop("compiled", False)
    made = build("experts", {"use": use, **parameters})
    x = np.repeat(np.arange(len(training)), np.asarray(training, np.int64))
    known = {
        "layers": rows.layers,
        "experts": rows.experts,
        "gpus": 1,
        "slots": slots,
        "popular": list(training),
        "needed_row": np.arange(len(x)) * rows.layers + x // rows.experts,
        "needed_x": x,
        "needed_n": np.ones_like(x),
        **{name: getattr(costs, name) for name in ("load", "load_low", "cpu", "run", "ship")},
    }
    placed = Verbs(made, {"objects": rows.layers * rows.experts, **known}).ask("place", **known) or []
    return run(rows, costs, made, slots, compiled, placed=placed)


def loads(fate: Fate) -> list[tuple[int, int, int]]:
    return [(begun, x, there) for begun, x, there, _ in fate.loads]


def on_demand(scope: str = "layer") -> Any:
    return build("experts", {"use": "on-demand", "scope": scope})


# One layer, two slots, least recently used; what is loaded is there 1 later.
#
# token  needs  r   loader              GPU                 ends
# 0      0 1    3   0: 3-13, 1: 13-23   0: 14-16, 1: 24-26  26
# 1      0 2    29  2: 29-39 for 1      0: 29-31, 2: 40-42  42
# 2      1 2    45  1: 45-55 for 0      2: 45-47, 1: 56-58  58
# 3      1 3    61  3: 61-71 for 2      1: 61-63, 3: 72-74  74
# 4      0 3    77  0: 77-87 for 1      3: 77-79, 0: 88-90  90
PAIRS = [[[0, 1]], [[0, 2]], [[1, 2]], [[1, 3]], [[0, 3]]]


def test_on_demand() -> None:
    fate = run(rows_of(PAIRS, 4), costs_of(5, latency=1), on_demand(), slots=2)
    assert fate.planned == [3, 29, 45, 61, 77]
    assert fate.ended == fate.steps == [26, 42, 58, 74, 90]
    assert loads(fate) == [(3, 0, 14), (13, 1, 24), (29, 2, 40), (45, 1, 56), (61, 3, 72), (77, 0, 88)]
    assert fate.left == [(29, 1), (45, 0), (61, 2), (77, 1)]
    assert fate.runs[:4] == [(14, 0, 16), (24, 1, 26), (29, 0, 31), (40, 2, 42)]
    assert fate.counts["hits"] == 4
    assert fate.counts["misses"] == fate.counts["loads"] == 6
    assert fate.counts["stall"] == (26 - 3 - 4) + 4 * (42 - 29 - 4)
    assert (fate.counts["link_busy"], fate.counts["gpu_runs"], fate.counts["bytes"]) == (60, 20, 600)


def test_before_and_after_belong_to_steps() -> None:
    # each step is 5 later to begin and 7 later to end: r is 8, and 12 more later with each further step
    fate = run(rows_of(PAIRS, 4), costs_of(5, latency=1, before=5, after=7), on_demand(), slots=2)
    assert fate.planned == [8, 46, 74, 102, 130]
    assert fate.ended == [31, 59, 87, 115, 143]
    assert fate.steps == [38, 66, 94, 122, 150]


# The bound loads in one go: of PAIRS 0 and 1, then 2 (of 0, 1 and 2 the next uses are in tokens 4, 2 and 2: 0 leaves),
# then 3 (0 is not there, and nobody needs 1 or 2 again), then 0: the k-th is there at 10 k + 1.
#
# token  r   runs until  last load  ends
# 0      3   7           21         21
# 1      24  28          31         31
# 2      34  38          31         38
# 3      41  45          41         45
# 4      48  52          51         52
def test_bound() -> None:
    fate = bound(rows_of(PAIRS, 4), costs_of(5, latency=1), slots=2)
    assert fate.ended == [21, 31, 38, 45, 52]
    assert fate.counts["loads"] == 5


def test_bound_of_what_is_placed() -> None:
    # 0 is here at first, and leaves for 2 as before: one load less, so that token 0 ends at 11 and token 1 at 21
    fate = bound(rows_of(PAIRS, 4), costs_of(5, latency=1), slots=2, placed=[0])
    assert fate.ended == [11, 21, 28, 35, 42]
    assert fate.counts["loads"] == 4


# Nothing runs while something is loaded: a token takes 3 + 11 + 4, the first one 3 + 21 + 4.
def test_nothing_overlaps() -> None:
    fate = run(rows_of(PAIRS, 4), costs_of(5, latency=1), on_demand(), slots=2, overlap=False)
    assert fate.ended == [28, 46, 64, 82, 100]
    assert fate.runs[:4] == [(24, 0, 26), (26, 1, 28), (42, 0, 44), (44, 2, 46)]


def test_nothing_overlaps_where_slots_are_few() -> None:
    # 0: 3-13, 1: 13-23, there at 24; 2 finds no slot: both run until 28, then 2: 28-38 for 0, and 39-41
    fate = run(rows_of([[[0, 1, 2]]], 4), costs_of(1, latency=1), on_demand(), slots=2, overlap=False)
    assert fate.runs == [(24, 0, 26), (26, 1, 28), (39, 2, 41)]
    assert fate.ended == [41]
    # two GPUs: 1 runs when 0 was loaded, both from 3 + 1 on, and the loaders do not wait for each other
    fate = run(rows_of([[[0, 1, 2]]], 4), costs_of(1, exchange=1), on_demand(), slots=1, gpus=2, overlap=False)
    assert fate.runs == [(14, 0, 16), (14, 2, 16), (26, 1, 28)]
    assert fate.ended == [29]


@config
class SecondOnProcessor:
    replacement: Any = field(default_factory=RegisteredLru)
    scope: str = "layer"

    @staticmethod
    def decide(rank: int) -> int:
        return CPU if rank else HIGH


# The first of each token comes to the one slot, the second goes to the processor: to it 1, there 7, back 1.
#
# token  needs  r   loader    GPU    processor  ends
# 0      0 1    3   0: 3-13   13-15  4-11       15 (the result is back at 12)
# 1      0 2    18            18-20  19-26      27
# 2      1 2    30  1: 30-40  40-42  31-38      42
# 3      1 3    45            45-47  46-53      54
# 4      0 3    57  0: 57-67  67-69  58-65      69
def test_processor() -> None:
    fate = run(rows_of(PAIRS, 4), costs_of(5), SecondOnProcessor(), slots=1)
    assert fate.ended == [15, 27, 42, 54, 69]
    assert fate.processor == [(4, 1, 12), (19, 2, 27), (31, 2, 39), (46, 3, 54), (58, 3, 66)]
    assert fate.counts["stall"] == 3 * 10
    assert fate.counts["wait"] == 2 * 7
    assert (fate.counts["high"], fate.counts["processor"], fate.counts["processor_busy"]) == (5, 5, 35)
    # one after the other: 3 + 10 + 2 + 9 where it is loaded, and 3 + 2 + 9 where it is there
    fate = run(rows_of(PAIRS, 4), costs_of(5), SecondOnProcessor(), slots=1, overlap=False)
    assert fate.ended == [24, 38, 62, 76, 100]


@config
class Deferring:
    replacement: Any = field(default_factory=RegisteredLru)
    scope: str = "layer"

    @staticmethod
    def decide(rank: int) -> int:
        return DEFER if rank else CPU


# Two layers, three experts of each token, all on the processor, the first at once and the others for the next layer.
#
# row  r   sent  at once       deferred              ends
# 0    3   4     4-11, back 12  11-18, 18-25, back 26  12
# 1    15  16    25-32, back 33 32-39, 39-46, back 47  47: the last row of a step waits for what it defers
# 2    50  51    51-58, ...                            and so on: each token takes 47
def test_deferral() -> None:
    rows = rows_of([[[2, 0, 1], [3, 1, 2]]] * 5, 4)
    fate = run(rows, costs_of(5), Deferring(), slots=1)
    assert fate.ended[:3] == [12, 47, 59]
    assert fate.steps == [47, 94, 141, 188, 235]
    assert fate.processor[:4] == [(4, 2, 12), (11, 0, 19), (18, 1, 26), (25, 7, 33)]
    assert fate.counts["wait"] == 5 * (9 + 32)
    assert (fate.counts["processor"], fate.counts["deferred"], fate.counts["needed"]) == (10, 20, 30)


def test_what_was_deferred_holds_up_the_next_layer() -> None:
    # four experts: row 0 is done at 12, and its last deferred result is back at 33; row 1 wants nothing of its own
    rows = rows_of([[[0, 1, 2, 3], []]], 4)
    fate = run(rows, costs_of(1), Deferring(), slots=1)
    assert fate.ended == [12, 33]


@config
class Mixed:
    replacement: Any = field(default_factory=RegisteredLru)
    scope: str = "layer"

    @staticmethod
    def decide(rank: int, weight: int) -> int:
        return HIGH if rank == 0 else SKIP if weight < 100_000 else LOW


# The second of a token may come in low precision, in 5, or be left out where its weight is below 0.1.
#
# token  needs  r   loader                    GPU                 ends
# 0      0 1    3   0: 3-13, 1 in low: 13-18  0: 13-15, 1: 18-20  20
# 1      1 0    23  1 in full, in its slot: 23-33  0: 23-25, 1: 33-35  35
# 2      0 1    38                            0: 38-40, 1: 40-42  42
# 3      2 0    45  2: 45-55 for 1            0: 45-47, 2: 55-57  57
# 4      3      60  3: 60-70 for 0            3: 70-72            72
def test_precision() -> None:
    tokens = [[[0, 1]], [[1, 0]], [[0, 1]], [[2, 0]], [[3, 2]]]
    weights = [[[0.6, 0.4]]] * 4 + [[[0.95, 0.05]]]
    fate = run(rows_of(tokens, 4, weights), costs_of(5), Mixed(), slots=2)
    assert fate.ended == [20, 35, 42, 57, 72]
    assert loads(fate) == [(3, 0, 13), (13, 1, 18), (23, 1, 33), (45, 2, 55), (60, 3, 70)]
    assert fate.left == [(45, 1), (60, 0)]
    assert (fate.counts["hits"], fate.counts["misses"], fate.counts["skipped"]) == (4, 5, 1)
    assert (fate.counts["bytes"], fate.counts["link_busy"]) == (450, 45)


# Two layers of two slots, an expert of each; of layer 1 it is predicted in layer 0, wrongly for token 1.
#
# row  needs  wish  r    loader                   GPU      ends
# 0    0      5     3    0: 3-13, 5: 13-23        13-15    15
# 1    5            18                            23-25    25   late
# 2    1      4     28   1: 28-38, 4: 38-48       38-40    40
# 3    6            43   6: 48-58 for 4           58-60    60   4 was never used
# 4    0      5     63                            63-65    65   5 is here
# 5    5            68                            68-70    70
# 6    2      7     73   2: 73-83 for 1, 7: 83-93 for 6  83-85  85
# 7    7            88                            93-95    95   late
# 8    0            98                            98-100   100
# 9    4            103  4: 103-113 for 5         113-115  115
AHEAD = [[[0], [1]], [[1], [2]], [[0], [1]], [[2], [3]], [[0], [0]]]
PREDICTED = {(0, 1): [1], (1, 1): [0], (2, 1): [1], (3, 1): [3]}


def test_prefetch() -> None:
    fate = played("mixtral-offloading", rows_of(AHEAD, 4, predicted=PREDICTED), costs_of(5), slots=2)
    assert fate.ended == [15, 25, 40, 60, 65, 70, 85, 95, 100, 115]
    assert fate.loads == [
        (3, 0, 13, "miss"),
        (13, 5, 23, "wish"),
        (28, 1, 38, "miss"),
        (38, 4, 48, "wish"),
        (48, 6, 58, "miss"),
        (73, 2, 83, "miss"),
        (83, 7, 93, "wish"),
        (103, 4, 113, "miss"),
    ]
    assert fate.left == [(48, 4), (73, 1), (83, 6), (103, 5)]
    assert (fate.counts["hits"], fate.counts["late"], fate.counts["misses"]) == (3, 2, 5)
    assert (fate.counts["wishes"], fate.counts["wishes_used"]) == (3, 2)
    assert fate.counts["stall"] == 10 + 5 + 10 + 15 + 10 + 5 + 10


@config
class Listed:
    """Wishes for what a test says, by rows."""

    replacement: Any = field(default_factory=RegisteredLru)
    scope: str = "layer"

    lists: dict[int, list[int]] = field(default_factory=dict)

    def state(self, rows: int) -> dict[str, Any]:
        lists = [self.lists.get(row, []) for row in range(rows)]
        listed = [x for named in lists for x in named]
        return {"first": np.cumsum([0, *map(len, lists)]), "listed": np.array(listed, np.int64)}

    @staticmethod
    def wish(wishes: Any, first: Any, listed: Any, row: int) -> int:
        for place in range(first[row], first[row + 1]):
            wishes[place - first[row]] = listed[place]
        return int(first[row + 1] - first[row])


# Two slots for two layers. In row 1 both experts that are here are wished for, so the miss takes the one that was never
# used, at 23 when the loader is free; at 33 that one is wished for in vain: 0 is wished for too, and 7 is kept till 35.
#
# row  needs  wishes  r   loader                  GPU    ends
# 0    0      5 6     3   0: 3-13, 5: 13-23       13-15  15   6 is dropped at 23: 0 is older, but row 1 lists it
# 1    7      0 5     18  7: 23-33 for 5          33-35  35
# 2    1              38  1: 38-48 for 0          48-50  50
def test_a_miss_takes_what_is_wished_for_where_nobody_else_can_go() -> None:
    rows = rows_of([[[0], [3]], [[1], []]], 4)
    fate = run(rows, costs_of(2), Listed(lists={0: [5, 6], 1: [0, 5]}, scope="model"), slots=2)
    assert loads(fate) == [(3, 0, 13), (13, 5, 23), (23, 7, 33), (38, 1, 48)]
    assert fate.left == [(23, 5), (38, 0)]
    assert fate.ended == [15, 35, 50, 53]


def test_what_came_by_a_wish_is_spared_by_other_wishes() -> None:
    # 5 comes at 13; for 6 then 0 would have to go, which runs until 15: 6 is dropped, though 5 was never used
    rows = rows_of([[[0], []]], 4)
    fate = run(rows, costs_of(1, run=[0, 60]), Listed(lists={0: [5, 6]}, scope="model"), slots=2)
    assert loads(fate) == [(3, 0, 13), (13, 5, 23)]
    assert fate.left == []


# Half of the experts are in DRAM, at first 0 and 1; the drive takes 7.
#
# token  needs  r   drive  link   GPU    ends  in DRAM then, the oldest first
# 0      0      3          3-13   13-15  15    1 0
# 1      2      18  18-25  25-35  35-37  37    0 2
# 2      0      40         40-50  50-52  52    2 0
# 3      1      55  55-62  62-72  72-74  74    0 1
# 4      2      77  77-84  84-94  94-96  96    1 2
def test_drive() -> None:
    rows = rows_of([[[0]], [[2]], [[0]], [[1]], [[2]]], 4)
    fate = run(rows, costs_of(5, host_experts=2, read=7), on_demand(), slots=1)
    assert fate.ended == [15, 37, 52, 74, 96]
    assert fate.counts["reads"] == 3


def test_the_processor_reads_from_the_drive() -> None:
    # 2 is asked for when the row is planned, and 0 makes room, which then must be read for its load: 3-10, 10-20
    fate = run(rows_of([[[0, 2]]], 4), costs_of(1, host_experts=2, read=7), SecondOnProcessor(), slots=1)
    assert fate.processor == [(4, 2, 19)]  # 4-11, 11-18, and back
    assert fate.runs == [(20, 0, 22)]
    assert (fate.counts["reads"], fate.counts["processor_busy"], fate.counts["link_busy"]) == (2, 7 + 7, 10)


# Two GPUs, of a slot each; 0 and 1 are with the first, 2 and 3 with the second; an exchange takes 1, before and after.
#
# token  needs  r   GPU 0                         GPU 1                         ends
# 0      0 2    3   loads 3-13, runs 13-15        loads 3-13, runs 13-15        16
# 1      0 1    19  0 20-22; 1: 22-32, 32-34                                    35  the slot is kept till 22
# 2      2 3    38                                2 39-41; 3: 41-51, 51-53      54
# 3      0 3    57  0: 57-67 for 1, 67-69         3 58-60                       70
# 4      1 3    73  1: 73-83 for 0, 83-85         3 74-76                       86
def test_two_gpus() -> None:
    tokens = [[[0, 2]], [[0, 1]], [[2, 3]], [[0, 3]], [[1, 3]]]
    fate = run(rows_of(tokens, 4), costs_of(5, exchange=1), on_demand(), slots=1, gpus=2)
    assert fate.ended == [16, 35, 54, 70, 86]
    assert fate.left == [(22, 0), (41, 2), (57, 1), (73, 0)]
    assert fate.counts["stall"] == 9 + 10 + 10 + 9 + 9


def test_what_is_placed_stays() -> None:
    # 0 is there from the beginning; 1, 2 and 3 take turns in the other slot: 10 and 2 for each, 0 meanwhile
    tokens = [[[0, 1]], [[0, 2]], [[0, 3]], [[0]], [[0, 1]]]
    fate = run(rows_of(tokens, 4), costs_of(5), on_demand(), slots=2, placed=[0])
    assert fate.ended == [15, 30, 45, 50, 65]
    assert [x for _, x in fate.left] == [1, 2, 3]


def test_one_slot_and_nobody_leaves() -> None:
    rows, costs = rows_of([[[1]]], 4), costs_of(1)
    with pytest.raises(AssertionError, match="nobody gives"):
        oracle.offload(rows, costs, on_demand(), Lru(), slots=1, placed=[0])
    with pytest.raises(StudyError, match="no slot for it will ever be free"):
        offload(rows, costs, on_demand(), slots=1, placed=[0], compiled=False)


# The experts of the next layer are known: those of AHEAD come while the layer before them computes.
#
# row  needs  wish  r    loader                          GPU      ends
# 0    0      5     3    0: 3-13, 5: 13-23               13-15    15
# 1    5            18                                   23-25    25   late
# 2    1      6     28   1: 28-38, 6: 38-48              38-40    40
# 3    6            43                                   48-50    50   late
# 4    0      5     53                                   53-55    55   5 is here
# 5    5            58                                   58-60    60
# 6    2      7     63   2: 63-73 for 1, 7: 73-83 for 6  73-75    75
# 7    7            78                                   83-85    85   late
# 8    0      4     88   4: 88-98 for 5                  88-90    90
# 9    4            93                                   98-100   100  late
def test_pre_gated() -> None:
    fate = played("pre-gated", rows_of(AHEAD, 4), costs_of(5), slots=2)
    assert fate.ended == [15, 25, 40, 50, 55, 60, 75, 85, 90, 100]
    assert [(begun, x) for begun, x, _, why in fate.loads if why == "wish"] == [(13, 5), (38, 6), (73, 7), (88, 4)]
    assert fate.left == [(63, 1), (73, 6), (88, 5)]
    assert (fate.counts["hits"], fate.counts["late"], fate.counts["misses"]) == (3, 4, 3)


# Of two slots one is 0's for good, the other is for copies. A token on the processor takes 7, two take 14, more than
# the 10 of a load.
#
# step  needs        r   loader         GPU                   processor             ends
# 0     0, 1         3                  0: 3-5                1: 4-11, back at 12   12
# 1     0 x 2, 2 x 2 15  2: 15-25       0: 15-19, 2: 25-29                          29
# 2     1, 2         32                 2: 32-34 (its copy)   1: 33-40, back at 41  41
# 3     1 x 2, 3     44  1: 44-54 for 2 1: 54-58              3: 45-52, back at 53  58
# 4     0, 1         61                 0: 61-63, 1: 63-65                          65
def test_fiddler() -> None:
    rows = rows_of(
        [[[0, 1]], [[0, 2]], [[1, 2]], [[1, 3]], [[0, 1]]], 4, many={(1, 0, 0): 2, (1, 0, 2): 2, (3, 0, 1): 2}
    )
    costs = costs_of(5, most=2, ship=[0, 1, 1])
    fate = played("fiddler", rows, costs, slots=2, training=[9, 5, 1, 1])
    assert fate.ended == [12, 29, 41, 58, 65]
    assert loads(fate) == [(15, 2, 25), (44, 1, 54)]
    assert fate.left == [(44, 2)]
    assert fate.processor == [(4, 1, 12), (33, 1, 41), (45, 3, 53)]


# In layer 0 the first ranked expert is placed, in layer 1 the second; one is waited for, the others are deferred.
#
# row  r  GPU      processor                                              ends
# 0    3  0: 3-5   2: 4-11, back at 12, and 3: 11-18, back at 19, deferred  5
# 1    8  5: 8-10  6: 18-25, back at 26; 4: 25-32, back at 33, deferred     33: the step waits for all
def test_ktransformers() -> None:
    rows = rows_of([[[0, 2, 3], [2, 1, 0]]] * 5, 4)
    fate = played(
        "ktransformers", rows, costs_of(5), slots=1, training=[9, 1, 1, 1, 1, 8, 1, 1], immediate=1, placed="popular"
    )
    assert fate.ended[:4] == [5, 33, 38, 66]
    assert fate.steps == [33, 66, 99, 132, 165]
    assert fate.processor[:4] == [(4, 2, 12), (11, 3, 19), (18, 6, 26), (25, 4, 33)]
    assert fate.counts["loads"] == 0


# Two layers, three slots for both. The second of 0.7 and 0.3 may be in low precision, of 0.95 and 0.05 is left out.
# The worth of x at t steps of the sequence is (last use + uses + uses in full) / t, and 1 where its layer is at hand or
# 1/2 where it is the other.
#
# row  needs            wish  r    loader                                 GPU                   ends
# 0    0 .7, 1 .3       6     3    0: 3-13, 1 low: 13-18, 6: 18-28        0: 13-15, 1: 18-20    20
# 1    6                      23                                          6: 28-30              30   late
# 2    1 .55, 2 .45     6     33   1 in full: 33-43, 2: 43-53 for 0       1: 43-45, 2: 53-55    55   6 is wished for
# 3    6 .95, 7 .05           58                                          6: 58-60              60   7 is left out
# 4    0                7     63   0: 63-73 for 2, 7: 73-83 for 6         0: 73-75              75
# 5    7                      78                                          7: 83-85              85   late
# 6    0 .7, 1 .3             88                                          0: 88-90, 1: 90-92    92
# 7    6                      95   6: 95-105 for 7                        6: 105-107            107
# 8    3 .7, 0 .3       6     110  3: 110-120 for 1                       0: 110-112, 3: 120-122  122
# 9    6                      125                                         6: 125-127            127
#
# row 4, t = 3: 1 is worth (2 + 2 + 1) / 3 + 1, 2 (2 + 1 + 1) / 3 + 1, 6 (2 + 2 + 2) / 3 + 1/2: 2 leaves, and then 6
# row 7, t = 4: 0 is worth (4 + 3 + 3) / 4 + 1/2, 1 (4 + 3 + 2) / 4 + 1/2, 7 (3 + 1 + 1) / 4 + 1: 7 leaves
# row 8: 0 is needed and 6 wished for, so that 1 leaves
def test_hobbit() -> None:
    tokens = [[[0, 1], [2]], [[1, 2], [2, 3]], [[0], [3]], [[0, 1], [2]], [[3, 0], [2]]]
    weights = [
        [[0.7, 0.3], [1.0]],
        [[0.55, 0.45], [0.95, 0.05]],
        [[1.0], [1.0]],
        [[0.7, 0.3], [1.0]],
        [[0.7, 0.3], [1.0]],
    ]
    predicted = {(0, 1): [2], (1, 1): [2], (2, 1): [3], (4, 1): [2]}
    fate = played("hobbit", rows_of(tokens, 4, weights, predicted), costs_of(5), slots=3)
    assert fate.ended == [20, 30, 55, 60, 75, 85, 92, 107, 122, 127]
    assert fate.loads == [
        (3, 0, 13, "miss"),
        (13, 1, 18, "miss"),
        (18, 6, 28, "wish"),
        (33, 1, 43, "miss"),
        (43, 2, 53, "miss"),
        (63, 0, 73, "miss"),
        (73, 7, 83, "wish"),
        (95, 6, 105, "miss"),
        (110, 3, 120, "miss"),
    ]
    assert fate.left == [(43, 0), (63, 2), (73, 6), (95, 7), (110, 1)]
    assert (fate.counts["hits"], fate.counts["late"], fate.counts["misses"]) == (5, 2, 7)
    assert (fate.counts["wishes_used"], fate.counts["skipped"], fate.counts["bytes"]) == (2, 1, 850)


# Two layers, three slots for both; sequences begin with tokens 0, 2 and 4. The first one's matrix has 0 twice, and 5
# and 6 once; the second's 3 twice, and 6 and 7 once.
#
# row  needs  wishes  r    loader                  GPU      ends
# 0    0              3    0: 3-13                 13-15    15
# 1    5              18   5: 18-28                28-30    30
# 2    0              33                           33-35    35
# 3    6              38   6: 38-48                48-50    50
# 4    3      5 6     53   3: 53-63 for 0          63-65    65   the first is all there is to follow: it spares 5 and 6
# 5    7              68   7: 68-78 for 5          78-80    80   this sequence has used neither 5 nor 6, but 3
# 6    3      5 6     83   5: 83-93 for 7          83-85    85   3 runs and 6 is wished for: 7 is left to go
# 7    6              88                           88-90    90
# 8    3      6 7     93   7: 93-103 for 5         93-95    95   the second is like the third: 5 was never used
# 9    7              98                           103-105  105  late
def test_moe_infinity() -> None:
    tokens = [[[0], [1]], [[0], [2]], [[3], [3]], [[3], [2]], [[3], [3]]]
    fate = played("moe-infinity", rows_of(tokens, 4, begins=[0, 2, 4]), costs_of(5), slots=3)
    assert fate.ended == [15, 30, 35, 50, 65, 80, 85, 90, 95, 105]
    assert fate.loads[-2:] == [(83, 5, 93, "wish"), (93, 7, 103, "wish")]
    assert fate.left == [(53, 0), (68, 5), (83, 7), (93, 5)]
    assert (fate.counts["hits"], fate.counts["late"], fate.counts["misses"]) == (4, 1, 5)
    assert (fate.counts["wishes"], fate.counts["wishes_used"]) == (2, 1)


# Each use of 0 or 1 saves 5 of the processor's 7, and they are used most: both stay.
#
# token  needs  r   GPU          processor             ends
# 0      0 1    3   3-5, 5-7                           7
# 1      0 2    10  10-12        11-18, back at 19     19
# 2      1 2    22  22-24        23-30, back at 31     31
# 3      1 3    34  34-36        35-42, back at 43     43
# 4      0 3    46  46-48        47-54, back at 55     55
def test_static_placement() -> None:
    fate = played("static-placement", rows_of(PAIRS, 4), costs_of(5), slots=2, training=[3, 2, 1, 0], spare=0)
    assert fate.ended == [7, 19, 31, 43, 55]
    assert fate.counts["processor"] == 4


TURNED = [
    ("fiddler", {"published": True}),
    ("fiddler", {"published": True, "token_cost": 40}),
    ("fiddler", {"published": True, "copy_cost": 7}),
    ("fiddler", {"spare": 2}),
    ("fiddler", {"scope": "layer"}),
    ("fiddler", {"published": True, "copy_cost": 7, "spare": 5, "replacement": "lfu"}),
    ("hobbit", {"full": "40 %"}),
    ("hobbit", {"low": "70 %"}),
    ("hobbit", {"ahead": 2}),
    ("hobbit", {"recency": 9}),
    ("hobbit", {"frequency": 9}),
    ("hobbit", {"precision": 9}),
    ("hobbit", {"nearness": 9}),
    ("hobbit", {"scope": "layer"}),
    ("hobbit", {"replacement": "lru"}),
    ("ktransformers", {"immediate": 1}),
    ("ktransformers", {"placed": "popular"}),
    ("ktransformers", {"placed": "popular", "scope": "model"}),
    ("moe-infinity", {"stored": 1}),
    ("moe-infinity", {"longest": 1}),
    ("moe-infinity", {"scope": "layer"}),
    ("moe-infinity", {"replacement": "lru"}),
    ("static-placement", {"absent": "load"}),
    ("static-placement", {"absent": "quicker"}),
    ("static-placement", {"by": "popularity", "absent": "load"}),
    ("static-placement", {"spare": 0}),
    ("static-placement", {"scope": "model"}),
    ("static-placement", {"absent": "load", "spare": 4, "replacement": "lfu"}),
]


@pytest.mark.parametrize(("use", "parameters"), TURNED, ids=lambda held: str(held))
def test_every_parameter_changes_something(use: str, parameters: dict[str, Any]) -> None:
    """Each with all but one parameter as before; what only several GPUs or a solver's time turn is tested by itself."""
    rows, costs, training = a_trace(60)

    def ended(**turned: Any) -> list[int]:
        scope = build("experts", {"use": use, **turned}).scope
        return played(use, rows, costs, 4 if scope == "layer" else 8, training, **turned).ended

    *_, last = parameters
    before = {key: held for key, held in parameters.items() if key != last}
    assert ended(**parameters) != ended(**before)


@cache
def a_trace(steps: int) -> tuple[Rows, Costs, list[int]]:
    """Sequences of five tokens of three kinds, with weights and predictions, and how popular experts are at first."""
    rng = np.random.default_rng(5)
    layers, experts = 3, 6
    likely = rng.dirichlet(np.full(experts, 0.8), (3, layers))
    kinds = rng.integers(0, 3, steps // 5)
    chosen = [
        [rng.choice(experts, 3, replace=False, p=likely[kinds[step // 5], layer]).tolist() for layer in range(layers)]
        for step in range(steps)
    ]
    weights = [[[0.55, 0.35, 0.1]] * layers] * steps
    predicted = {(step, layer): chosen[step][layer][:2] for step in range(steps) for layer in range(layers)}
    many = {(step, 0, chosen[step][0][0]): 2 for step in range(0, steps, 2)}
    rows = rows_of(chosen, experts, weights, predicted, begins=range(0, steps, 5), many=many)
    x = rows.expert[:90] + np.tile(np.repeat(np.arange(layers), 3), 10) * experts
    return rows, costs_of(steps, most=2), np.bincount(x, minlength=layers * experts).tolist()


SYSTEMS = sorted({*map(itemgetter(0), TURNED)})


@pytest.mark.parametrize("use", SYSTEMS)
def test_compiled_it_is_the_same(use: str) -> None:
    rows, costs, training = a_trace(30)
    scope = build("experts", use).scope
    played(use, rows, costs, 4 if scope == "layer" else 8, training, compiled=True)


@st.composite
def traces(draw: Any) -> tuple[Any, Any, int, str, int]:
    layers, experts, steps = draw(st.integers(1, 3)), draw(st.integers(2, 6)), draw(st.integers(1, 5))
    chosen = st.lists(st.integers(0, experts - 1), min_size=1, max_size=3, unique=True)
    tokens = [[draw(chosen) for _ in range(layers)] for _ in range(steps)]
    predicted = {(step, layer): draw(chosen) for step in range(steps) for layer in range(layers)}
    gpus = draw(st.integers(1, 2))
    times = {name: draw(st.integers(0, 4)) for name in ("before", "dense", "after", "exchange", "latency")}
    costs = costs_of(steps, load=draw(st.integers(1, 9)), run=np.array([0, draw(st.integers(0, 5))]), **times)
    scope = draw(st.sampled_from(["layer", "model"]))
    return rows_of(tokens, experts, predicted=predicted), costs, draw(st.integers(1, 8)), scope, gpus


@settings(deadline=None, max_examples=60)
@given(traces(), st.sampled_from(["on-demand", "mixtral-offloading", "pre-gated", "moe-infinity"]), st.booleans())
def test_books_balance_and_no_system_beats_the_bound(made: Any, use: str, overlap: bool) -> None:
    rows, costs, slots, scope, gpus = made
    system = build("experts", {"use": use, "scope": scope})
    fate = run(rows, costs, system, slots, gpus=gpus, overlap=overlap)
    best = bound(rows, costs, slots, scope=scope, gpus=gpus)
    counts = fate.counts
    assert counts["loads"] == counts["misses"] + counts["wishes"] == len(fate.loads)
    assert counts["hits"] + counts["late"] + counts["misses"] == counts["high"] == counts["needed"]
    assert counts["bytes"] == counts["loads"] * costs.size
    assert best.counts["loads"] <= counts["loads"]
    assert all(least <= ended for least, ended in zip(best.ended, fate.ended, strict=True))
    assert best.steps[-1] <= fate.steps[-1]


@settings(deadline=None, max_examples=60)
@given(traces(), st.sampled_from(["fiddler", "hobbit", "ktransformers", "static-placement"]), st.booleans(), st.data())
def test_others_on_any_trace(made: Any, use: str, overlap: bool, data: Any) -> None:
    rows, costs, slots, scope, gpus = made
    placed = data.draw(st.lists(st.integers(0, rows.layers * rows.experts - 1), max_size=3, unique=True))
    system = build("experts", {"use": use, "scope": scope})
    run(rows, costs, system, slots + len(placed), gpus=gpus, overlap=overlap, placed=placed)
