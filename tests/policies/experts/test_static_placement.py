"""Static placement against all placements that there are."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.expert_offload import Verbs
from tiersim._base.errors import PolicyError
from tiersim._base.registry import build
from tiersim.policies.experts import static_placement
from tiersim.policies.experts.contract import ABSENT, CPU, HERE, HIGH

LOAD = 10
CPU_TIMES = [0, 7, 14, 21]
RUN = [0, 2, 4, 6]

Needs = list[tuple[int, int, int]]  # row, expert, tokens


def placed(needs: Needs, layers: int, experts: int, gpus: int, slots: int, **parameters: Any) -> Any:
    made = build("experts", {"use": "static-placement", "spare": 0, **parameters})
    row, x, n = np.array(needs, np.int64).reshape(-1, 3).T
    popular = np.bincount(x, weights=n, minlength=layers * experts).astype(np.int64)
    return made.place(layers, experts, gpus, slots, popular, row, x, n, LOAD, CPU_TIMES, RUN)


def took(needs: Needs, stay: Any, experts: int, gpus: int, absent: str, balance: bool) -> int:
    """Time of the rows with this placement."""
    times: dict[tuple[int, int], int] = {}
    for row, x, n in needs:
        away = {"processor": CPU_TIMES[n], "load": LOAD + RUN[n], "quicker": min(CPU_TIMES[n], LOAD + RUN[n])}[absent]
        gpu = x % experts * gpus // experts
        times[row, gpu] = times.get((row, gpu), 0) + (RUN[n] if x in stay else away)
    if not (balance and absent == "load"):
        return sum(times.values())
    return sum(max(times.get((row, gpu), 0) for gpu in range(gpus)) for row in {row for row, _ in times})


def fits(stay: Any, layers: int, experts: int, gpus: int, slots: int, scope: str) -> bool:
    groups = [(x % experts * gpus // experts, x // experts if scope == "layer" else 0) for x in stay]
    return all(groups.count(group) <= slots for group in groups)


@st.composite
def profiles(draw: Any) -> tuple[Needs, int, int, int, int]:
    layers, experts = draw(st.sampled_from([(1, 4), (1, 6), (2, 3), (2, 4)]))
    needs: Needs = []
    for row in range(layers * draw(st.integers(1, 4))):
        for e, n in sorted(draw(st.dictionaries(st.integers(0, experts - 1), st.integers(1, 3), max_size=4)).items()):
            needs.append((row, row % layers * experts + e, n))
    needs = needs or [(0, 0, 1)]
    return needs, layers, experts, draw(st.integers(1, 2)), draw(st.integers(0, 3))


@settings(deadline=None, max_examples=25)
@given(
    profiles(),
    st.sampled_from(["processor", "load", "quicker"]),
    st.booleans(),
    st.sampled_from(["layer", "model"]),
)
def test_no_placement_is_better(profile: Any, absent: str, balance: bool, scope: str) -> None:
    needs, layers, experts, gpus, slots = profile
    chosen = placed(needs, layers, experts, gpus, slots, absent=absent, balance=balance, scope=scope)
    assert fits(chosen, layers, experts, gpus, slots, scope)
    best = min(
        took(needs, stay, experts, gpus, absent, balance)
        for many in range(layers * experts + 1)
        for stay in combinations(range(layers * experts), many)
        if fits(stay, layers, experts, gpus, slots, scope)
    )
    assert took(needs, chosen, experts, gpus, absent, balance) == best


@settings(deadline=None, max_examples=12)
@given(profiles(), st.sampled_from(["processor", "load", "quicker"]), st.sampled_from(["layer", "model"]))
def test_where_each_saves_by_itself_it_is_as_good_as_a_sort(profile: Any, absent: str, scope: str) -> None:
    needs, layers, experts, gpus, slots = profile
    saves = dict.fromkeys(range(layers * experts), 0)
    for need in needs:
        saves[need[1]] += took([need], [], experts, gpus, absent, False) - RUN[need[2]]
    stay: list[int] = []
    for x in sorted(saves, key=lambda x: -saves[x]):
        if fits([*stay, x], layers, experts, gpus, slots, scope):
            stay.append(x)
    chosen = placed(needs, layers, experts, gpus, slots, absent=absent, balance=False, scope=scope)
    assert took(needs, chosen, experts, gpus, absent, False) == took(needs, stay, experts, gpus, absent, False)


@settings(deadline=None, max_examples=12)
@given(profiles())
def test_where_all_uses_save_the_same_it_is_popularity(profile: Any) -> None:
    needs, layers, experts, gpus, slots = profile
    needs = [(row, x, 1) for row, x, _ in needs]
    by_sort = placed(needs, layers, experts, gpus, slots, by="popularity")
    chosen = placed(needs, layers, experts, gpus, slots)
    assert took(needs, chosen, experts, gpus, "processor", False) == took(
        needs, by_sort, experts, gpus, "processor", False
    )


def test_of_what_is_loaded_tokens_do_not_tell() -> None:
    # 0 passes three tokens at once, 1 one in each of two rows: two loads are more than one
    needs = [(0, 0, 3), (1, 1, 1), (2, 1, 1)]
    assert placed(needs, 1, 2, 1, 1, absent="load") == [1]
    assert placed(needs, 1, 2, 1, 1, absent="load", by="popularity") == [0]
    assert placed(needs, 1, 2, 1, 1, absent="processor") == [0]  # 15 against 10


def test_gpus_wait_for_one_another() -> None:
    # experts 0 to 2 are with GPU 0, 3 to 5 with GPU 1, a slot each. Rows 0 to 2 need 0 and 1, and 3: GPU 0 loads one of
    # its two whatever stays, and 3 has time to come. Row 3 needs 0, which stays, and 4, which GPU 0 would wait for: it
    # is worth more than 3, though used once against three times.
    needs = [(row, x, 1) for row in range(3) for x in (0, 1, 3)] + [(3, 0, 1), (3, 4, 1)]
    assert placed(needs, 1, 6, 2, 1, absent="load") == [0, 4]
    assert placed(needs, 1, 6, 2, 1, absent="load", balance=False) == [0, 3]
    assert placed(needs, 1, 6, 2, 1, absent="load", by="popularity") == [0, 3]
    assert took(needs, [0, 4], 6, 2, "load", True) == 3 * (2 + 12) + 2
    assert took(needs, [0, 3], 6, 2, "load", True) == 3 * (2 + 12) + 12


def test_balance_looks_at_some_rows() -> None:
    # of ten rows the first and the sixth are looked at: there 1 is needed
    needs = [(row, int(row in (0, 5)), 1) for row in range(10)] + [(row, 3, 1) for row in range(10)]
    assert placed(needs, 1, 4, 2, 1, absent="load", rows=2) == [1, 3]
    assert placed(needs, 1, 4, 2, 1, absent="load") == [0, 3]


def test_slots_are_spared() -> None:
    needs = [(row, x, 1) for row in range(3) for x in range(4)]
    assert len(placed(needs, 1, 4, 1, 3)) == 3
    assert len(placed(needs, 1, 4, 1, 3, spare=1)) == 2
    assert placed(needs, 1, 4, 1, 1, spare=1) == placed(needs, 1, 4, 1, 0, spare=1) == []


def test_who_computes_the_rest() -> None:
    def decided(absent: str, n: int, held: int = ABSENT) -> Any:
        made = build("experts", {"use": "static-placement", "absent": absent})
        return Verbs(made, {}).ask("decide", held=held, n=n, cpu=CPU_TIMES, load=LOAD, run=RUN)

    assert [decided("processor", n) for n in (1, 2, 3)] == [CPU] * 3
    assert [decided("load", n) for n in (1, 2, 3)] == [HIGH] * 3
    assert [decided("quicker", n) for n in (1, 2, 3)] == [CPU, HIGH, HIGH]  # 7, 14 and 21 against 12, 14 and 16
    assert decided("processor", 1, HERE) == HIGH


def test_no_training() -> None:
    with pytest.raises(PolicyError, match="no uses to learn from"):
        placed([], 1, 2, 1, 1)


def test_nothing_is_taken_for_the_best_without_a_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient:
        """As the solver is when its time is over: it has something, and does not know how good it is."""

        def actualSolve(self, problem: Any, **_: Any) -> int:  # noqa: N802
            problem.assignStatus(1, 2)
            return 1

    monkeypatch.setattr(static_placement, "solver", lambda seconds: Impatient())
    with pytest.raises(PolicyError, match="proven the best within 5 s"):
        placed([(0, 0, 1)], 1, 2, 1, 1, seconds=5)


def test_the_solver_is_told_its_time() -> None:
    assert static_placement.solver(5).timeLimit == 5


def test_a_hopeless_proof_is_given_up() -> None:
    # 600 rows of 6 random experts of 64 on four GPUs: not proven in a minute either
    rng = np.random.default_rng(0)
    needs = [(row, int(e), 1) for row in range(600) for e in sorted(rng.choice(64, 6, replace=False))]
    with pytest.raises(PolicyError, match="proven the best within 1 s"):
        placed(needs, 1, 64, 4, 5, absent="load", rows=600, seconds=1)
