"""Worked examples of predictors of costly walks: what each says of one page, walk after walk."""

from __future__ import annotations

from typing import Any

from tiersim.experiments.worked.steps import Step, Worked

__all__ = ["READS", "predictor"]

READS = (0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)  # whether each walk for the page read memory
MOST_WALKS, MOST_READS = 7, 15  # that are counted


def predictor(policy: Any) -> Worked:
    """A policy of the family ``walk-cost-predictor``."""
    walks = reads = 0
    steps = []
    for read in READS:
        walks, reads = min(walks + 1, MOST_WALKS), min(reads + read, MOST_READS)
        said = "costly" if policy.costly(walks, reads) else "not costly"
        steps.append(Step("a walk that reads memory" if read else "a walk", said, "", (str(walks), str(reads))))
    setting = (
        f"One page is walked for {len(READS)} times. Its walks are counted up to {MOST_WALKS}, and those of them that "
        f"read memory up to {MOST_READS}; the outcome is what the predictor says of the page after the walk."
    )
    totals = {"costly": f"after {sum(step.outcome == 'costly' for step in steps)} of {len(steps)} walks"}
    columns = ("walks", "that read memory")
    return Worked("walk-cost-predictor", type(policy).registered.name, setting, "asked", columns, tuple(steps), totals)
