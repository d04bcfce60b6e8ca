"""Whether an order of variants is stable: how often each is the best over the samples, and what decides it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.sensitivity.methods import Factor, Indices, analyse

__all__ = ["LEADING", "Ranks", "Scatter", "kendall", "rank"]

Floats = NDArray[np.float64]

LEADING = {"sobol": "total", "morris": "mu_star", "pawn": "median", "delta": "delta"}  # the index that orders factors
EQUAL = 1e-12  # values that differ by less than this part of the greater are equal


@dataclass(frozen=True)
class Scatter:
    """Who is best at each sample, over the two factors that matter most to the ratios of variants.

    `x` and `y` are factors, `places` their shares (a row for each sample), `winners` places in the list of variants,
    and -1 where samples failed.
    """

    x: str
    y: str
    places: Floats
    winners: NDArray[np.intp]


@dataclass(frozen=True)
class Ranks:
    """The order of variants on one output, over samples that all of them have.

    `wins` is the share of samples at which each is the best (equals share one), `order` that of the study's own point,
    `held` the share of samples that have this very order and `tau` the mean of Kendall's tau-b between both; those two
    are None where the own point failed or has all equal. `ratios` tells for each variant but the baseline which factors
    change its output over the baseline's, and `decides` the first of these. `notes` are sentences for the reader.
    """

    wins: dict[str, float]
    order: tuple[str, ...]
    held: float | None
    tau: float | None
    used: int
    failed: int
    ratios: dict[str, Indices]
    decides: dict[str, str]
    scatter: Scatter | None
    notes: tuple[str, ...] = ()


def rank(
    method: str,
    factors: Sequence[Factor],
    shares: Floats,
    values: Mapping[str, Floats],
    own: Mapping[str, float],
    better: str,
    baseline: str,
    seed: int = 0,
    second_order: bool = True,
    confidence: float = 0.95,
    failed: str = "refuse",
) -> Ranks | None:
    """How stable the order of variants is; None for an output without a direction, or a single variant.

    `values` holds the output of each variant at each row of `shares` and `own` that at the study's own point; what is
    no finite number failed. A sample at which one variant failed ranks nobody, whatever `failed` says; that is for the
    indices of ratios, as in `analyse`. Raises StudyError and DependencyError as that.
    """
    names = list(values)
    if better not in ("more", "less") or len(names) < 2:
        return None
    sign = 1 if better == "more" else -1
    table = sign * np.column_stack([values[name] for name in names])
    whole = np.isfinite(table).sum(axis=1) == len(names)
    lost = int((~whole).sum())
    notes = [f"{lost} of {len(table)} samples failed for a variant, and rank nobody"] if lost else []
    base = sign * np.array([own.get(name, math.nan) for name in names])
    order = tuple(names[at] for at in np.argsort(-base, kind="stable")) if np.isfinite(base).all() else ()
    held, tau, more = (
        _stable(base, table[whole]) if order else (None, None, "at the study's own point a variant failed")
    )
    asked = (seed, second_order, confidence, failed)
    compared = [name for name in names if name != baseline and baseline in values]
    ratios = {
        name: analyse(method, factors, shares, _ratio(values[name], values[baseline]), *asked) for name in compared
    }
    parts = {name: _parts(method, indices) for name, indices in ratios.items()}
    decides = {name: max(mine, key=mine.__getitem__) for name, mine in parts.items() if mine}
    scatter = _scatter(factors, shares, table, whole, list(parts.values()))
    wins = dict(zip(names, _wins(table[whole]), strict=True)) if whole.any() else {}
    notes += [more] if more else []
    return Ranks(wins, order, held, tau, len(table) - lost, lost, ratios, decides, scatter, tuple(notes))


def _stable(base: Floats, table: Floats) -> tuple[float | None, float | None, str]:
    """The share of rows with the order of the base, and their mean tau with it; a sentence where that is not all."""
    signs, others = _signs(base[None])[0], _signs(table)
    if not signs.any():
        return None, None, "at the study's own point all variants are equal"
    if not len(others):
        return None, None, ""
    taus = [one for other in others if not math.isnan(one := _tau(signs, other))]
    lack = len(others) - len(taus)
    note = f"at {lack} samples all variants are equal, which has no tau" if lack else ""
    return float((others == signs).all(axis=1).mean()), float(np.mean(taus)) if taus else None, note


def _wins(table: Floats) -> list[float]:
    """The share of rows that each column is the greatest of; equals share one."""
    top = table.max(axis=1, keepdims=True)
    best = (top - table <= EQUAL * np.maximum(np.abs(top), np.abs(table))).astype(np.float64)
    shares: list[float] = (best / best.sum(axis=1, keepdims=True)).mean(axis=0).tolist()
    return shares


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings of the same things (Kendall 1945, doi:10.1093/biomet/33.3.239).

    Not-a-number where one of them has all equal.
    """
    return _tau(*(_signs(np.asarray(one, np.float64)[None])[0] for one in (first, second)))


def _tau(first: NDArray[np.int8], second: NDArray[np.int8]) -> float:
    """Tau-b of the signs of all pairs."""
    ways = math.sqrt(int(np.count_nonzero(first)) * int(np.count_nonzero(second)))
    return float(first.astype(int) @ second.astype(int)) / ways if ways else math.nan


def _signs(table: Floats) -> NDArray[np.int8]:
    """For each row, of each pair of its values whether the first is greater (1), less (-1) or equal (0)."""
    first, second = np.triu_indices(table.shape[1], 1)
    a, b = table[:, first], table[:, second]
    equal = np.abs(a - b) <= EQUAL * np.maximum(np.abs(a), np.abs(b))
    return np.where(equal, 0, np.sign(a - b)).astype(np.int8)


def _ratio(values: Floats, base: Floats) -> Floats:
    """Not-a-number where the baseline is 0 or one of both failed."""
    there = np.isfinite(values) & np.isfinite(base) & (base != 0)
    found: Floats = np.divide(values, base, out=np.full(len(values), math.nan), where=there)
    return found


def _parts(method: str, indices: Indices) -> dict[str, float]:
    """Of each factor the part of the index that orders them; empty where none matters."""
    held = indices.kinds.get(LEADING[method], ())
    found = {name: max(one.value, 0.0) for name, one in zip(indices.names, held, strict=False) if one is not None}
    every = sum(found.values())
    return {name: value / every for name, value in found.items()} if every else {}


def _scatter(
    factors: Sequence[Factor], shares: Floats, table: Floats, whole: NDArray[np.bool_], parts: list[dict[str, float]]
) -> Scatter | None:
    """Over the two factors with the greatest parts of all ratios."""
    if len(factors) < 2 or not any(parts):
        return None
    matter = [sum(one.get(factor.name, 0.0) for one in parts) for factor in factors]
    first, second = sorted(range(len(factors)), key=lambda at: -matter[at])[:2]
    winners = np.where(whole, np.where(np.isfinite(table), table, -math.inf).argmax(axis=1), -1)
    return Scatter(factors[first].name, factors[second].name, shares[:, [first, second]], winners)
