"""The time model that reads measured times."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import field
from fractions import Fraction
from functools import partial
from math import floor
from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, dump
from tiersim._base.registry import build, register
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.profile import WHOLE, Measured, Profile, profile_of
from tiersim.models.llm.times.contract import ALWAYS, Limits, Words, fine, pairs, product, slope, whole
from tiersim.models.llm.times.roofline import Costs, Roofline
from tiersim.models.llm.transformer import Transformer

__all__ = ["Table", "interpolated"]

CONTEXT = "a token of a context"
Bound: TypeAlias = Callable[[Fraction | float, str], int]

APART, PAIR, SPAN, EXPAND, OUTPUT, OUTPUT_READ, CONSTANT, REQUEST, WIRE, TOKENS, DECODES, CONTEXTS = range(12)


@register("table", family="time-model")
class Table:
    """Measured times of a profile, with straight lines between them; beyond the last it rises as over the last half.

    A profile of whole models (Splitwise's form) has times of prompts, of which those alone in their batch count by
    their tokens, and of tokens, by the requests of a batch and their context. An iteration with both takes as long as a
    prompt of all its tokens, or as its decodes if that is longer, and what the context adds. What stands before a
    prompt's tokens costs the attention of the roofline.

    A profile of a layer's parts (Vidur's form) has times by the tokens of an iteration; attention, output, what GPUs
    send each other and overheads are those of the roofline. A curve that falls is levelled to the nearest that does
    not.
    """

    profile: Annotated[str, Param("a trace of measured times: `public/NAME` or a file")]
    of: Annotated[str | None, Param("model in it; needed where there are several")] = None
    on: Annotated[str | None, Param("hardware in it; needed where there are several")] = None
    rest: Annotated[Any, Param("the roofline of what the profile does not tell", family="time-model")] = field(
        default_factory=partial(build, "time-model", "roofline")
    )

    content: Annotated[str | None, Param("sha256 that the profile must have; a resolved study says it")] = None

    def __post_init__(self) -> None:
        if not isinstance(self.rest, Roofline):
            raise StudyError("`rest` of a table is a roofline")

    def to_data(self) -> dict[str, Any]:
        """What a resolved study shows: with the content of the profile, on which its runs depend."""
        said = {key: dump(held) for key, held in vars(self).items() if held is not None}
        return {"use": "table"} | said | {"content": self.fingerprint}

    def compiled(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> dict[str, NDArray[Any]]:
        """Its knots. Raises StudyError where the profile has no times of such a setting."""
        if parallel.pipeline > 1 or parallel.expert > 1:
            raise StudyError("a table has times of one stage without expert parts", None, "take the roofline")
        held = self.held(parallel)
        if model is None or gpu is None:
            raise StudyError("a table needs to know the model and the accelerator", None, "say both, by presets")
        parallel.check(model)
        costs = Costs(self.rest, model, gpu, parallel)
        prompts, decodes, contexts = _whole(held) if _is_whole(held) else _parts(held, model, costs)
        if _is_whole(held):
            named = [1, fine(costs.pair()), 0, 0, 0, 0, 0, 0, 0]
        else:
            named = [0, *costs.apart()]
        curves = [*prompts, *decodes, *contexts]
        starts = [len(named) + 3, len(named) + 3 + len(prompts), len(named) + 3 + len(prompts) + len(decodes)]
        return {"knots": np.array([*named, *starts, *curves], np.int64)}

    def range(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> Limits:
        """Where it was measured: tokens of a prompt, requests that decode, and their context."""
        held = self.held(parallel)
        if not _is_whole(held):
            tokens = [row.tokens for row in held.rows if row.tokens]
            return {"new": (min(tokens), max(tokens)), "decodes": (min(tokens), max(tokens))}
        prompts = [row.tokens for row in _alone(held)]
        decodes = [row for row in held.rows if row.operation == "token"]
        return {
            "new": (min(prompts), max(prompts)),
            "decodes": (min(row.batch for row in decodes), max(row.batch for row in decodes)),
            "context": (min(row.attended for row in decodes), max(row.attended for row in decodes)),
        }

    def held(self, parallel: Parallel) -> Profile:
        """The times of this setting."""
        held = profile_of(self.profile)
        if self.content not in (None, held.fingerprint):
            raise held.wrong(f"its content is {held.fingerprint}, and must be {self.content} (`content`)")
        return held.only(self.of, self.on, parallel.tensor)

    @property
    def fingerprint(self) -> str:
        """The sha256 that names the content of the profile."""
        return profile_of(self.profile).fingerprint

    @staticmethod
    def step(
        knots: Words, chunks: int, new: int, area: int, squares: int, span: int, decodes: int, context: int
    ) -> int:
        time = between(knots, knots[DECODES], decodes) if decodes > 0 else 0
        if new > 0:
            time = max(time, between(knots, knots[TOKENS], new + decodes))
        attended = area - squares if knots[APART] else pairs(area, squares, new)
        time += max(product(knots[PAIR], attended), knots[SPAN] * span) + knots[EXPAND] * (span - new)
        time += around(knots, new + decodes, chunks + decodes)
        at = place(knots, knots[CONTEXTS], context)
        return max(time, 1) + knots[at + 1] + knots[at + 2] * max(context - knots[at], 0)

    @staticmethod
    def line(knots: Words, decodes: int, context: int) -> tuple[int, int, int]:
        time = between(knots, knots[DECODES], decodes) if decodes > 0 else 0
        time = max(time + around(knots, decodes, decodes), 1)
        first, last = knots[CONTEXTS] + 1, knots[CONTEXTS] + 1 + 3 * (knots[knots[CONTEXTS]] - 1)
        if context < knots[first]:  # flat up to the first knot
            return time + knots[first + 1], 0, knots[first] - 1
        at = place(knots, knots[CONTEXTS], context)
        until = ALWAYS if at == last else knots[at + 3] - 1
        return time + knots[at + 1] - knots[at + 2] * knots[at], knots[at + 2], until


def place(knots: Words, curve: int, count: int) -> int:
    """Where the last knot at or before a count stands, or the first one. A curve is its length, and three a knot."""
    low, high = 0, knots[curve] - 1
    while low < high:
        middle = low + high + 1 >> 1
        if knots[curve + 1 + 3 * middle] <= count:
            low = middle
        else:
            high = middle - 1
    return curve + 1 + 3 * low


def between(knots: Words, curve: int, count: int) -> int:
    """The time at a count: flat before the first knot."""
    at = place(knots, curve, count)
    return knots[at + 1] + knots[at + 2] * max(count - knots[at], 0)


def around(knots: Words, tokens: int, requests: int) -> int:
    """What an iteration takes besides the measured parts and attention."""
    time = max(knots[OUTPUT] * requests, knots[OUTPUT_READ]) + knots[WIRE] * tokens
    return time + knots[CONSTANT] + knots[REQUEST] * requests


def _is_whole(held: Profile) -> bool:
    return {row.operation for row in held.rows} >= set(WHOLE)


def _alone(held: Profile) -> list[Measured]:
    """Prompts in the smallest batches that there are."""
    prompts = [row for row in held.rows if row.operation == "prompt"]
    least = min(row.batch for row in prompts)
    return [row for row in prompts if row.batch == least]


def _whole(held: Profile) -> tuple[list[int], list[int], list[int]]:
    """The curves of prompts by tokens, of tokens by requests, and of what their context adds."""
    prompts = _curve(held, {row.batch * row.tokens: row.time for row in _alone(held)})
    tokens = [row for row in held.rows if row.operation == "token"]
    few = min(row.batch for row in tokens)
    alone = {row.attended: row.time for row in tokens if row.batch == few}
    contexts, rises = _levelled(alone)
    added = [rise - rises[0] for rise in rises]
    by_requests: dict[int, list[int]] = {}
    for row in tokens:
        by_requests.setdefault(row.batch, []).append(row.time - _at(contexts, added, row.attended))
    mean = {batch: max(sum(held_) // len(held_), 1) for batch, held_ in by_requests.items()}
    return prompts, _curve(held, mean), _knots(contexts, added, slope, CONTEXT)


def _parts(held: Profile, model: Transformer, costs: Costs) -> tuple[list[int], list[int], list[int]]:
    """The curve of a model's parts by tokens, for decodes too, and a straight line for their context."""
    curve = _curve(held, held.layers(model.layers))
    return curve, curve, [1, 0, 0, costs.context()]


