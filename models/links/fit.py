"""Latency and bandwidth of a link from measured times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.models.links.duplex import Wire
from tiersim.sim.queued.clock import SECOND

__all__ = ["Fit", "fit"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """What a link would be whose transfers take latency + size / bandwidth: picoseconds and bytes a second."""

    latency: int
    bandwidth: int

    def wire(self) -> Wire:
        """One direction of it."""
        return Wire(self.bandwidth, self.latency)

    def times(self, sizes: NDArray[np.int64]) -> Floats:
        """How long transfers of these sizes take alone, in picoseconds."""
        return self.latency + np.asarray(sizes, np.float64) * SECOND / self.bandwidth

    def error(self, sizes: NDArray[np.int64], times: Floats) -> float:
        """The mean absolute error of `times`, as a share of what was measured."""
        return float(np.mean(np.abs(self.times(sizes) / times - 1)))


def fit(sizes: NDArray[np.int64], times: Floats) -> Fit:
    """The latency and bandwidth whose relative errors have the least sum of squares; times in picoseconds.

    Raises StudyError where no link does that: fewer than two sizes, times that are not above zero, or that do not grow.
    """
    sizes, times = np.asarray(sizes, np.float64), np.asarray(times, np.float64)
    if len(np.unique(sizes)) < 2:
        raise StudyError("latency and bandwidth take measurements of two sizes or more")
    if not (times > 0).all() or not np.isfinite(times).all():
        raise StudyError("a measured time is above zero")
    each = 1 / times
    (latency, slope), *_ = np.linalg.lstsq(np.stack([each, sizes * each], axis=1), np.ones(len(times)), rcond=None)
    if latency < 0:  # no link is early: the best without a latency
        latency, slope = 0.0, float((sizes * each).sum() / ((sizes * each) ** 2).sum())
    if slope <= 0:
        raise StudyError("the measured times do not grow with the size: there is no bandwidth in them")
    return Fit(round(latency), round(SECOND / slope))
