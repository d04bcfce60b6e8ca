"""Traces of the experts that the router of a mixture-of-experts model chose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import Curve, Info, Panel, Spread, percent, spotted, whole
from tiersim.experiments.doctor.tally import Tally
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import WARM_UP, Chunk

__all__ = ["Layer", "Predictions", "RoutingInfo", "fingerprint", "traps"]

TOP: Final = 3  # experts
PIECE: Final = 1 << 16  # rows that are compared at a time
DRAWN: Final = 4  # layers, evenly from the first to the last
SAME: Final = 64  # rows one after the other that are all alike: no text does that, dummies do
ADDED: Final = 1e-2  # by which weights may miss their sum, of numbers with 16 bits
NO_EXPERT: Final = -1


@dataclass
class Layer:
    """One layer: rows, experts that were used, how unequally, and the share of those of the row before.

    ``top_share`` is the share of all choices that the three most popular experts have, ``imbalance`` the load of the
    most popular one over the mean of those used. ``reuse`` is the share of a row's experts that the row before of this
    layer, and of the same sequence where sequences are known, has too; None where no row has one before it.
    """

    layer: int
    rows: int
    experts: int
    top_share: float
    imbalance: float
    reuse: float | None


@dataclass
class Predictions:
    """Of the experts chosen the share that was predicted, and of those predicted the share that was chosen."""

    recall: float
    precision: float | None


@dataclass(kw_only=True)
class RoutingInfo(Info):
    """The fingerprint of routing, of the rows that are no warm-up; those are counted in ``kinds``.

    ``by_chance`` is the reuse that there would be if every choice were even and independent.
    """

    sequences: int | None
    steps: int | None
    experts_a_token: Spread | None
    most_expert: int | None
    reuse: float | None
    by_chance: float | None
    predictions: Predictions | None
    layers: list[Layer]

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        out = [("layers", f"{len(self.layers):,}")]
        out += [(name, f"{count:,}") for name in ("sequences", "steps") if (count := getattr(self, name)) is not None]
        if self.experts_a_token is None:
            return out
        used = [held.experts for held in self.layers]
        out += [
            ("experts a token", self.experts_a_token.told()),
            ("experts used in a layer", f"{_range(used)}; the greatest number is {self.most_expert}"),
            (f"choices of the {TOP} most popular", _shares([held.top_share for held in self.layers])),
            ("load of the most popular over the mean", _range([round(held.imbalance, 2) for held in self.layers])),
        ]
        if self.reuse is not None and self.by_chance is not None:
            out.append(
                ("experts of the token before, too", f"{percent(self.reuse)}; by chance {percent(self.by_chance)}")
            )
        if self.predictions is not None:
            precision = self.predictions.precision
            told = "" if precision is None else f", {percent(precision)} of those predicted were chosen"
            out.append(("predictions", f"{percent(self.predictions.recall)} of those chosen were predicted{told}"))
        return out


def _range(values: list[Any]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _shares(values: list[float]) -> str:
    low, high = percent(min(values)), percent(max(values))
    return low if low == high else f"{low} to {high}"


def fingerprint(chunks: Iterator[Chunk], tally: Tally) -> RoutingInfo:
    """Layers, popularity of experts, reuse from token to token, what predictions are worth."""
    held = whole(chunks, ("layer", "experts", "sequence", "step", "predicted", "phase"))
    table = _table(held["experts"])
    served = held["phase"] != WARM_UP if "phase" in held else np.ones(len(table), bool)
    before = _before(held, served)
    layers, popular = [], []
    kept = both = 0
    for number in np.unique(held["layer"][served]).tolist():
        rows = np.flatnonzero(served & (held["layer"] == number))
        counts = np.bincount(table[rows][table[rows] != NO_EXPERT])
        ordered = np.sort(counts[counts > 0])[::-1]
        later = rows[before[rows] >= 0]
        chosen = int((table[later] != NO_EXPERT).sum())
        again = _common(table, later, table, before[later])
        kept, both = kept + chosen, both + again
        total = int(ordered.sum())
        layers.append(
            Layer(
                number,
                len(rows),
                len(ordered),
                float(ordered[:TOP].sum() / total) if total else 0.0,
                float(ordered[0] * len(ordered) / total) if total else 0.0,
                again / chosen if chosen else None,
            )
        )
        popular.append(ordered / max(total, 1))
    spread = Spread.if_any(held["experts"].counts[served])
    used = table[served]
    even = [spread.mean / one.experts for one in layers if one.experts] if spread else []
    notes = [] if served.all() else [f"{int((~served).sum()):,} rows of warm-up are left out of what is told"]
    return RoutingInfo(
        **tally.about(),
        sequences=len(np.unique(held["sequence"][served])) if "sequence" in held else None,
        steps=len(np.unique(held["step"][served])) if "step" in held else None,
        experts_a_token=spread,
        most_expert=int(used.max()) if used.size and used.max() >= 0 else None,
        reuse=both / kept if kept else None,
        by_chance=float(np.mean(even)) if even else None,
        predictions=_predictions(held, table, served),
        layers=layers,
        notes=notes,
        panels=_panels(layers, popular),
    )


def _panels(layers: list[Layer], popular: list[NDArray[np.float64]]) -> list[Panel]:
    if not layers:
        return []
    some = np.unique(np.linspace(0, len(layers) - 1, DRAWN).round().astype(int)).tolist()
    ranked = tuple(
        Curve(np.arange(1, len(popular[at]) + 1), 100 * popular[at], f"layer {layers[at].layer}") for at in some
    )
    numbers = np.array([held.layer for held in layers])
    out = [Panel("rank of an expert", "choices (%)", ranked)]
    if len(layers) > 1:
        reuse = np.array([100 * held.reuse if held.reuse is not None else np.nan for held in layers])
        top = np.array([100 * held.top_share for held in layers])
        out += [
            Panel("layer", "experts of the token before (%)", (Curve(numbers, reuse, points=True),), full=100),
            Panel("layer", f"choices of the top {TOP} (%)", (Curve(numbers, top, points=True),)),
        ]
    return out


def _table(lists: Ragged) -> NDArray[np.int32]:
    """The lists as rows of one width, with NO_EXPERT where they end."""
    counts = lists.counts
    made = np.full((len(lists), int(counts.max(initial=0))), NO_EXPERT, np.int32)
    made[np.arange(made.shape[1]) < counts[:, None]] = lists.values
    return made


def _common(one: NDArray[np.int32], rows: NDArray[np.intp], other: NDArray[np.int32], others: NDArray[np.intp]) -> int:
    """How many experts of rows of one table are in the rows of the other that belong to them."""
    found = 0
    for at in range(0, len(rows), PIECE):
        mine, theirs = one[rows[at : at + PIECE]], other[others[at : at + PIECE]]
        there = (mine[:, :, None] == theirs[:, None, :]).any(2) if theirs.shape[1] else np.zeros(mine.shape, bool)
        found += int((there & (mine != NO_EXPERT)).sum())
    return found


def _before(held: Chunk, served: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each row the one before it of the same layer, and sequence where known; -1 where there is none."""
    rows = np.flatnonzero(served)
    keys = [held["layer"][rows]] + ([held["sequence"][rows]] if "sequence" in held else [])
    order = np.lexsort(keys)  # which is stable
    same = np.ones(max(len(rows) - 1, 0), bool)
    for key in keys:
        same &= np.diff(key[order]) == 0
    out = np.full(len(served), -1, np.intp)
    out[rows[order[1:][same]]] = rows[order[:-1][same]]
    return out


