"""What the scenario of servers says of loads, links and tiers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiersim.models.members import Members
from tiersim.models.routed import Look
from tiersim.models.serving import Instance, bytes_of_token, links_of
from tiersim.sim.serving import Engines

__all__ = ["LINK_METRICS", "LOAD_METRICS", "TIER_METRICS", "link_metrics", "load_metrics", "sums_of", "tier_metrics"]

LOAD_METRICS = {  # of what instances have to compute, as docs/explanation/cluster.md defines
    "load_cv": (
        "ratio",
        "standard deviation by mean of the prompt tokens that instances still have to compute",
        "less",
    ),
    "load_deviation": (
        "ratio",
        "of the prompt tokens that instances still have to compute: the largest less the mean, by the mean",
        "less",
    ),
}
LINK_METRICS = {
    "loaded": ("bytes", "towards the memory, in the whole run", ""),
    "stored": ("bytes", "away from the memory, in the whole run", ""),
    "load_busy": ("ratio", "of the whole run, what is loaded takes so long; above 100 % where it ends after it", ""),
    "store_busy": ("ratio", "of the whole run, what is stored takes so long; above 100 % where it ends after it", ""),
}
TIER_METRICS = {
    "hit_ratio": ("ratio", "of the tokens of prompts: fetched from here, in the whole run", "more"),
    "used": ("ratio", "of its capacity: mean over time", ""),
    "fetched": ("bytes", "in the whole run", ""),
    "written": ("bytes", "of blocks that entered, in the whole run: what wears a drive", "less"),
}


def load_metrics(looks: Sequence[Look], warm_up: int) -> dict[str, float]:
    """Those of `LOAD_METRICS`: means over the looks that came with measured requests; empty where there is none."""
    held = np.array([look[1:] for look in looks if look.number >= warm_up], float)
    return dict(zip(LOAD_METRICS, held.mean(axis=0).tolist(), strict=True)) if len(held) else {}


def link_metrics(instance: Instance, engines: Engines, last: int) -> dict[str, float]:
    """Those of `LINK_METRICS` for each link, of all instances together, in a run that ended at a time."""
    made: dict[str, float] = {}
    for name, moved in zip(links_of(instance), engines.moved(), strict=True):
        page = instance.memory.page * bytes_of_token(instance)
        for way in ("loaded", "stored"):
            made[f"links.{name}.{way}"] = sum(moved[way]) * page
        for way in ("load_busy", "store_busy"):
            if last:
                made[f"links.{name}.{way}"] = sum(moved[way]) / (last * len(moved[way]))
    return made


def tier_metrics(instance: Instance, engines: Engines, last: int) -> dict[str, float]:
    """Those of `TIER_METRICS` for each tier, of all instances together, in a run that ended at a time."""
    prompts, server = engines.prompts, engines.server
    asked = int(prompts.input[engines.served.admitted >= 0].sum())
    made: dict[str, float] = {}
    for name, tier, books in zip(instance.tiers or {}, server.tiers, engines.tiers(), strict=False):
        size = prompts.block * bytes_of_token(instance)
        fetched = sum(books["fetched"])
        made[f"tiers.{name}.fetched"] = fetched * size
        made[f"tiers.{name}.written"] = sum(books["put"]) * size
        if asked:
            made[f"tiers.{name}.hit_ratio"] = fetched * prompts.block / asked
        if last:
            made[f"tiers.{name}.used"] = sum(books["blocks"]) / (last * tier.blocks * len(books["blocks"]))
    return made


def sums_of(engines: Engines, last: int, members: Members | None) -> dict[str, int]:
    """Sums over instances and time of a run that ended at a time: of `occupancy`, swapped pages, work, and time.

    The time is that for which instances were there, ``last`` when it ended.
    """
    rows = engines.iterations.columns
    busy = rows["count"] * rows["took"] + rows["slope"] * (rows["count"] * (rows["count"] - 1) // 2)
    made = {name: sum(held) for name, held in engines.occupancy().items()}
    time = last * engines.count if members is None else sum(members.there(last))
    return made | {"swapped": sum(engines.swapped()), "busy": sum(busy.tolist()), "time": time, "last": last}
