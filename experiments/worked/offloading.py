"""Worked examples of systems that offload experts: the engine, stopped before each row."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np

from tiersim.experiments.worked.steps import Step, Worked
from tiersim.policies.experts.contract import COMING, COMING_LOW, HERE_LOW
from tiersim.sim.expert_offload import Machine, offload
from tiersim.sim.expert_rows import Costs, Rows

__all__ = ["COSTS", "NEEDS", "ROWS", "SLOTS", "system"]

LAYERS, EXPERTS, SLOTS = 2, 6, 3
# of each step the two experts of each layer, the more important one first, and its weight in per cent; three sequences
NEEDS = (
    (((0, 1), 60), ((2, 3), 95)),
    (((0, 2), 70), ((2, 0), 55)),
    (((1, 0), 92), ((3, 2), 80)),
    (((4, 0), 50), ((2, 5), 95)),
    (((0, 1), 60), ((2, 3), 60)),
    (((5, 3), 95), ((1, 4), 70)),
    (((0, 1), 65), ((2, 0), 92)),
)
BEGINS = (0, 4, 6)
PREDICTED = (0, 1, 2, 4, 6)  # steps whose predictions are right; those of the others name the experts after them


def _rows() -> Rows:
    pairs = [sorted(zip(e, (0, 1), (share, 100 - share), strict=True)) for step in NEEDS for e, share in step]
    steps = len(NEEDS)
    seen = [
        [e if step in PREDICTED else (e + 1) % EXPERTS for e in layer[0]]
        for step, layers in enumerate(NEEDS)
        for layer in layers
    ]
    column = {name: np.array([need[k] for pair in pairs for need in pair]) for k, name in enumerate("erw")}
    one = np.ones(steps, np.int64)
    begins = np.isin(np.arange(steps), BEGINS).astype(np.int64)
    return Rows(
        layers=LAYERS,
        experts=EXPERTS,
        start=2 * np.arange(steps * LAYERS + 1),
        expert=column["e"],
        tokens=np.ones(2 * steps * LAYERS, np.int64),
        rank=column["r"],
        weight=column["w"] * 10**4,
        predicted_start=2 * np.arange(steps * LAYERS + 1),
        predicted=np.array(seen).reshape(-1),
        size=one,
        context=one,
        pairs=one,
        sampled=one,
        begins=begins,
        prefill=0 * one,
        sequence=np.cumsum(begins) - 1,
    )


ROWS = _rows()
_STEPS = np.full(len(NEEDS), 1)
COSTS = Costs(
    before=0 * _STEPS,
    dense=3 * _STEPS,
    after=0 * _STEPS,
    exchange=0 * _STEPS,
    run=np.array([0, 2]),
    cpu=np.array([0, 7]),
    ship=np.array([0, 1]),
    load=10,
    load_low=5,
    latency=0,
    size=100,
    size_low=50,
    hidden=4,
)
SETTING = (
    "Seven tokens go through two layers of six experts and need two in each; `0.2` is expert 2 of layer 0. The GPU has "
    "three slots a layer. Of time units, a layer takes 3 before its experts are known, an expert 2 on the GPU and 7 on "
    "the processor, a load 10, and 5 in low precision (~). Predictions of tokens 4 and 6 are wrong. What is placed for "
    "good was learnt of these tokens. + is still on its way when the layer has ended."
)


def system(policy: Any) -> Worked:
    """A system of the family ``experts``."""
    popular = np.bincount(
        np.repeat(np.arange(len(ROWS.start) - 1), 2) % LAYERS * EXPERTS + ROWS.expert, minlength=LAYERS * EXPERTS
    )
    scope = getattr(policy, "scope", "layer")
    slots = SLOTS if scope == "layer" else SLOTS * LAYERS
    rows = range(len(ROWS.start) - 1)
    held: list[tuple[str, ...]] = [("",) * LAYERS for _ in rows]
    if getattr(policy, "bound", False):
        done = offload(ROWS, COSTS, policy, slots=slots)
    else:
        machine = Machine(
            ROWS, COSTS, policy, slots=slots, placed=_placed(policy, slots, popular), popular=popular, compiled=False
        )
        for row in rows:
            machine.go(upto=row + 1)
            held[row] = _held(machine.array("residence"))
        machine.go()
        done = machine.result()
    steps = []
    for row in rows:
        need = ROWS.expert[2 * row : 2 * row + 2].tolist()
        on_gpu = {name: int(getattr(done, column)[row]) for name, column in FATES.items()}
        elsewhere = len(need) - sum(on_gpu.values())
        said = [f"{many} {name}" for name, many in on_gpu.items() if many]
        said += [f"{elsewhere} not on the GPU"] if elsewhere else []
        waits = int(done.stall[row] + done.wait[row])
        left = sorted(_names(held[row - 1]) - _names(held[row])) if row else []
        token, layer = divmod(row, LAYERS)
        asked = f"token {token + 1}, layer {layer}: {' '.join(f'{layer}.{e}' for e in need)}"
        cells = (*held[row], str(waits or ""), str(int(done.row_end[row])))
        steps.append(Step(asked, ", ".join(said), " ".join(left), cells))
    columns = (*(f"layer {layer}" for layer in range(LAYERS)), "waits", "ends at")
    totals = {
        "ready when needed": f"{done.counts['hits']} of {done.counts['needed']}",
        "loads": str(done.counts["loads"]),
        "ends at": str(done.end),
    }
    return Worked("experts", type(policy).registered.name, SETTING, "row", columns, tuple(steps), totals)


FATES = {"here": "hits", "coming": "late", "loaded": "misses"}


def _names(cells: Sequence[str]) -> set[str]:
    """The experts that stand in cells, without marks."""
    return {word.rstrip("~+") for cell in cells for word in cell.split()}


def _held(residence: Any) -> tuple[str, ...]:
    """The experts of each layer that have a slot."""
    marks = {COMING_LOW: "~+", COMING: "+", HERE_LOW: "~"}
    text = [f"{x // EXPERTS}.{x % EXPERTS}{marks.get(int(at), '')}" if at else "" for x, at in enumerate(residence)]
    return tuple(" ".join(filter(None, text[k * EXPERTS : (k + 1) * EXPERTS])) for k in range(LAYERS))


def _placed(policy: Any, slots: int, popular: Any) -> list[int]:
    """What the policy places for good, if it does."""
    if not hasattr(policy, "place"):
        return []
    row = np.repeat(np.arange(len(ROWS.start) - 1), 2)
    given: dict[str, Any] = {"layers": LAYERS, "experts": EXPERTS, "gpus": 1, "slots": slots, "popular": popular}
    given |= {name: getattr(COSTS, name) for name in ("load", "load_low", "cpu", "run", "ship")}
    given |= {"needed_row": row, "needed_x": row % LAYERS * EXPERTS + ROWS.expert, "needed_n": ROWS.tokens}
    return [int(x) for x in policy.place(**{name: given[name] for name in signature(policy.place).parameters})]
