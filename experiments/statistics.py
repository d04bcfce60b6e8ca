"""How sure a number is: intervals, tests, sizes of effects, and how many repeats a question needs.

Repeats are runs with several seeds. A variant's seed k is paired with the baseline's seed k: both draw the same random
numbers, what these add to both falls out of the difference, and fewer repeats tell more. What is assumed:

- Repeats are independent of each other, which seeds give. They tell what chance in the simulation does, and nothing
  about other traces.
- Up to 19 repeats, an interval is Student's and a test the paired t test: exact where differences are normal, and the
  only ones with an answer at 5 repeats. A sign-flip test cannot go below ``2 / 2**n``: with 5 pairs 0.06, whatever they
  are.
- From 20 repeats on, intervals are those of the bootstrap-t (Hall 1988), which bears skewness, and tests flip signs,
  which asks for symmetric differences only. BCa intervals were measured too: of 20 exponential values they cover 91 %
  and the bootstrap-t 94 %. From 1,000 on means are normal, and Student's is right again.
- Of one run, its parts are all there is: windows, which follow each other, or sessions, which have nothing to do with
  each other. Their intervals take the run as one sample of such requests; chance in the simulation is none of it.
- Windows depend on their neighbours, so that whole blocks of them are resampled (Kuensch 1989). The run must be long
  against its memory and not drift.
- Sessions may depend on nothing but what is inside them. They are left out one by one (the jackknife), since drawing
  them with replacement fails where few of them hold most requests; see `_jackknife`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiersim.sim.queued.streams import stream

__all__ = [
    "Estimate",
    "Longer",
    "Needed",
    "Paired",
    "adjusted",
    "bootstrap_t",
    "cohens_dz",
    "estimate",
    "fieller",
    "longer",
    "needed",
    "paired",
    "paired_ratios",
    "ratio_of_sums",
    "sign_flip",
    "superiority",
    "t_test",
]

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
BOOTSTRAP_FROM = 20  # repeats
BOOTSTRAP_TO = 1_000
RESAMPLES = 4_000
ENUMERATED = 14  # pairs: up to these all patterns of signs are tried
FLIPS = 9_999
POWER = 0.8  # the chance that the repeats asked for are enough; also the trust in the bound of the variance
OUT_OF_REACH = 1_000_000  # repeats
OUT_OF_REACH_LENGTH = 1_000  # times the length
FEWEST = 8  # parts of a run
BLOCKS = 5  # the series in blocks: fewer see longer memories and make wider intervals
MOST_MEMORY = 0.9  # correlation of neighbours; beyond, the run is a few long phases and tells nothing of others

NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A number with how sure it is: from `low` to `high` with 95 % confidence, from `n` independent values.

    Ends are infinite where nothing bounds the value, and not-a-number where one value tells nothing of its error.
    `method` is ``exact`` where no random stream was reached.
    """

    value: float
    low: float
    high: float
    n: int
    method: str

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """What has no error."""
        return cls(value, value, value, 1, "exact")

    def times(self, factor: float, offset: float = 0.0) -> Estimate:
        """The same in another unit: `factor` of it, and `offset` added."""
        ends = sorted((self.low * factor + offset, self.high * factor + offset))
        return Estimate(self.value * factor + offset, ends[0], ends[1], self.n, self.method)

    def parts(self, sign: str = "") -> tuple[str, str]:
        """The number and its interval, with as many digits as the interval lets mean something."""
        if self.method == "exact":
            return _plain(self.value, sign), "exact"
        if math.isnan(self.low):
            return _plain(self.value, sign), "no interval"
        if self.low == self.high:
            return _plain(self.value, sign), "all alike"
        width = self.high - self.low
        if not math.isfinite(width):
            return _plain(self.value, sign), "no bounds"
        decimals = max(0, 1 - math.floor(math.log10(width / 2)))
        value, low, high = (f"{held:{sign},.{decimals}f}" for held in (self.value, self.low, self.high))
        return value, f"{low} to {high}"

    def __str__(self) -> str:
        return self.written(*self.parts())

    def written(self, value: str, interval: str) -> str:
        """In one line, as in ``1.24 (1.20 to 1.29, n = 5)``, from what stands for the number and for its interval."""
        return f"{value} ({interval})" if self.method == "exact" else f"{value} ({interval}, n = {self.n})"


