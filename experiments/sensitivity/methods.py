"""Sensitivity indices: which samples of the factors to run, and what their outputs say about each factor.

A factor is uniform: a sample holds for each a share from 0 to 1 of its range, or of a list in as many equal parts as it
has entries. Factors are independent of each other. SALib draws all samples and analyses those of Sobol and Morris; its
PAWN and delta take lists for ranges, so those are here, and on ranges they agree with SALib's.

    sobol   shares of the output's variance: of a factor alone (first), with all its interactions (total), and of two
            together (second); Saltelli et al. 2010, doi:10.1016/j.cpc.2009.09.018
    morris  mean and spread of steps in the output as one factor moves; Morris 1991, doi:10.2307/1269043, Campolongo
            et al. 2007, doi:10.1016/j.envsoft.2006.10.004
    pawn    distances of the output's distribution when a factor is fixed (Kolmogorov and Smirnov's), over its slices;
            Pianosi and Wagener 2018, doi:10.1016/j.envsoft.2018.07.019
    delta   how much of its density the output moves when a factor is fixed; Borgonovo 2007,
            doi:10.1016/j.ress.2006.04.015, Plischke, Borgonovo and Smith 2013, doi:10.1016/j.ejor.2012.11.047
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import DependencyError, StudyError
from tiersim._base.registry import nearest
from tiersim.sim.queued.streams import stream

__all__ = ["FAILED", "METHODS", "Estimate", "Factor", "Indices", "Kind", "analyse", "level", "sample", "size"]

Floats = NDArray[np.float64]
Kind = Literal["range", "levels", "categories"]
Whole = NDArray[np.intp]

METHODS = ("sobol", "morris", "pawn", "delta")
FAILED = ("refuse", "drop", "median")
UNITS = {"sobol": ("base sample", "base samples"), "morris": ("trajectory", "trajectories")}
RESAMPLES = 200
SHUFFLES = 40  # of classes, each with as many resamples, for the delta of a factor that does nothing
GRID = 4  # positions of a range in Morris's trajectories
SLICES = 10  # of a range for PAWN, at most
IN_SLICE = 10  # samples, at least
POINT = 1e-6  # outputs of a class that lie within this part of all are one point
CONSTANT = 1e-12  # outputs that differ by less than this part of their size are equal


@dataclass(frozen=True)
class Factor:
    """What varies: a range, or a list of `count` levels (which have an order) or categories (which have none)."""

    name: str
    kind: Kind
    count: int = 0


@dataclass(frozen=True)
class Estimate:
    """An index with its interval, where the method gives one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Indices:
    """What one output of the samples says about each factor.

    `kinds` has for each name of an index (sobol: first, total; morris: mu_star, mu, sigma; pawn: median, maximum,
    minimum, dummy; delta: delta, dummy, first) an estimate for each of `names`, in their order; None where it has no
    meaning, as the sign of a change of category. `dummy` is the leading index of a factor that does nothing. `second`
    has those of pairs. Without an answer both are empty and `why` says why. `used` and `failed` count samples; `notes`
    are sentences for the reader.
    """

    method: str
    names: tuple[str, ...]
    kinds: dict[str, tuple[Estimate | None, ...]]
    second: dict[tuple[str, str], Estimate]
    used: int
    failed: int
    why: str = ""
    notes: tuple[str, ...] = field(default=())


# samples


def size(method: str, factors: int, second_order: bool = True) -> int:
    """The runs of one sample: of a base sample of Sobol's, of a trajectory of Morris's, else 1."""
    if method == "sobol":
        return 2 * factors + 2 if second_order else factors + 2
    return factors + 1 if method == "morris" else 1


def level(share: float, count: int) -> int:
    """Which of `count` entries of a list a share stands for."""
    return min(math.floor(share * count), count - 1)


