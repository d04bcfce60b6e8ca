"""What the additive time of a run is the sum of: metrics of each place that time is spent at."""

from __future__ import annotations

from collections.abc import Collection

from tiersim.experiments.scenario import Addends

__all__ = ["ACCESS", "ADDITIVE", "BASE", "WAITING", "time_parts"]

ACCESS = ("ns", "of the average access time: paid here", "less")
BASE = ("cycles", "of those for each instruction: base cycles", "less")
WAITING = ("cycles", "of those for each instruction: exposed waiting for what is here", "less")
ADDITIVE = (".access_time", ".cycles_per_instruction")  # how the names of these metrics end
WHOLE = {"average_access_time": ADDITIVE[0], "cycles_per_instruction": ADDITIVE[1]}


def time_parts(metric: str, names: Collection[str]) -> Addends:
    """The metrics among these that the time of a run is the sum of; none of those of neighbours."""
    ending = WHOLE.get(metric)
    if ending is None:
        return Addends()
    return Addends(tuple(name for name in names if name.endswith(ending) and not name.startswith("beside.")))