def _curve(held: Profile, times: dict[int, int]) -> list[int]:
    if len(times) < 2:
        raise held.wrong("a curve needs times of at least two sizes")
    return _knots(*_levelled(times))


def _levelled(times: dict[int, int]) -> tuple[list[int], list[int]]:
    """Counts with times that do not fall: the nearest such to what was measured, in the sense of least squares.

    Reference: R. E. Barlow et al., Statistical inference under order restrictions, 1972 (the min-max formula).
    """
    counts = sorted(times)
    values = np.array([times[count] for count in counts], float)
    sums = np.concatenate([[0], np.cumsum(values)])
    lengths = np.arange(len(values) + 1)
    means = (sums[None, 1:] - sums[:-1, None]) / np.maximum(lengths[None, 1:] - lengths[:-1, None], 1)
    least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]  # over ends from here on
    return counts, [round(least[: end + 1, end].max()) for end in range(len(values))]


def _knots(counts: list[int], times: list[int], bounded: Bound = whole, what: str = "a token") -> list[int]:
    """A curve as numbers: how many knots, and of each its count, its time, and the rise to the next, rounded down.

    Beyond the last knot it rises as over the last half: two knots alone may be near each other.
    """
    half = max(bisect_right(counts, counts[-1] // 2) - 1, 0)
    ends = [
        *zip(counts, counts[1:], times, times[1:], strict=False),
        (counts[half], counts[-1], times[half], times[-1]),
    ]
    made = [len(counts)]
    for count, time, (here, there, before, after) in zip(counts, times, ends):
        rise = Fraction(after - before, there - here) if there > here else Fraction(0)
        made += [count, time, bounded(floor(rise), what)]
    return made


def interpolated(times: dict[int, int], count: int) -> int:
    """The time at a count on the curve of measured times."""
    return between([*_knots(*_levelled(times))], 0, count)


def _at(counts: list[int], times: list[int], count: int) -> int:
    """The time at a count, as the compiled form has it."""
    knots = _knots(counts, times, slope, CONTEXT)
    k = max(bisect_right(counts, count) - 1, 0)
    here, time, rise = knots[1 + 3 * k : 4 + 3 * k]
    return time + rise * max(count - here, 0)
