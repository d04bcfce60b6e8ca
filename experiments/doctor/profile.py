"""Traces of measured times of operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import Curve, Info, Panel, duration, spotted, whole
from tiersim.experiments.doctor.tally import Tally
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import Chunk

__all__ = ["Operation", "ProfileInfo", "fingerprint", "traps"]

NAMES: Final = ("model", "hardware")
SETTINGS: Final = ("tokens", "context", "output", "batch", "size", "workers", "per_node", "rank", *NAMES)
SCALES: Final = ("tokens", "size", "batch", "output", "workers")  # over which times are drawn, by rank
STATISTICS: Final = ("minimum", "median", "mean", "maximum")
DRAWN: Final = 4  # operations: those with the most measurements
SLACK: Final = 1e-6  # by which statistics may be out of order, of decimals that were rounded
WIDE: Final = 0.5  # deviation over mean from which a mean says little


@dataclass
class Operation:
    """One operation: how many measurements, in how many configurations, and from which to which mean time."""

    operation: str
    measurements: int
    configurations: int
    least_ns: float
    most_ns: float

    def times(self) -> str:
        """From which to which time, as a person reads it."""
        return f"{duration(round(self.least_ns))} to {duration(round(self.most_ns))}"


@dataclass(kw_only=True)
class ProfileInfo(Info):
    """The fingerprint of measured times; ``ranges`` has the least and greatest of each setting, or its names."""

    configurations: int
    operations: list[Operation]
    ranges: dict[str, list[Any]]

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        return [
            ("operations", f"{len(self.operations):,}"),
            ("configurations", f"{self.configurations:,}"),
            *[
                (name, ", ".join(held) if name in NAMES else " to ".join(f"{end:,}" for end in dict.fromkeys(held)))
                for name, held in self.ranges.items()
            ],
            *[
                (one.operation, f"{one.measurements:,} of {one.configurations:,} configurations, {one.times()}")
                for one in self.operations
            ],
        ]


def fingerprint(chunks: Iterator[Chunk], tally: Tally) -> ProfileInfo:
    """Operations, configurations and their ranges."""
    held = whole(chunks)
    names, which = _named(held["operation"])
    configuration = _configurations(held, which)
    mean = held["mean"]
    operations = [
        Operation(
            name,
            int((mine := which == place).sum()),
            len(np.unique(configuration[mine])),
            float(mean[mine].min()),
            float(mean[mine].max()),
        )
        for place, name in enumerate(names)
    ]
    ranges: dict[str, list[Any]] = {}
    for name in SETTINGS:
        if name in held:
            values = held[name]
            ranges[name] = _named(values)[0] if isinstance(values, Ragged) else [int(values.min()), int(values.max())]
    return ProfileInfo(
        **tally.about(),
        configurations=len(np.unique(configuration)),
        operations=operations,
        ranges=ranges,
        panels=_panels(held, names, which),
    )


def _panels(held: Chunk, names: list[str], which: NDArray[np.int64]) -> list[Panel]:
    scale = next((name for name in SCALES if name in held and held[name].min() < held[name].max()), None)
    if scale is None:
        return [Panel("measurement", "mean time (ns)", (Curve(np.arange(len(which)) + 1, held["mean"], points=True),))]
    most = np.argsort(-np.bincount(which), kind="stable")[:DRAWN]
    curves = []
    for place in most.tolist():
        mine = (which == place) & (held[scale] > 0) & (held["mean"] > 0)
        curves.append(Curve(held[scale][mine], held["mean"][mine], names[place], points=True))
    return [Panel(scale, "mean time (ns)", tuple(curves), x_log=True, y_log=True)]


def _named(texts: Ragged) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts in order, and which each record has."""
    names, which = np.unique(np.array(texts.strings, object), return_inverse=True)
    return names.tolist(), which


def _configurations(held: Chunk, which: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each record, equal where operation and all settings are."""
    columns = [which]
    for name in SETTINGS:
        if name in held:
            values = held[name]
            columns.append(
                _named(values)[1] if isinstance(values, Ragged) else np.unique(values, return_inverse=True)[1]
            )
    return np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1)


def traps(chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
    """Times of nothing, statistics out of order, measurements twice, wide spreads."""
    held = whole(chunks)
    mean = held["mean"]
    yield from spotted(
        mean <= 0, "measurements have a mean time of 0", "too short for the clock, or failed; leave them out"
    )
    present = [name for name in STATISTICS if name in held]
    wrong = np.zeros(len(mean), bool)
    for low, high in combinations(present, 2):
        if (low, high) != ("median", "mean"):  # either may be the greater
            wrong |= held[low] > held[high] * (1 + SLACK)
    yield from spotted(
        wrong,
        f"measurements have their {', '.join(present)} out of order",
        "columns are mixed up, or of different units; compare with the source",
    )
    yield from spotted(
        _again(_configurations(held, _named(held["operation"])[1])),
        "measurements are of a configuration that was measured before",
        "take the median of all, or find the setting that the columns do not tell",
    )
    if "deviation" in held:
        yield from spotted(
            held["deviation"] > WIDE * mean,  # which no NaN is
            f"measurements have a standard deviation of more than {WIDE} of the mean",
            "a mean says little there; take the median",
        )
    if "power" in held:
        yield from spotted(
            held["power"] > 1,
            "measurements have a power above the limit of the device",
            "it is no share of the limit; divide by it",
        )


def _again(configuration: NDArray[np.int64]) -> NDArray[np.bool_]:
    again = np.ones(len(configuration), bool)
    again[np.unique(configuration, return_index=True)[1]] = False
    return again