def sample(method: str, factors: Sequence[Factor], samples: int, seed: int = 0, second_order: bool = True) -> Floats:
    """Shares from 0 to 1, a row for each run and a column for each factor.

    `samples` counts base samples of Sobol's, trajectories of Morris's and runs of the others; `size` says how many rows
    each has. Sobol's are a scrambled Sobol sequence, best at powers of two; PAWN and delta take a Latin hypercube. The
    same seed gives the same rows; 0 is a seed like any other. Raises StudyError for an unknown method, no factor or
    fewer than two samples, and DependencyError without SALib.
    """
    _known(method)
    if not factors or samples < 2:
        what = "two samples" if factors else "one factor"
        raise StudyError(f"{method} needs at least {what}", None, "say `samples` and `factors` under `sensitivity`")
    problem = {
        "num_vars": len(factors),
        "names": [f"x{at}" for at in range(len(factors))],
        "bounds": [[0.0, 1.0]] * len(factors),
    }
    started = _seed(seed, f"{method}.samples")
    if method == "sobol":
        draw = _salib("sample.sobol").sample
        with warnings.catch_warnings():  # `analyse` says so in a note
            warnings.filterwarnings("ignore", message=".*balance properties of Sobol", category=UserWarning)
            drawn = draw(problem, samples, calc_second_order=second_order, seed=started)
    elif method == "morris":
        grid = _grid(factors)
        drawn = _salib("sample.morris").sample(problem, samples, num_levels=grid, seed=started)
        return _placed(drawn, factors, grid, stream(seed, "sensitivity.morris.categories"))
    else:
        drawn = _salib("sample.latin").sample(problem, samples, seed=started)
    return np.clip(np.asarray(drawn, np.float64), 0.0, 1.0)


def _grid(factors: Sequence[Factor]) -> int:
    """Positions of Morris's grid, for all factors: even, and each entry of a list has equally many."""
    lists = [factor.count for factor in factors if factor.kind != "range"]
    return max(math.lcm(2, *lists), GRID) if lists else GRID


