"""What is told of requests by key, be they for objects, lines of memory, blocks of prompts or questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import QUANTILES, Curve, Panel, duration, percent
from tiersim.sim.requests import Requests
from tiersim.sim.stack_distance import lru_curve

__all__ = ["Burstiness", "Keys", "Popularity", "burstiness", "measured", "no_reuse", "pieces"]

PIECE: Final = 1 << 20
EXACT: Final = 1 << 20  # distances told apart; beyond, neighbours on a logarithmic scale are taken as one
RANKS: Final = 200  # points of the fit, evenly on the logarithmic scale so that the many rare objects do not rule it
LEAST_COUNT: Final = 5  # requests of an object that takes part in the fit: fewer and the ranks are stairs
WINDOWS: Final = 1000  # of time
PARTS: Final = 50  # of the trace, by records
DRAWN: Final = 400  # points of the curve of reuse distances


@dataclass
class Popularity:
    """How unequal objects are: the share of requests for the most popular 1 %, and the slope of Zipf's law.

    The slope is of log requests over log rank, by least squares over ranks `first` to `last` evenly on the logarithmic
    scale; None where too few objects are asked for often enough.
    """

    top_share: float
    zipf_slope: float | None = None
    first: int | None = None
    last: int | None = None


@dataclass
class Burstiness:
    """Variance over mean of the records in each of `windows` windows of time; 1 where arrivals are independent."""

    window_ns: int
    windows: int
    index: float

    def row(self) -> tuple[str, str]:
        """As a person reads it."""
        return (
            "index of dispersion",
            f"{self.index:,.2f}, over {self.windows:,} windows of {duration(self.window_ns)}",
        )


@dataclass(kw_only=True)
class Keys:
    """Reuse, popularity and working set of requests for objects that are called ``unit``.

    ``reuse`` has the share of requests whose object was asked for before and quantiles, in per cent, of their reuse
    distance: the different objects asked for since, the object itself included. ``working_set`` has for each of equal
    parts of the requests where it ends and how many different objects, and bytes where sizes are known, are asked for.
    """

    requests: int
    objects: int
    unit: str
    reuse: dict[str, Any]
    popularity: Popularity
    working_set: list[dict[str, int]]

    def count_row(self) -> tuple[str, str]:
        """How many there are, as a person reads it."""
        return self.unit, f"{self.objects:,}, asked for {self.requests / self.objects:,.2f} times each"

    def reuse_rows(self) -> list[tuple[str, str]]:
        """Reuse and popularity as a person reads them."""
        told = [f"{value:,} ({name} %)" for name, value in self.reuse["quantiles"].items() if value is not None]
        slope = self.popularity.zipf_slope
        return [
            ("requests for what was asked for before", percent(self.reuse["share"])),
            *([("reuse distance, quantiles", ", ".join(told))] if told else []),
            ("requests for the most popular 1 %", percent(self.popularity.top_share)),
            (
                "slope of Zipf's law",
                "not told: too few are asked for five times"
                if slope is None
                else f"{slope:.3f}, over ranks {self.popularity.first:,} to {self.popularity.last:,}",
            ),
        ]

    def working_row(self) -> tuple[str, str]:
        """The working set as a person reads it."""
        held = [row["objects"] for row in self.working_set]
        return f"{self.unit} in each of {len(held)} equal parts", f"{min(held):,} to {max(held):,}"


def measured(requests: Requests, unit: str) -> tuple[Keys, list[Panel]]:
    """What is told of requests, and drawn: requests within a reuse distance, by rank, and the working set."""
    counts = np.zeros(requests.objects, np.int64)
    for part in pieces(requests):
        counts += np.bincount(requests.ids[part], minlength=requests.objects)
    reuse, distances, within = _reuse(requests)
    popularity, ranks, by_rank = _popularity(counts)
    working = _working_set(requests)
    few = np.unique(np.geomspace(1, len(distances), DRAWN).round().astype(int)) - 1
    reused = Curve(distances[few], 100 * within[few], steps="steps-post")
    ends, held = (np.array([row[name] for row in working]) for name in ("end", "objects"))
    panels = [
        Panel(f"reuse distance ({unit})", "requests within it (%)", (reused,), x_log=True, full=100),
        Panel("rank", "requests", (Curve(ranks, by_rank), *_fit(popularity, ranks, by_rank)), x_log=True, y_log=True),
        Panel("requests", f"{unit} asked for", (Curve(ends, held, steps="steps-pre"),)),
    ]
    made = Keys(
        requests=len(requests),
        objects=requests.objects,
        unit=unit,
        reuse=reuse,
        popularity=popularity,
        working_set=working,
    )
    return made, panels


def _fit(popularity: Popularity, ranks: NDArray[np.int64], by_rank: NDArray[np.int64]) -> tuple[Curve, ...]:
    slope, last = popularity.zipf_slope, popularity.last
    if slope is None or last is None:
        return ()
    ends, held = np.array([1.0, last]), ranks <= last
    middle = np.exp(np.mean(np.log(by_rank[held])) + slope * np.mean(np.log(ranks[held])))
    return (Curve(ends, middle * ends**-slope, f"slope {slope:.2f}"),)


def no_reuse(requests: Requests, what: str) -> Iterator[str]:
    """The warning that nothing is asked for twice."""
    if requests.objects == len(requests):
        yield f"there is no reuse: not one {what} is asked for twice, so that no cache can ever hit"


def pieces(requests: Requests) -> Iterator[slice]:
    """The requests in parts that fit in memory."""
    return (slice(at, min(at + PIECE, len(requests))) for at in range(0, len(requests), PIECE))


def _reuse(requests: Requests) -> tuple[dict[str, Any], NDArray[np.int64], NDArray[np.float64]]:
    """What `Keys.reuse` has, and distances with the share of all requests within each."""
    top = requests.objects
    distances = np.arange(1, top + 1) if top <= EXACT else np.unique(np.geomspace(1, top, EXACT).round().astype(int))
    plain = Requests(requests.ids, requests.keys)  # order is all that counts: no sizes, no kinds
    within = len(requests) - lru_curve(plain, distances.astype(np.int64)).misses
    again = int(within[-1])
    quantiles = {
        str(percent): int(distances[np.searchsorted(within, again * percent / 100)]) if again else None
        for percent in QUANTILES
    }
    return {"share": again / len(requests), "quantiles": quantiles}, distances, within / len(requests)


def _popularity(counts: NDArray[np.int64]) -> tuple[Popularity, NDArray[np.int64], NDArray[np.int64]]:
    """The popularity, and requests by rank at points of the logarithmic scale."""
    ordered = np.sort(counts)[::-1]
    top = -(-len(ordered) // 100)
    made = Popularity(float(ordered[:top].sum() / ordered.sum()))
    last = int(np.searchsorted(-ordered, -LEAST_COUNT, side="right"))  # ranks with so many requests or more
    if last >= 10:
        ranks = np.unique(np.geomspace(1, last, RANKS).round().astype(np.int64))
        slope = np.polyfit(np.log(ranks), np.log(ordered[ranks - 1]), 1)[0]
        made.zipf_slope, made.first, made.last = round(float(-slope), 9) + 0.0, 1, last  # and never -0
    points = np.unique(np.geomspace(1, len(ordered), RANKS).round().astype(np.int64))
    return made, points, ordered[points - 1]


def burstiness(times: Iterator[NDArray[np.int64]], low: int, span: int, step: int) -> Burstiness:
    """That of times from `low` on, within `span`, of a clock of this `step`, all in ns.

    Windows are whole steps of the clock, so that none has more ticks than another.
    """
    step = max(step, 1)
    window = max(-(-(span + 1) // WINDOWS // step) * step, step)
    windows = max((span + step) // window, 1)  # whole ones only
    counts = np.zeros(windows, np.int64)
    for time in times:
        place = (time - low) // window
        counts += np.bincount(place[place < windows], minlength=windows)
    return Burstiness(int(window), int(windows), float(counts.var() / max(counts.mean(), 1e-300)))


def _working_set(requests: Requests) -> list[dict[str, int]]:
    count = min(PARTS, len(requests))
    ends = [len(requests) * step // count for step in range(count + 1)]
    out = []
    for begin, end in pairwise(ends):
        ids, first = np.unique(requests.ids[begin:end], return_index=True)
        row = {"end": end, "objects": len(ids)}
        if requests.size is not None:
            row["bytes"] = int(requests.size[begin:end][first].sum())
        out.append(row)
    return out
