"""Sobol's indices of a simulated M/M/1 queue, against those of 1 / (service rate - arrival rate)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tiersim.experiments.sensitivity.methods import analyse
from tiersim.experiments.sensitivity.result import SensitivityResult

STUDY = Path(__file__).with_name("one-queue.yaml")
ARRIVALS, SERVICES = (1.0, 3.0), (0.080, 0.160)  # a second; seconds: the ends of the study's ranges


def sojourn(arrivals: Any, service: Any) -> Any:
    """The mean time in an M/M/1 queue; services take `service` on average."""
    return 1 / (1 / service - arrivals)


def exact() -> dict[str, tuple[float, float]]:
    """The indices of arrivals and service, by Gauss and Legendre's rule of 200 points in each."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    shares, weights = (nodes + 1) / 2, weights / 2
    first, second = (low + (high - low) * shares for low, high in (ARRIVALS, SERVICES))
    times = sojourn(first[:, None], second[None, :])
    mean = weights @ times @ weights
    whole = weights @ (times - mean) ** 2 @ weights
    parts = [weights @ (times @ weights - mean) ** 2 / whole, weights @ (weights @ times - mean) ** 2 / whole]
    return {"first": (parts[0], parts[1]), "total": (1 - parts[1], 1 - parts[0])}


@cache
def simulated() -> SensitivityResult:
    found = tiersim.run(STUDY, keep=False).sensitivity
    assert found is not None
    return found


def test_the_exact_indices_are_those_of_an_integral() -> None:
    """Means over both have closed forms: of 1 / (m - a) over a it is a logarithm."""
    found = exact()
    assert sum(found["first"]) < 1 < sum(found["total"])
    rates = np.linspace(*SERVICES, 200_001)
    over = np.log((1 / rates - ARRIVALS[0]) / (1 / rates - ARRIVALS[1])) / (ARRIVALS[1] - ARRIVALS[0])
    drawn = np.random.default_rng(0).uniform(size=(2, 1_000_000))
    times = sojourn(
        *(low + (high - low) * share for (low, high), share in zip((ARRIVALS, SERVICES), drawn, strict=True))
    )
    assert np.var(over) / np.var(times) == pytest.approx(found["first"][1], rel=0.01)


def test_simulated_indices_are_within_their_intervals_of_the_exact_ones() -> None:
    (found,) = simulated().indices
    for kind, parts in exact().items():
        for estimate, part in zip(found.indices.kinds[kind], parts, strict=True):
            assert estimate is not None
            assert estimate.low is not None
            assert estimate.high is not None
            assert estimate.low <= part <= estimate.high, (kind, part, estimate)
            assert estimate.high - estimate.low < 0.7


def test_finite_runs_change_the_indices_little() -> None:
    """At the same samples the formula has the same indices but for the noise of runs of 2,000 requests.

    All samples have the same draws, stretched: a run is off by a factor that changes slowly with the load, and a factor
    that all have in common changes no index. What is left, half of the span of these factors, is to the mean what the
    standard deviation of the output is to it times at most half of the change of an index.
    """
    spec, (found,) = simulated().spec, simulated().indices
    first, second = (low + (high - low) * spec.shares[:, at] for at, (low, high) in enumerate((ARRIVALS, SERVICES)))
    times = sojourn(first, second)
    runs = np.array([answer.value("e2e.mean") / 1000 for answer in simulated().samples["base"]])
    off = np.ptp(runs / times) / 2
    assert 0 < off < 0.025
    most = 2 * off * times.mean() / times.std()
    factors = [factor.factor() for factor in spec.factors or ()]
    formula = analyse("sobol", factors, spec.shares, times, spec.seed, second_order=False)
    for kind in ("first", "total"):
        for one, other in zip(found.indices.kinds[kind], formula.kinds[kind], strict=True):
            assert one is not None
            assert other is not None
            assert abs(one.value - other.value) < most < 0.15