def _placed(drawn: Any, factors: Sequence[Factor], grid: int, random: np.random.Generator) -> Floats:
    """Trajectories on the exact grid; a list's share is the middle of its part.

    A step always moves by half of the grid, so that of four categories the first and second would never be compared:
    each trajectory has its own order of them.
    """
    at = np.rint(np.asarray(drawn, np.float64) * (grid - 1)).astype(np.intp)
    out = at / (grid - 1)
    rows = len(factors) + 1
    for column, factor in enumerate(factors):
        if factor.kind == "range":
            continue
        levels = at[:, column] * factor.count // grid
        if factor.kind == "categories":
            orders = np.array([random.permutation(factor.count) for _ in range(len(at) // rows)])
            levels = orders[np.arange(len(at)) // rows, levels]
        out[:, column] = (levels + 0.5) / factor.count
    return out


# analysis


def analyse(
    method: str,
    factors: Sequence[Factor],
    shares: Floats,
    values: Sequence[float] | Floats,
    seed: int = 0,
    second_order: bool = True,
    confidence: float = 0.95,
    failed: str = "refuse",
) -> Indices:
    """The indices of one output, whose `values` belong to the rows of `shares` as `sample` gave them.

    Values that are no finite number are of failed samples: with any of them there is no answer (refuse), or the whole
    base samples and trajectories that hold them are left out (drop), or they count as the median of the others
    (median). Intervals are those of `RESAMPLES` bootstrap resamples, as normal half-widths. An output that is constant
    has indices of 0. Raises StudyError for an unknown method or `failed`, and DependencyError without SALib.
    """
    _known(method)
    if failed not in FAILED:
        raise StudyError(f"no handling of failed samples is called {failed!r}; there are: {', '.join(FAILED)}")
    names = tuple(factor.name for factor in factors)
    outputs, rows = np.asarray(values, np.float64), size(method, len(factors), second_order)
    if shares.shape != (outputs.size, len(factors)) or outputs.size % rows:
        raise ValueError(f"{outputs.size} values and shares of {shares.shape} are no samples of {method}")
    whole = np.isfinite(outputs)
    lost, notes = int((~whole).sum()), []

    def nothing(why: str) -> Indices:
        return Indices(method, names, {}, {}, 0, lost, why)

    if lost:
        said = f"{lost} of {outputs.size} samples failed"
        if failed == "refuse":
            return nothing(f"{said}: no indices without them; `failed: drop` or `failed: median` goes on")
        if failed == "median" and whole.any():
            outputs = np.where(whole, outputs, np.median(outputs[whole]))
            notes.append(f"{said} and count as the median of the others")
        else:
            kept = whole.reshape(-1, rows).all(axis=1)
            shares, outputs = shares[np.repeat(kept, rows)], outputs[np.repeat(kept, rows)]
            gone = int((~kept).sum())
            one, more = UNITS.get(method, ("sample", "samples"))
            each = f" of {rows} runs each" if rows > 1 else ""
            notes.append(f"{said}: without {gone} {one if gone == 1 else more}{each}")
    count = outputs.size // rows
    if count < 2:
        left = "none is left" if not count else "one is left, and indices need two"
        return nothing(f"{lost} of {whole.size} samples failed: {left}")
    if method == "sobol" and count & (count - 1):
        notes.append(f"{count} base samples are no power of two: the sequence is less even, and indices less sure")
    tiny = CONSTANT * float(np.abs(outputs).max())
    base = np.arange(outputs.size) % rows
    if method == "sobol" and np.ptp(outputs[(base == 0) | (base == rows - 1)]) <= tiny < np.ptp(outputs):
        return nothing("the base samples all give the same output and others do not: more `samples` tell")
    if np.ptp(outputs) <= tiny:
        kinds, second = _zero(method, factors, second_order)
        notes.append("the output is the same in all samples")
    else:
        sure = NormalDist().inv_cdf(0.5 + confidence / 2)
        analyses = {"sobol": _sobol, "morris": _morris, "pawn": _pawn, "delta": _delta}
        kinds, second = analyses[method](factors, shares, outputs, _Drawn(seed, second_order, confidence, sure))
    return Indices(method, names, kinds, second, outputs.size, lost, notes=tuple(notes))


Kinds = dict[str, tuple[Estimate | None, ...]]
Pairs = dict[tuple[str, str], Estimate]


@dataclass(frozen=True)
class _Drawn:
    """What an analysis is asked for: the seed of its resamples, and how sure its intervals are to be."""

    seed: int
    second_order: bool
    confidence: float
    sure: float  # half-width of the interval in standard deviations


def _zero(method: str, factors: Sequence[Factor], second_order: bool) -> tuple[Kinds, Pairs]:
    nothing = Estimate(0.0, 0.0, 0.0)
    named = {
        "sobol": ("first", "total"),
        "morris": ("mu_star", "mu", "sigma"),
        "pawn": ("median", "maximum", "minimum", "dummy"),
        "delta": ("delta", "dummy", "first"),
    }
    kinds: Kinds = {
        kind: tuple(None if _signed(kind) and factor.kind == "categories" else nothing for factor in factors)
        for kind in named[method]
    }
    paired = method == "sobol" and second_order
    return kinds, {(a.name, b.name): nothing for a, b in combinations(factors, 2)} if paired else {}


def _signed(kind: str) -> bool:
    return kind in ("mu", "sigma")


def _sobol(factors: Sequence[Factor], shares: Floats, outputs: Floats, asked: _Drawn) -> tuple[Kinds, Pairs]:
    problem = {"num_vars": len(factors), "names": [f"x{at}" for at in range(len(factors))]}
    module = _salib("analyze.sobol")
    with warnings.catch_warnings():  # a resample may be constant where samples are few
        warnings.filterwarnings("ignore", message="Constant values encountered")
        found = module.analyze(
            problem,
            outputs,
            calc_second_order=asked.second_order,
            num_resamples=RESAMPLES,
            conf_level=asked.confidence,
            parallel=False,
            seed=_seed(asked.seed, "sobol.resamples"),
        )
    kinds: Kinds = {
        kind: tuple(_around(value, half) for value, half in zip(found[its], found[f"{its}_conf"], strict=True))
        for kind, its in (("first", "S1"), ("total", "ST"))
    }
    if not asked.second_order:
        return kinds, {}
    places = combinations(range(len(factors)), 2)
    return kinds, {
        (factors[a].name, factors[b].name): _around(found["S2"][a, b], found["S2_conf"][a, b]) for a, b in places
    }


def _morris(factors: Sequence[Factor], shares: Floats, outputs: Floats, asked: _Drawn) -> tuple[Kinds, Pairs]:
    """Effects of one factor at a time, as changes of the output over the factor's whole range.

    SALib divides by the step in shares. Of lists that is not what has changed: levels stand at equal distances from 0
    to 1, and from a category to another is a step of 1 without a sign. So SALib is given each factor alone, with steps
    scaled to its own.
    """
    rows = len(factors) + 1
    paths, ys = shares.reshape(-1, rows, len(factors)), outputs.reshape(-1, rows)
    each = np.arange(len(ys))
    delta = GRID / (2 * (GRID - 1))  # what SALib divides by
    kinds: dict[str, list[Estimate | None]] = {"mu_star": [], "mu": [], "sigma": []}
    for column, factor in enumerate(factors):
        places = paths[:, :, column]
        step = np.abs(np.diff(places, axis=1)).argmax(axis=1)
        moved = places[each, step + 1] - places[each, step]
        if factor.kind != "range":
            entries = _classes(factor, places.ravel()).reshape(places.shape)
            moved = (entries[each, step + 1] - entries[each, step]).astype(np.float64)
            moved = np.sign(moved) if factor.kind == "categories" else moved / max(factor.count - 1, 1)
        changed = ys[each, step + 1] - ys[each, step]
        effects = np.divide(changed, moved, out=np.zeros_like(changed), where=moved != 0)
        found = _salib("analyze.morris").analyze(
            {"num_vars": 1, "names": ["x"], "bounds": [[0.0, 1.0]]},
            np.tile([[0.0], [delta]], (len(ys), 1)),
            np.column_stack([np.zeros_like(effects), effects * delta]).ravel(),
            num_resamples=RESAMPLES,
            conf_level=asked.confidence,
            num_levels=GRID,
            seed=_seed(asked.seed, f"morris.resamples.{column}"),
        )
        signed = factor.kind != "categories"
        kinds["mu_star"].append(_around(found["mu_star"][0], found["mu_star_conf"][0]))
        kinds["mu"].append(Estimate(float(found["mu"][0])) if signed else None)
        kinds["sigma"].append(Estimate(float(found["sigma"][0])) if signed else None)
    return {kind: tuple(estimates) for kind, estimates in kinds.items()}, {}


def _pawn(factors: Sequence[Factor], shares: Floats, outputs: Floats, asked: _Drawn) -> tuple[Kinds, Pairs]:
    """Statistics of Kolmogorov and Smirnov between the outputs of each slice and of all.

    The slices of a list are its entries, those of a range hold equally many samples. SALib cuts all at quantiles, and
    the greatest sample falls out of its last slice. Distances of small slices are never 0: `dummy` is their median
    where samples stand in slices of the same sizes by chance.
    """
    order = np.argsort(outputs, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(outputs[order]) > 0, True))  # the last of equal outputs
    kinds: dict[str, list[Estimate | None]] = {"median": [], "maximum": [], "minimum": [], "dummy": []}
    summaries: tuple[tuple[str, Callable[[Floats], Any]], ...] = (
        ("median", np.median),
        ("maximum", np.max),
        ("minimum", np.min),
    )
    for column, factor in enumerate(factors):
        random = stream(asked.seed, f"sensitivity.pawn.{column}")
        slices = min(SLICES, max(2, len(outputs) // IN_SLICE))
        inside = _sliced(factor, shares[:, column], slices)[order]
        held = (inside[:, None] == np.unique(inside)).astype(np.float64)
        found = _distances(held, ends, np.ones(len(outputs)))
        drawn = random.multinomial(len(outputs), np.full(len(outputs), 1 / len(outputs)), RESAMPLES)
        resampled = [_distances(held, ends, weights) for weights in drawn.astype(np.float64)]
        for kind, summary in summaries:
            spread = np.std([summary(one) for one in resampled], ddof=1)
            kinds[kind].append(_around(summary(found), asked.sure * spread))
        idle = [np.median(_distances(random.permutation(held), ends, np.ones(len(outputs)))) for _ in range(RESAMPLES)]
        kinds["dummy"].append(_between(np.array(idle), asked.confidence))
    return {kind: tuple(estimates) for kind, estimates in kinds.items()}, {}


def _distances(held: Floats, ends: Whole, weights: Floats) -> Floats:
    """The greatest difference of distributions, of each slice that has samples: `held` says by 1 who is in it."""
    sums = np.cumsum(held * weights[:, None], axis=0)[ends]
    there = sums[:, sums[-1] > 0]
    everyone = sums.sum(axis=1) / weights.sum()
    gaps: Floats = np.abs(there / there[-1] - everyone[:, None]).max(axis=0)
    return gaps


def _delta(factors: Sequence[Factor], shares: Floats, outputs: Floats, asked: _Drawn) -> tuple[Kinds, Pairs]:
    """Borgonovo's delta and the first-order share of variance, both with their bias taken off by the bootstrap.

    Classes are a list's entries, and of a range as many with equally many samples as Plischke et al. advise. SALib's
    begin in the middle of an entry, those with one and the same output are left out as if they told nothing, and narrow
    peaks fall through its grid. Some of the bias stays: `dummy` is delta where samples stand in classes of the same
    sizes by chance.
    """
    outputs = (outputs - outputs.mean()) / outputs.std()
    many = len(outputs)
    wanted = min(math.ceil(many ** (2 / (7 + math.tanh((1500 - many) / 500)))), 48)
    kinds: dict[str, list[Estimate | None]] = {"delta": [], "dummy": [], "first": []}
    dummies: dict[tuple[int, ...], Estimate] = {}  # by the sizes of classes
    for column, factor in enumerate(factors):
        inside = _sliced(factor, shares[:, column], wanted)
        held = (inside[:, None] == np.unique(inside)).astype(np.float64)
        random = stream(asked.seed, f"sensitivity.delta.{column}")
        drawn = random.multinomial(many, np.full(many, 1 / many), RESAMPLES).astype(np.float64)
        weights = np.vstack([np.ones(many), drawn])  # the samples themselves, and each resample
        for kind, found in (("delta", _overlap(outputs, held, weights)), ("first", _first(outputs, held, weights))):
            unbiased = 2 * found[0] - found[1:].mean()
            kinds[kind].append(_around(unbiased, asked.sure * float(np.std(found[1:], ddof=1))))
        sizes = tuple(sorted(np.bincount(inside).tolist()))
        if sizes not in dummies:
            idle = [_overlap(outputs, random.permutation(held), weights[: SHUFFLES + 1]) for _ in range(SHUFFLES)]
            dummies[sizes] = _between(np.array([2 * one[0] - one[1:].mean() for one in idle]), asked.confidence)
        kinds["dummy"].append(dummies[sizes])
    return {kind: tuple(estimates) for kind, estimates in kinds.items()}, {}


def _overlap(outputs: Floats, held: Floats, weights: Floats) -> Floats:
    """Delta for each row of weights: half of the mean distance between the density of a class and that of all.

    Densities are of Gaussian kernels as wide as Silverman says, and that of all is the mixture of the classes'. A class
    with one and the same output is a point, of which the others have only what is equal to it. One with a single sample
    says nothing.
    """
    classes = [outputs[its > 0] for its in held.T]
    widths = [(0.75 * len(one)) ** -0.2 * float(np.std(one, ddof=1)) if len(one) > 1 else 0.0 for one in classes]
    point = POINT * float(np.ptp(outputs))
    spread = [at for at, one in enumerate(classes) if np.ptp(one) > point]
    spans = [np.linspace(classes[at].min() - 6 * widths[at], classes[at].max() + 6 * widths[at], 100) for at in spread]
    grid = np.unique(np.concatenate([[outputs.min(), outputs.max()], *spans]))  # dense where a class is narrow
    parts = weights @ held / weights.sum(axis=1, keepdims=True)
    density = {at: _density(grid, classes[at], widths[at], weights[:, held[:, at] > 0]) for at in spread}
    mixture = sum((parts[:, [at]] * density[at] for at in spread), np.zeros((len(weights), len(grid))))
    points = 1 - parts[:, spread].sum(axis=1)
    out = np.zeros(len(weights))
    for at, one in enumerate(classes):
        if at in density:
            apart = (np.trapezoid(np.abs(mixture - density[at]), grid, axis=1) + points) / 2
        elif len(one) > 1:
            apart = weights[:, np.abs(outputs - one[0]) > point].sum(axis=1) / weights.sum(axis=1)
        else:
            continue
        out += parts[:, at] * apart
    return out


def _density(grid: Floats, outputs: Floats, width: float, weights: Floats) -> Floats:
    """At each place of the grid, for each row of weights; 0 for a row without any."""
    kernels = np.exp(-0.5 * ((outputs[:, None] - grid) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    found: Floats = weights @ kernels / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    return found


def _first(outputs: Floats, held: Floats, weights: Floats) -> Floats:
    """The variance of the classes' means as a share of all variance, for each row of weights."""
    counts, many = weights @ held, weights.sum(axis=1, keepdims=True)
    mean = weights @ outputs[:, None] / many
    means = weights @ (held * outputs[:, None]) / np.maximum(counts, 1)
    spread = weights @ (outputs**2)[:, None] / many - mean**2
    between: Floats = (counts * (means - mean) ** 2).sum(axis=1, keepdims=True) / many
    shares: Floats = np.divide(between, spread, out=np.zeros_like(between), where=spread > 0)[:, 0]
    return shares


def _sliced(factor: Factor, shares: Floats, slices: int) -> Whole:
    """The slice of each sample: a list's entry, or of a range one of so many with equally many samples."""
    if factor.kind != "range":
        return _classes(factor, shares)
    ranks: Whole = np.argsort(np.argsort(shares, kind="stable"), kind="stable")
    return ranks * slices // len(shares)


def _classes(factor: Factor, shares: Floats) -> Whole:
    """Which entry of its list each share stands for, as `level`."""
    return np.minimum(np.floor(shares * factor.count).astype(np.intp), factor.count - 1)


def _between(values: Floats, confidence: float) -> Estimate:
    """The mean of values, with the quantiles that hold so many of them."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Estimate(float(values.mean()), float(low), float(high))


def _around(value: float, half: float) -> Estimate:
    return Estimate(float(value), float(value - half), float(value + half))


def _known(method: str) -> None:
    if method not in METHODS:
        hint = nearest(method, METHODS) or f"there are: {', '.join(METHODS)}"
        raise StudyError(f"no method of sensitivity is called {method!r}; {hint}")


def _seed(seed: int, name: str) -> int:
    """A seed for SALib, which takes 0 for none."""
    return int(stream(seed, f"sensitivity.{name}").integers(1, 2**31))


def _salib(name: str) -> Any:
    """A module of SALib."""
    from importlib import import_module

    try:
        return import_module(f"SALib.{name}")
    except ImportError:
        raise DependencyError("sensitivity needs SALib", None, "pip install 'tiersim[sense]'") from None
