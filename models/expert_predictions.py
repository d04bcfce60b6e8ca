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

    def predict(self, routed: Routed, schedule: Schedule, rows: Rows, learnt: Routed, seed: int) -> Rows:
        """The rows as they are; `learnt` are other sequences, of which a predictor may learn."""
        return rows


@register("trace", family="expert-prediction")
class TracePredictions:
    """What a real predictor named: the column `predicted` of the trace."""

    def check(self, routed: Routed) -> None:
        """Raises StudyError where the trace has none."""
        if routed.predicted is None:
            raise StudyError(
                "the trace has no predictions", None, "take others: {use: accuracy, right: 80 %}, or {use: fitted}"
            )

    def predict(self, routed: Routed, schedule: Schedule, rows: Rows, learnt: Routed, seed: int) -> Rows:
        """The rows with these. Raises StudyError as `check`."""
        self.check(routed)
        assert routed.predicted is not None
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

    def predict(self, routed: Routed, schedule: Schedule, rows: Rows, learnt: Routed, seed: int) -> Rows:
        """The rows with these."""
        numbers = stream(seed, "expert predictions")
        right = numbers.integers(0, WHOLE, len(rows.expert)) < self.right
        return _named(rows, *drawn_of(rows, right, numbers.random(len(rows.expert))))


@register("fitted", family="expert-prediction")
class FittedPredictions:
    """A predictor fitted on the training part: naive Bayes over the experts of an earlier layer of the same token.

    Of how often experts of both layers went together it estimates, with one added to each count, how likely a candidate
    is and how likely each of the experts seen is beside it, and names those with the largest sum of logarithms, of
    equals the lower number. Layers without such an earlier one get their most frequent experts.
    """

    learns: ClassVar[bool] = True

    lookahead: Annotated[int, Param("layers from those seen to those named", unit="count", ge=1)] = 1
    named: Annotated[
        int | None, Param("experts that it names; unless said, as many as a token passes", unit="count", ge=1)
    ] = None

    def predict(self, routed: Routed, schedule: Schedule, rows: Rows, learnt: Routed, seed: int) -> Rows:
        """The rows with these."""
        return _named(rows, *predicted_of(schedule, self.table(routed, learnt, rows.experts), rows.experts))

    def table(self, routed: Routed, learnt: Routed, experts: int) -> NDArray[np.int32]:
        """What it names for each token [token, layer, place]."""
        many = min(self.named or routed.experts.shape[2], experts)
        made = np.empty((routed.tokens, routed.layers, many), np.int32)
        for layer in range(routed.layers):
            before = layer - self.lookahead
            seen, chosen = (None if before < 0 else learnt.experts[:, before]), learnt.experts[:, layer]
            now = np.empty((routed.tokens, 0), np.int32) if before < 0 else routed.experts[:, before]
            made[:, layer] = _best(_scores(seen, chosen, experts), now, many)
        return made


def _scores(seen: NDArray[np.int32] | None, chosen: NDArray[np.int32], experts: int) -> NDArray[np.int64]:
    """How likely each candidate is beside each expert that is seen; beside none; and by itself."""
    counts = np.bincount(chosen[chosen != NOBODY], minlength=experts)
    likely = np.zeros((experts, experts))
    if seen is not None:
        both = (seen[:, :, None] != NOBODY) & (chosen[:, None, :] != NOBODY)
        pairs = np.where(both, seen[:, :, None] * experts + chosen[:, None, :], experts * experts)
        together = np.bincount(pairs.ravel(), minlength=experts * experts + 1)[:-1].reshape(experts, experts)
        likely = np.log((together + 1) / (counts + experts))
    scores = np.vstack([likely, np.zeros(experts), np.log(counts + 1)])
    made: NDArray[np.int64] = np.rint(scores * FINE).astype(np.int64)
    return made


def _best(scores: NDArray[np.int64], seen: NDArray[np.int32], many: int) -> NDArray[np.intp]:
    """Those with the largest sums of scores, of equals the lower number."""
    experts = scores.shape[1]
    total = np.tile(scores[experts + 1], (len(seen), 1))
    for place in range(seen.shape[1]):
        total += scores[np.where(seen[:, place] == NOBODY, experts, seen[:, place])]
    total = total * experts - np.arange(experts)  # no two are equal
    return np.argpartition(-total, many - 1, axis=1)[:, :many]


def _named(rows: Rows, start: NDArray[np.int64], named: NDArray[np.int64]) -> Rows:
    return replace(rows, predicted_start=start, predicted=named)