def _plain(value: float, sign: str) -> str:
    return f"{value:{sign},.0f}" if float(value).is_integer() else f"{value:{sign}.4g}"


# Student, chi squared


@lru_cache(4096)
def _t_quantile(p: float, degrees: float) -> float:
    """The value that Student's t stays under with probability `p`."""
    if p < 0.5:
        return -_t_quantile(1 - p, degrees)
    low, high = 0.0, 2.0
    while 1 - _t_tail(high, degrees) < p:
        high *= 2
    return _bisect(lambda t: 1 - _t_tail(t, degrees) - p, low, high)


def _t_tail(t: float, degrees: float) -> float:
    """The probability that Student's t is over `t`, which is 0 or more."""
    return 0.5 * _beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    made = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            made *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * made


@lru_cache(4096)
def _chi_squared_quantile(p: float, degrees: float) -> float:
    """The value that chi squared stays under with probability `p`."""

    def under(x: float) -> float:  # the incomplete gamma function by its series (DLMF 8.11.4)
        a, x = degrees / 2, x / 2
        if x == 0:
            return 0.0
        term = total = 1.0
        step = a
        while term > 1e-17 * total:
            step += 1
            term *= x / step
            total += term
        return total * math.exp(a * math.log(x) - x - math.lgamma(a + 1))

    high = float(degrees)
    while under(high) < p:
        high *= 2
    return _bisect(lambda x: under(x) - p, 0.0, high)


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


# intervals


def estimate(values: ArrayLike, *, seed: int = 0, confidence: float = CONFIDENCE) -> Estimate:
    """The mean of independent values: Student's interval for few, the bootstrap-t from 20 to 999."""
    x = _vector(values)
    mean = float(x.mean())
    if len(x) == 1:
        return Estimate(mean, math.nan, math.nan, 1, "one value")
    if (x == x[0]).all():
        return Estimate(float(x[0]), float(x[0]), float(x[0]), len(x), "all alike")
    if BOOTSTRAP_FROM <= len(x) < BOOTSTRAP_TO:
        return bootstrap_t(x, seed=seed, confidence=confidence)
    half = _t_quantile((1 + confidence) / 2, len(x) - 1) * float(x.std(ddof=1)) / math.sqrt(len(x))
    return Estimate(mean, mean - half, mean + half, len(x), "Student's t")


