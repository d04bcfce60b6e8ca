"""Fits a time model to one part of measured times, and tells how far it is off on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.registry import build, nearest
from tiersim._base.units import show
from tiersim.experiments.observed import Observation, captured, observations
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.profile import profile_of
from tiersim.models.llm.times.contract import FEATURES, pairs
from tiersim.models.llm.times.roofline import Costs, Roofline
from tiersim.models.llm.transformer import Transformer
from tiersim.traces.load import load_trace

__all__ = ["FORMS", "Calibration", "Residuals", "calibrate"]

T = TypeVar("T")
Reals = NDArray[np.float64]
ROUNDS: Final = 50
SMALL: Final = 1e-3  # relative errors below it count as equal


@dataclass(frozen=True)
class Residuals:
    """How far off a model is: of relative errors the median and 95th percentile of sizes, and the median with sign."""

    configurations: int
    median: float
    p95: float
    bias: float


@dataclass(frozen=True)
class Calibration:
    """A fitted time model as the keys of a study, and how far off it is where it was fitted and where not."""

    profile: str
    time_model: dict[str, Any]
    fitted: Residuals
    held_out: Residuals | None
    seen: str = "configurations"
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"snippet": self.snippet}

    @property
    def snippet(self) -> str:
        """YAML to paste into a study."""
        lines = [f"# Fitted to {self.fitted.configurations:,} {self.seen} of {self.profile}; {_told(self.fitted)}."]
        if self.held_out is not None:
            lines.append(f"# On {self.held_out.configurations:,} others {_told(self.held_out)}.")
        lines += [f"# Note: {note}." for note in self.notes]
        lines.append("time_model:")
        for key, value in self.time_model.items():
            if isinstance(value, dict):
                value = "{" + ", ".join(f"{name}: {list(bounds)}" for name, bounds in value.items()) + "}"
            lines.append(f"  {key}: {value}")
        return "\n".join(lines) + "\n"


def _told(residuals: Residuals) -> str:
    return f"it is off by {residuals.median:.1%} (median), {residuals.p95:.1%} (95th percentile)"


def calibrate(
    profile: str | Sequence[str],
    form: str | None = None,
    *,
    model: Transformer | None = None,
    gpu: Gpu | None = None,
    tensor: int = 1,
    of: str | None = None,
    on: str | None = None,
    hold_out: float = 0.5,
) -> Calibration:
    """Fit a time model to measured times: the least sum of relative errors, no time below 0 and no efficiency above 1.

    `profile` names a profile, or captures of one server (requests with the times of their answers), whose iterations
    are read off. `form` is ``linear`` or ``roofline``; unless said, the latter, and for captures without a model the
    former. `of`, `on` and `tensor` pick a model, hardware and number of devices out of a profile. A share `hold_out` is
    left out and predicted: of the configurations of a profile, or of several captures by their rates, spread evenly; of
    one capture the last requests. Raises StudyError where there is nothing that can be fitted.
    """
    names = [profile] if isinstance(profile, str) else list(profile)
    if not 0 <= hold_out < 1:
        raise StudyError(f"a share of {hold_out:.0%} cannot be held out", None, "say one below 100 %, such as 50 %")
    measured = [load_trace(name).schema == "request" for name in names]
    if form is None:
        form = "linear" if all(measured) and (model is None or gpu is None) else "roofline"
    if form not in FORMS:
        hint = nearest(form, FORMS) or f"there are: {', '.join(FORMS)}"
        raise StudyError(f"no time model that can be fitted is called {form!r}; {hint}")
    if all(measured):
        if of is not None or on is not None:
            raise StudyError("captures name no model and no hardware", None, "leave `of` and `on` out")
        fit, rest, notes = _of_captures(names, hold_out)
    elif len(names) > 1:
        raise StudyError("of several traces each must be a capture of one server", None, "name one profile")
    else:
        fit, rest = _apart(observations(profile_of(names[0]).only(of, on, tensor), model), hold_out)
        notes = []
    if form == "roofline" and (model is None or gpu is None):
        raise StudyError("a roofline is fitted for a model on a GPU", None, "say both, with --model and --gpu")
    seen = "iterations" if all(measured) else "configurations"
    if len(fit) < 3:
        raise StudyError(f"{len(fit)} {seen} are too few to fit", None, "hold out less, or measure more")
    setting = (model, gpu, Parallel(tensor=tensor))
    said = {"use": form, **FORMS[form](fit, *setting), "fitted": _bounds(fit)}
    residuals = [_residuals(said, part, setting) if part else None for part in (fit, rest)]
    assert residuals[0] is not None
    named = ", ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} others"
    return Calibration(named, said, residuals[0], residuals[1], seen, notes)


def _apart(held: Sequence[T], hold_out: float) -> tuple[list[T], list[T]]:
    """What is kept, and a share that is left out, spread evenly."""
    out = [int((k + 1) * hold_out) > int(k * hold_out) for k in range(len(held))]
    return [item for item, away in zip(held, out) if not away], [item for item, away in zip(held, out) if away]


def _of_captures(names: Sequence[str], hold_out: float) -> tuple[list[Observation], list[Observation], list[str]]:
    """The iterations to fit, those that are held out, and what is odd about them."""
    held = [captured(name) for name in names]
    notes = list(dict.fromkeys(note for one in held for note in one.notes))
    if len(held) == 1:
        return *held[0].halves(hold_out), notes
    kept, away = _apart(sorted(held, key=lambda one: one.rate), hold_out)
    fit, rest = ([iteration for one in part for iteration in one.iterations] for part in (kept, away))
    return fit, rest, notes


def _bounds(fit: Sequence[Observation]) -> dict[str, list[int]]:
    """Between what a model was fitted."""
    made = {}
    for feature in ("new", "decodes", "context"):
        held = [item.features[feature] for item in fit if feature in item.features]
        if held:
            made[feature] = [min(held), max(held)]
    return made


# --- linear


def _linear(
    fit: Sequence[Observation], model: Transformer | None, gpu: Gpu | None, parallel: Parallel
) -> dict[str, str]:
    rows = [
        [1.0, f("new"), pairs(f("area"), f("squares"), f("new")), f("decodes"), f("context")] for f in map(_get, fit)
    ]
    times = _least(np.array(rows), _times(fit))
    units = ("", "/token", "/token", "/request", "/token")
    keys = ("iteration", "prefill", "attention", "decode", "cached")
    said = {key: show(_rounded(time), "time") + unit for key, time, unit in zip(keys, times, units)}
    return {"prefill": said.pop("prefill")} | {key: text for key, text in said.items() if not text.startswith("0 ")}


def _get(item: Observation) -> Callable[[str], int]:
    return lambda feature: item.features.get(feature, 0)


def _times(fit: Sequence[Observation]) -> Reals:
    return np.array([item.time for item in fit], float)


def _rounded(time: float) -> int:
    """Picoseconds to five digits: a fit is no better."""
    return int(float(f"{time:.5g}"))


def _least(rows: Reals, times: Reals, base: Reals | None = None, fixed: Reals | float = 0.0) -> Reals:
    """The coefficients of least error, none below its base (0 unless said), beside what is fixed.

    The sum of sizes of errors is least, each relative to the larger of what is measured and said: one wrong
    measurement costs at most 1, whichever way it is wrong. It is found by least squares whose weights are made anew
    from the errors (P. W. Holland and R. E. Welsch, 1977), begun with all measurements and without those that would
    rule a fit alone (a leverage above a half).
    """
    floor = np.zeros(rows.shape[1]) if base is None else base
    left = times - rows @ floor - fixed
    best, least = floor, _off(rows @ floor + fixed, times).sum()
    scaled = rows / times[:, None]
    scaled /= _largest(scaled)
    leverage = (scaled @ np.linalg.pinv(scaled)).diagonal()
    for start in (np.ones(len(times)), 1.0 * (leverage < 0.5)):
        weight = start / times
        for _ in range(ROUNDS):
            found = floor + _least_squares(rows * weight[:, None], left * weight)
            said = rows @ found + fixed
            errors = _off(said, times)
            if errors.sum() < least:
                best, least = found, errors.sum()
            weight = 1 / np.maximum(said, times) / np.sqrt(np.maximum(errors, SMALL))
    return best


def _largest(rows: Reals) -> Reals:
    """The largest number of each column, and 1 where all are 0."""
    most: Reals = np.abs(rows).max(axis=0)
    return np.where(most > 0, most, 1)


def _off(said: Reals, times: Reals) -> Reals:
    """Sizes of errors, relative to the larger of what is said and measured."""
    made: Reals = np.abs(said - times) / np.maximum(said, times)
    return made


def _least_squares(rows: Reals, target: Reals) -> Reals:
    """The coefficients of least squares that are not below 0: each set of those above it is tried, as there are few."""
    best, least = np.zeros(rows.shape[1]), float(target @ target)
    scale = _largest(rows)
    free = [column for column in range(rows.shape[1]) if rows[:, column].any()]
    for count in range(1, len(free) + 1):
        for chosen in map(list, combinations(free, count)):
            part = rows[:, chosen] / scale[chosen]
            found, *_ = np.linalg.lstsq(part, target, rcond=None)
            error = float(((part @ found - target) ** 2).sum())
            if (found >= 0).all() and error < least * (1 - 1e-9):
                best, least = np.zeros(rows.shape[1]), error
                best[chosen] = found / scale[chosen]
    return best


# --- roofline

EFFICIENCIES: Final = ("matrices", "weights", "attention", "cache")
WHOLE_SHARE: Final = 10**9


def _roofline(
    fit: Sequence[Observation], model: Transformer | None, gpu: Gpu | None, parallel: Parallel
) -> dict[str, str]:
    """Which side of each roof an iteration is on depends on the efficiencies, so that the fit is repeated."""
    assert model is not None
    assert gpu is not None
    bare = dict.fromkeys(EFFICIENCIES, WHOLE_SHARE)
    costs = Costs(Roofline(**bare), model, gpu, parallel)
    reads, default = costs.reads(), Roofline()
    start = [WHOLE_SHARE / getattr(default, key) for key in EFFICIENCIES]
    terms = [_terms(item, costs, reads, default) for item in fit]
    times, base = _times(fit), np.array([1.0, 1, 1, 1, 0])
    best = np.array([*start, float(default.layer)])
    least, found = _error(terms, times, best), best
    for _ in range(ROUNDS):
        rows, fixed = _sides(terms, found)
        # a roof that no iteration is at stays where it is
        again = np.where(rows.any(axis=0), _least(rows, times, base, fixed), found)
        if np.allclose(again, found, rtol=1e-9):
            break
        found = again
        if (error := _error(terms, times, found)) < least:
            best, least = found, error
    said = {key: f"{max(round(100 / slowness, 2), 0.01):g} %" for key, slowness in zip(EFFICIENCIES, best)}
    return said | {"layer": f"{show(_rounded(best[-1]), 'time')}/layer"}


@dataclass(frozen=True)
class _Terms:
    """What an iteration takes at full efficiency: roofs as (column, time) pairs, its layers, and the rest."""

    roofs: tuple[tuple[tuple[int, float], tuple[int, float]], ...]
    layers: float
    fixed: float


def _terms(item: Observation, costs: Costs, reads: Sequence[int], said: Roofline) -> _Terms:
    f = _get(item)
    pair, span, _, output, output_read, _, _, wire = costs.apart()
    tokens, requests = f("new") + f("decodes"), f("chunks") + f("decodes")
    roofs = [((0, float(costs.token() * tokens)), (1, float(reads[min(tokens, len(reads) - 1)])))]
    if item.parts:
        return _Terms(tuple(roofs), costs.layers, 0)
    attended = pairs(f("area"), f("squares"), f("new")) * pair / 4096
    roofs += [
        ((0, float(output * requests)), (1, float(output_read))),
        ((2, attended), (3, float(span * f("span")))),
        ((3, float(costs.context() * f("context"))), (3, 0.0)),
    ]
    meetings = costs.meetings() * said.meeting + wire * tokens
    return _Terms(tuple(roofs), costs.layers, said.iteration + said.request * requests + meetings)


def _sides(terms: Sequence[_Terms], found: Reals) -> tuple[Reals, Reals]:
    """The iterations as sums: of each roof the side that counts, and what is not fitted."""
    rows = np.zeros((len(terms), len(found)))
    for row, term in zip(rows, terms):
        for one, other in term.roofs:
            column, time = max(one, other, key=lambda side: side[1] * found[side[0]])
            row[column] += time
        row[-1] = term.layers
    return rows, np.array([term.fixed for term in terms])


def _error(terms: Sequence[_Terms], times: Reals, found: Reals) -> float:
    rows, fixed = _sides(terms, found)
    return float(_off(rows @ found + fixed, times).sum())


FORMS: Final = {"linear": _linear, "roofline": _roofline}


# --- how far off


def _residuals(
    said: dict[str, Any], part: Sequence[Observation], setting: tuple[Transformer | None, Gpu | None, Parallel]
) -> Residuals:
    """Relative errors of a time model on observations."""
    errors = predicted(build("time-model", said), part, setting) / _times(part) - 1
    sizes = np.abs(errors)
    return Residuals(len(part), float(np.median(sizes)), float(np.percentile(sizes, 95)), float(np.median(errors)))


def predicted(
    made: Any, seen: Sequence[Observation], setting: tuple[Transformer | None, Gpu | None, Parallel]
) -> Reals:
    """What a time model says of observations, in picoseconds."""
    model, gpu, parallel = setting
    if seen[0].parts and isinstance(made, Roofline) and model is not None and gpu is not None:
        costs = Costs(made, model, gpu, parallel)
        reads, token, layers = costs.reads(), float(costs.token()), costs.layers * made.layer
        sizes = [item.features["new"] for item in seen]
        return np.array([max(token * size, reads[min(size, len(reads) - 1)]) + layers for size in sizes], float)
    arrays = made.compiled(*setting).values()
    return np.array([made.step(*arrays, *(_get(item)(name) for name in FEATURES)) for item in seen], float)
