"""What is predicted of the experts that rows will need: by the trace, at will, or by a predictor that is fitted."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.sim.expert_rows import Rows
from tiersim.sim.expert_steps import NOBODY, Routed, Schedule, drawn_of, predicted_of
from tiersim.sim.queued.streams import stream

__all__ = ["DrawnPredictions", "FittedPredictions", "NoPredictions", "TracePredictions"]

WHOLE: Final = 10**9
FINE: Final = 1 << 20  # parts of a logarithm: whole numbers have the same sum in any order


@register("none", family="expert-prediction")
class NoPredictions:
    """Nothing is predicted."""

    def predict(self, routed: Routed, schedule: Schedule, rows: Rows, trained: int, seed: int) -> Rows:
        """The rows as they are; `trained` are the first tokens, of which a predictor may learn."""
        return rows


@register("trace", family="expert-prediction")
class TracePredictions:
    """What a real predictor named: the column `predicted` of the trace."""

    def predict(self, routed: Routed, schedule: Schedule, rows: Rows, trained: int, seed: int) -> Rows:
        """The rows with these. Raises StudyError where the trace has none."""
        if routed.predicted is None:
            raise StudyError(
                "the trace has no predictions", None, "take one of {use: accuracy, right: 80 %} and {use: fitted}"
            )
        return _named(rows, *predicted_of(schedule, routed.predicted, rows.experts))


@register("accuracy", family="expert-prediction")
class DrawnPredictions:
    """Of the experts that a row needs each is named with a given probability, else a wrong one in its place.

    The wrong ones are drawn from those that the row does not need. Where it needs all, nothing wrong is named. As many
    are named as are needed, so that recall and precision are alike.
    """

    random: ClassVar[bool] = True

    right: Annotated[int, Param("how likely an expert is named rightly", unit="ratio", ge=0, le=WHOLE)] = (
        8 * WHOLE // 10
    )

    def predict(self, routed: Routed, schedule: Schedule, rows: Rows, trained: int, seed: int) -> Rows:
        """The rows with these."""
        numbers = stream(seed, "expert predictions")
        right = numbers.integers(0, WHOLE, len(rows.expert)) < self.right
        return _named(rows, *drawn_of(rows, right, numbers.random(len(rows.expert))))


@register("fitted", family="expert-prediction")
class FittedPredictions:
    """A predictor fitted on the training part: naive Bayes over the experts of an earlier layer of the same token.

    Of how often experts of both layers went together it estimates, with one added to each count, how likely a candidate
    is and how likely each of the experts seen is beside it, and names those with the largest sum of logarithms, of
    equals the lower number. Layers without such an earlier one get their most frequent experts. Nothing is predicted
    for the sequences that it is fitted on.
    """

    lookahead: Annotated[int, Param("layers from those seen to those named", unit="count", ge=1)] = 1
    named: Annotated[
        int | None, Param("experts that it names; unless said, as many as a token passes", unit="count", ge=1)
    ] = None

    def predict(self, routed: Routed, schedule: Schedule, rows: Rows, trained: int, seed: int) -> Rows:
        """The rows with these."""
        return _named(rows, *predicted_of(schedule, self.table(routed, trained, rows.experts), rows.experts))

    def table(self, routed: Routed, cut: int, experts: int) -> NDArray[np.int32]:
        """What it names for each token [token, layer, place]: NOBODY for the first ones, that it is fitted on."""
        held = routed.experts
        many = min(self.named or held.shape[2], experts)
        made = np.full((routed.tokens, routed.layers, many), NOBODY, np.int32)
        for layer in range(routed.layers):
            before = layer - self.lookahead
            seen = None if before < 0 else held[:, before]
            made[cut:, layer] = _best(*_fit(seen, held[:, layer], cut, experts), many)
        return made


def _fit(
    seen: NDArray[np.int32] | None, chosen: NDArray[np.int32], cut: int, experts: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The score of each candidate by each expert that is seen, then of nobody; and what is seen of the tokens later."""
    counts = np.bincount(chosen[:cut][chosen[:cut] != NOBODY], minlength=experts)
    if seen is None:
        return counts[None, :].astype(np.int64), np.zeros((len(chosen) - cut, 1), np.int32)
    pairs = np.where(
        (seen[:cut, :, None] != NOBODY) & (chosen[:cut, None, :] != NOBODY),
        seen[:cut, :, None] * experts + chosen[:cut, None, :],
        experts * experts,
    )
    together = np.bincount(pairs.ravel(), minlength=experts * experts + 1)[:-1].reshape(experts, experts)
    likely = np.log((together + 1) / (counts + experts))
    prior = np.log(counts + 1)
    scores = np.vstack([likely, np.zeros((1, experts)), prior])
    later = np.where(seen[cut:] == NOBODY, experts, seen[cut:])
    always = np.full((len(later), 1), experts + 1, np.int32)
    return np.rint(scores * FINE).astype(np.int64), np.hstack([later, always])


def _best(scores: NDArray[np.int64], seen: NDArray[np.int32], many: int) -> NDArray[np.intp]:
    """Those with the largest sums of scores, of equals the lower number."""
    total = np.zeros((len(seen), scores.shape[1]), np.int64)
    for place in range(seen.shape[1]):
        total += scores[seen[:, place]]
    total = total * scores.shape[1] - np.arange(scores.shape[1])  # no two are equal
    return np.argpartition(-total, many - 1, axis=1)[:, :many]


def _named(rows: Rows, start: NDArray[np.int64], named: NDArray[np.int64]) -> Rows:
    return replace(rows, predicted_start=start, predicted=named)