def bootstrap_t(
    values: ArrayLike, base: ArrayLike | None = None, *, seed: int = 0, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of values, or the ratio of their mean to that of `base`, with the interval of the bootstrap-t.

    Pairs are resampled whole, and each resample is measured by its own standard error, which is what sees skewness.
    Source: P. Hall, Theoretical comparison of bootstrap confidence intervals, Annals of Statistics 16 (1988).
    """
    x = _vector(values)
    y = np.ones_like(x) if base is None else _vector(base)
    n = len(x)
    drawn = stream(seed, "statistics.bootstrap").integers(0, n, (RESAMPLES, n))
    value, error = (float(held[0]) for held in _ratios(x[None], y[None]))
    made, errors = _ratios(x[drawn], y[drawn])
    spread = errors > 0  # a resample of one value n times has none; there is hardly ever one
    t = (made[spread] - value) / errors[spread]
    low, high = np.quantile(t, [(1 + confidence) / 2, (1 - confidence) / 2])
    return Estimate(value, value - float(low) * error, value - float(high) * error, n, "bootstrap-t")


def _ratios(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The ratio of sums in each row and its standard error by the delta method, samples in rows."""
    ratio = x.sum(axis=1) / y.sum(axis=1)
    error = (x - ratio[:, None] * y).std(axis=1, ddof=1) / math.sqrt(x.shape[1]) / np.abs(y.mean(axis=1))
    return ratio, error


def fieller(values: ArrayLike, base: ArrayLike, *, confidence: float = CONFIDENCE) -> Estimate:
    """The ratio of two paired means with Fieller's interval.

    It holds the ratios r for which the t test of ``values - r * base`` finds nothing, so that it leaves out 1 just when
    the interval of the difference leaves out 0. It has no bounds where the baseline's mean is not told from 0. Source:
    E. C. Fieller, JRSS B 16 (1954).
    """
    x, y = _vector(values), _vector(base)
    n = len(x)
    mean, under = float(x.mean()), float(y.mean())
    value = mean / under if under else math.nan
    if n == 1:
        return Estimate(value, math.nan, math.nan, 1, "one value")
    if (x == value * y).all() or ((x == x[0]) & (y == y[0])).all():
        return Estimate(value, value, value, n, "all alike")
    spread = np.cov(x, y) / n * _t_quantile((1 + confidence) / 2, n - 1) ** 2
    return Estimate(value, *_fieller(mean, under, spread), n, "Fieller")


def _fieller(mean: float, under: float, spread: Floats) -> tuple[float, float]:
    """The ratios r with ``(mean - r under)^2`` up to the spread of ``x - r y``: between the roots of a quadratic."""
    a, b, c = under**2 - spread[1, 1], mean * under - spread[0, 1], mean**2 - spread[0, 0]
    if a <= 0:
        return -math.inf, math.inf
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a


def _vector(values: ArrayLike) -> Floats:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError("one value or more in one row are needed")
    if not np.isfinite(x).all():
        raise ValueError("values must be finite")
    return x


# one run: its parts


@dataclass(frozen=True)
class _Spread:
    """Ratios of sums over the parts of one run, and how they would differ, together, among runs like it."""

    values: Floats
    covariance: Floats
    degrees: float
    n: int
    method: str

    def interval(self, confidence: float) -> float:
        """How many standard errors an interval reaches to each side."""
        return _t_quantile((1 + confidence) / 2, self.degrees)


def ratio_of_sums(
    over: ArrayLike, under: ArrayLike, parts: str = "windows", *, confidence: float = CONFIDENCE
) -> Estimate:
    """The sum of `over` by that of `under`, values of the parts of one run: its ``windows`` in order, or ``sessions``.

    `under` is 0 or more; a part where it is 0 counts for nothing. Measured: 95 % intervals cover as `_blocks` and
    `_jackknife` say. Raises ValueError where all of it is 0.
    """
    x, w = _kept(_vector(over), _vector(under))
    value = float(x.sum() / w.sum())
    if _alike(x - value * w, x):
        return Estimate(value, value, value, len(x), "all alike")
    few = np.count_nonzero(w) < FEWEST
    spread = f"too few {parts}" if few else SPREADS[parts](x[None], w[None])
    if isinstance(spread, str):
        return Estimate(value, math.nan, math.nan, len(x), spread)
    half = spread.interval(confidence) * math.sqrt(spread.covariance[0, 0])
    return Estimate(value, value - half, value + half, spread.n, spread.method)


def _kept(*sides: Floats) -> list[Floats]:
    """Numerators and denominators, in turn, of the parts that count on either side."""
    under = sides[1::2]
    if len({side.shape for side in sides}) > 1:
        raise ValueError(f"{len(sides[0])} parts against {len(sides[-1])} are no pairs")
    if any((side < 0).any() for side in under) or not all(side.any() for side in under):
        raise ValueError("what a ratio is taken of must be 0 or more, and not 0 everywhere")
    kept = np.logical_or.reduce([side > 0 for side in under])
    return [side[kept] for side in sides]


def _alike(differences: Floats, of: Floats) -> bool:
    """Whether differences are nothing but rounding."""
    return bool((np.abs(differences) <= 1e-12 * np.abs(of).max()).all())


def _blocks(over: Floats, under: Floats) -> _Spread | str:
    """Sums over windows, a row a side: the moving-block bootstrap.

    The variance that infinitely many of its resamples have is a closed form, so that none are drawn. Windows are
    whitened first by the correlation of neighbours, whose part of the variance is put back (Andrews and Monahan 1992):
    blocks need to see only what is left. They are a fifth of the run, whatever its memory: the variance is then known
    as well as that of 1.5 independent values a block (Meketon and Schmeiser 1984), and Student's t pays for that.
    Windows of unequal weight tell less; the root of what is left of them was found by trial.

    Measured at 90 windows, 95 % intervals cover independent values in 95 to 96 % of all cases, AR(1) with a correlation
    of 0.5 in 95, of 0.8 in 94; at 30 windows 94, and 86 to 89. There is no interval where the correlation is found to
    be over 0.9; where it is 0.9 and found to be less, 85. Weights that differ by a factor of e (one standard
    deviation): 93 to 97. Miss ratios of LRU, FIFO and SIEVE, their differences and ratios, on 30,000 requests of Markov
    chains: 90 to 96; of Zipf's law: LRU and FIFO 95 to 96, SIEVE 89 to 90, because what it keeps changes once in the
    run, which no window can see.
    """
    values, sums = over.sum(axis=1) / under.sum(axis=1), under.sum(axis=1)
    u = (over - values[:, None] * under) / sums[:, None]  # a ratio's error is the sum of these (delta method)
    series = u[0] - u[-1] if len(u) > 1 else u[0]
    n = len(series)
    memory = float(series[1:] @ series[:-1] / (series @ series)) if series.any() else 0.0
    memory = max(memory + (1 + 3 * memory) / n, 0.0)  # it is found too small (Kendall 1954)
    if memory > MOST_MEMORY:
        return "few phases"
    white = u[:, 1:] - memory * u[:, :-1]
    white -= white.mean(axis=1, keepdims=True)
    size = max(1, (n - 1) // BLOCKS)
    reached = np.zeros(u.shape)
    np.cumsum(white, axis=1, out=reached[:, 1:])
    held = reached[:, size:] - reached[:, :-size]
    # the mean of all blocks is that of the run, which hides 1 / blocks of their spread
    covariance = held @ held.T / held.shape[1] * (n / size / (1 - size / (n - 1)) / (1 - memory) ** 2)
    degrees = max(1.0, 1.5 * (n / size - 1) * math.sqrt(_effective(under) / n))
    return _Spread(values, covariance, degrees, n, f"blocks of {size} window{'s' if size > 1 else ''}")


def _jackknife(over: Floats, under: Floats) -> _Spread | str:
    """Sums over sessions, a row a side: each is left out in turn (for clusters MacKinnon, Nielsen and Webb 2023).

    Student's degrees of freedom are those of as many equal sessions as would tell as much (Kish 1965).

    Measured, 95 % intervals cover differences and ratios of 8 to 1,000 sessions in 94 to 98 % of all cases, and values
    in 93 to 97, up to lengths that differ by a factor of 4.5 (one standard deviation, lognormal); percentiles of 8 to
    20 sessions drawn with replacement 86 to 90. Where lengths differ so much and long sessions have other ratios than
    short ones, values are covered in 87 to 91.
    """
    values, n = over.sum(axis=1) / under.sum(axis=1), over.shape[1]
    left = (over.sum(axis=1, keepdims=True) - over) / (under.sum(axis=1, keepdims=True) - under)
    away = left - values[:, None]
    return _Spread(values, away @ away.T * ((n - 1) / n), max(1.0, _effective(under) - 1), n, "jackknife over sessions")


def _effective(under: Floats) -> float:
    """How many parts of equal weight tell as much as these."""
    share = (under / under.sum(axis=1, keepdims=True)).mean(axis=0)
    return float(1 / (share @ share))


SPREADS = {"windows": _blocks, "sessions": _jackknife}


# tests and effects


def t_test(differences: ArrayLike) -> float:
    """Two-sided p of the paired t test that differences have the mean 0."""
    x = _vector(differences)
    if (x == 0).all():
        return 1.0
    if len(x) == 1:
        return math.nan
    if (x == x[0]).all():
        return 0.0
    t = abs(float(x.mean())) / (float(x.std(ddof=1)) / math.sqrt(len(x)))
    return 2 * _t_tail(t, len(x) - 1)


def sign_flip(differences: ArrayLike, *, seed: int = 0) -> float:
    """Two-sided p of the permutation test that flips signs: the share of patterns with a sum as far from 0.

    All patterns up to 14 pairs, beyond that 9,999 drawn ones and the one that was seen (Phipson and Smyth 2010).
    """
    x = _vector(differences)
    x = x[x != 0]  # their sign changes nothing
    n = len(x)
    if n <= ENUMERATED:
        signs = 1 - 2 * (np.arange(1 << n)[:, None] >> np.arange(n) & 1)
    else:
        signs = 1 - 2 * stream(seed, "statistics.signs").integers(0, 2, (FLIPS, n), np.int8)
    far = np.abs(signs @ x) >= abs(x.sum()) - 1e-12 * np.abs(x).sum()  # equal sums may round apart
    if n <= ENUMERATED:
        return float(far.mean())
    return (1 + int(far.sum())) / (1 + FLIPS)


def cohens_dz(differences: ArrayLike) -> float:
    """Mean of paired differences by their standard deviation, with Hedges' correction for few of them.

    Infinite where they are all alike and not 0, and not-a-number for one.
    """
    x = _vector(differences)
    if len(x) == 1:
        return math.nan
    if (x == x[0]).all():
        return math.copysign(math.inf, x[0]) if x[0] else 0.0
    half = (len(x) - 1) / 2
    correction = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half) if len(x) > 2 else 0.0
    return correction * float(x.mean() / x.std(ddof=1)) if correction else math.nan


def superiority(differences: ArrayLike) -> float:
    """The share of pairs in which the value is greater than the baseline's; ties count half."""
    x = _vector(differences)
    return float((x > 0).mean() + (x == 0).mean() / 2)


def adjusted(p: Sequence[float], correction: str = "holm") -> list[float]:
    """p values corrected for how many there are, in the same order.

    ``holm`` bounds the chance of one false difference or more, whatever their dependence (Holm 1979);
    ``benjamini-hochberg`` bounds the share of false ones among those found, for tests that are independent or lean the
    same way (1995).
    """
    values = np.asarray(p, np.float64)
    m = len(values)
    order = np.argsort(values, kind="stable")
    out = np.empty(m)
    if correction == "holm":
        out[order] = np.maximum.accumulate(values[order] * (m - np.arange(m)))
    elif correction == "benjamini-hochberg":
        out[order] = np.minimum.accumulate((values[order] * (m / np.arange(1, m + 1)))[::-1])[::-1]
    else:
        raise ValueError(f"there is no correction {correction!r}: holm or benjamini-hochberg")
    made: list[float] = np.minimum(out, 1).tolist()
    return made


@dataclass(frozen=True)
class Needed:
    """How many more repeats: `more` if their spread is as seen, `at_most` if it is as large as it may well be.

    None where a million would not do.
    """

    more: int | None
    at_most: int | None


def needed(
    values: ArrayLike, target: float | None = None, *, confidence: float = CONFIDENCE, power: float = POWER
) -> Needed:
    """Repeats that are missing until the mean is known to plus or minus `target`; without one, until it is told from 0.

    To tell a mean from 0, the one seen is taken for the true one, and found with a chance of `power`. The second figure
    takes the upper 80 % bound of the variance, which few repeats hardly know (Browne 1995). Raises ValueError for one
    value.
    """
    x = _vector(values)
    n = len(x)
    if n < 2:
        raise ValueError("one value does not tell its spread")
    wanted = abs(float(x.mean())) if target is None else target
    chance = power if target is None else 0.5
    spread = float(x.std(ddof=1)) if (x != x[0]).any() else 0.0
    upper = spread * math.sqrt((n - 1) / _chi_squared_quantile(1 - POWER, n - 1))
    counts = [_repeats(held, wanted, confidence, chance, n) for held in (spread, upper)]
    return Needed(*(None if count is None else count - n for count in counts))


def _repeats(spread: float, wanted: float, confidence: float, chance: float, least: int) -> int | None:
    def enough(n: int) -> bool:
        t = _t_quantile((1 + confidence) / 2, n - 1) + _t_quantile(chance, n - 1)
        return t * spread <= wanted * math.sqrt(n)

    low, high = least, least
    while not enough(high):
        if high > OUT_OF_REACH:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


# variant and baseline


@dataclass(frozen=True)
class Longer:
    """How many times as long a run: `times` if it varies as seen, `at_most` if it varies as much as it may well do.

    None where a thousand times would not do.
    """

    times: float | None
    at_most: float | None


def longer(difference: Estimate, degrees: float, *, confidence: float, had: float = CONFIDENCE) -> Longer:
    """How many times as long a run must be to tell a difference of this size from 0 with this confidence.

    `had` is the confidence of its interval, `degrees` are those of Student's t. Likewise `needed`: the difference is
    taken for the true one and found with a chance of 80 %. A run varies by the root of its length.
    """
    error = (difference.high - difference.low) / 2 / _t_quantile((1 + had) / 2, degrees)
    reach = _t_quantile((1 + confidence) / 2, degrees) + _t_quantile(POWER, degrees)
    times = (reach * error / difference.value) ** 2
    upper = times * degrees / _chi_squared_quantile(1 - POWER, degrees)
    return Longer(*(held if held <= OUT_OF_REACH_LENGTH else None for held in (times, upper)))


@dataclass(frozen=True)
class Paired:
    """A variant against the baseline, pair by pair: repeat by repeat, or by the parts of one run.

    `effect` and `superiority` are not-a-number over windows, which are as long as somebody chose: cut finer, each
    varies more. `differences` are those of repeats; of parts, `degrees` are those of Student's t.
    """

    difference: Estimate
    ratio: Estimate
    p: float
    test: str
    effect: float
    superiority: float
    differences: tuple[float, ...] = ()
    degrees: float = math.nan


def paired(values: ArrayLike, base: ArrayLike, *, seed: int = 0, confidence: float = CONFIDENCE) -> Paired:
    """Compare values with those of the baseline that drew the same random numbers, in the same order."""
    x, y = _vector(values), _vector(base)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values against {len(y)} of the baseline are no pairs")
    difference = x - y
    many = BOOTSTRAP_FROM <= len(x) < BOOTSTRAP_TO and bool((difference != difference[0]).any())
    one_sign = bool((y > 0).all() or (y < 0).all())  # no resample divides by nothing
    return Paired(
        estimate(difference, seed=seed, confidence=confidence),
        bootstrap_t(x, y, seed=seed, confidence=confidence)
        if many and one_sign
        else fieller(x, y, confidence=confidence),
        sign_flip(difference, seed=seed) if many else t_test(difference),
        "sign-flip permutation" if many else "paired t",
        cohens_dz(difference),
        superiority(difference),
        tuple(map(float, difference)),
    )


def paired_ratios(
    mine: tuple[ArrayLike, ArrayLike],
    base: tuple[ArrayLike, ArrayLike],
    parts: str = "windows",
    *,
    confidence: float = CONFIDENCE,
) -> Paired:
    """Compare a ratio of sums with the baseline's over the same parts of one run; see `ratio_of_sums`.

    The ratio of both has Fieller's interval, which leaves out 1 just when that of the difference leaves out 0.
    """
    x, w, y, v = _kept(*(_vector(column) for side in (mine, base) for column in side))
    (value, under), n = (x.sum() / w.sum(), y.sum() / v.sum()), len(x)
    difference, ratio = float(value - under), float(value / under) if under else math.nan
    both = (w > 0) & (v > 0)
    apart = x[both] / w[both] - y[both] / v[both]
    sizes = (cohens_dz(apart), superiority(apart)) if parts == "sessions" and both.any() else (math.nan, math.nan)
    if _alike((x - value * w) / w.sum() - (y - under * v) / v.sum(), np.append(x / w.sum(), y / v.sum())):
        made = Estimate(difference, difference, difference, n, "all alike")
        p = 0.0 if difference else math.nan  # what is the same everywhere needs no test
        return Paired(made, Estimate(ratio, ratio, ratio, n, "all alike"), p, "none", *sizes)
    few = np.count_nonzero(both) < FEWEST
    spread = f"too few {parts}" if few else SPREADS[parts](np.stack([x, y]), np.stack([w, v]))
    if isinstance(spread, str):
        made = Estimate(difference, math.nan, math.nan, n, spread)
        return Paired(made, Estimate(ratio, math.nan, math.nan, n, spread), math.nan, "none", *sizes)
    covariance, t = spread.covariance, spread.interval(confidence)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return Paired(
        Estimate(difference, difference - t * error, difference + t * error, n, spread.method),
        Estimate(ratio, *_fieller(value, under, covariance * t**2), n, spread.method),
        2 * _t_tail(abs(difference) / error, spread.degrees),
        f"Student's t, {spread.method}",
        *sizes,
        degrees=spread.degrees,
    )