def _predictions(held: Chunk, table: NDArray[np.int32], served: NDArray[np.bool_]) -> Predictions | None:
    rows = np.flatnonzero(served)
    chosen = int((table[rows] != NO_EXPERT).sum())
    if "predicted" not in held or not chosen:
        return None
    named = _table(held["predicted"])
    said = int((named[rows] != NO_EXPERT).sum())
    return Predictions(
        _common(table, rows, named, rows) / chosen, _common(named, rows, table, rows) / said if said else None
    )


# traps


def traps(chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
    """Rows with an expert twice or another number of them, odd weights, warm-up, empty predictions, uneven layers."""
    held = whole(chunks)
    counts, served = held["experts"].counts, np.ones(tally.records, bool)
    if "phase" in held:
        served = held["phase"] != WARM_UP
    yield from spotted(
        ~served, "rows are warm-up on dummies", "`tiersim traces info` leaves them out, and so should a replay"
    )
    yield from _dummies(held, served)
    table = np.sort(_table(held["experts"]), axis=1)
    twice = ((table[:, 1:] == table[:, :-1]) & (table[:, 1:] != NO_EXPERT)).any(1)
    yield from spotted(
        twice,
        "rows name an expert twice",
        "no router does; these are numbers that fill up, or experts shared by all: leave them out",
    )
    usual = int(np.bincount(counts).argmax())
    yield from spotted(
        counts != usual,
        f"rows have another number of experts than {usual}",
        "tokens were dropped, or rows are cut; leave them out",
    )
    yield from _weights(held)
    if "predicted" in held:
        yield from spotted(
            held["predicted"].counts == 0,
            "rows have an empty list of predictions",
            "recall counts all of their experts as missed",
        )
    numbers, rows = np.unique(held["layer"][served], return_counts=True)
    if len(rows) and rows.min() != rows.max():
        low, high = numbers[rows.argmin()], numbers[rows.argmax()]
        yield (
            f"layers have unequal numbers of rows, {rows.min():,} in layer {low} and {rows.max():,} in layer {high}: a "
            "token is missing in some; take the layers that have all"
        )


def _dummies(held: Chunk, served: NDArray[np.bool_]) -> Iterator[str]:
    before = _before(held, served)
    rows = np.flatnonzero(before >= 0)
    table = _table(held["experts"])
    alike = np.zeros(len(before), bool)
    alike[rows] = (table[rows] == table[before[rows]]).all(1)
    longest = most = 0
    for layer in np.unique(held["layer"]).tolist():
        breaks = np.flatnonzero(~alike[held["layer"] == layer])
        runs = np.diff(breaks, append=int((held["layer"] == layer).sum()))
        longest, most = max(longest, int(runs.max(initial=0))), most + int(runs[runs >= SAME].sum())
    if longest >= SAME:
        yield (
            f"{most:,} rows stand in runs of {SAME} or more with the same experts, the longest of {longest:,}: these "
            "are dummies of a warm-up or a profiling pass that nothing marks; leave them out"
        )


def _weights(held: Chunk) -> Iterator[str]:
    if "weights" not in held:
        return
    weights = held["weights"]
    other = weights.counts != held["experts"].counts
    yield from spotted(
        other,
        "rows have not one weight an expert",
        "nothing tells which weight is whose; leave the weights out",
    )
    if other.any():
        return
    values = weights.values.astype(np.float64)
    row = np.repeat(np.arange(len(weights)), weights.counts)
    if bad := int(((values < 0) | (values > 1 + ADDED)).sum()):
        yield (
            f"{bad:,} weights are below 0 or above 1: these are scores before the softmax, or scaled after it; what "
            "takes them as shares must make them such first"
        )
        return
    rising = np.zeros(len(weights), bool)
    rising[row[1:][(np.diff(values) > 0) & (np.diff(row) == 0)]] = True
    yield from spotted(
        rising,
        "rows have weights that are not in falling order",
        "experts are not best first there, so take the best by weight",
    )
    sums = np.bincount(row, values, len(weights))
    off = (np.abs(sums - 1) > ADDED) & (weights.counts > 0)
    if off.any():
        yield from spotted(
            off,
            f"rows have weights that add up to {sums[off].min():.3g} to {sums[off].max():.3g}, not to 1",
            "they are shares among all experts, or scaled; divide by their sum where the model normalises them",
        )
