"""Latency and bandwidth from measured times, and how well they tell times that they have not seen."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import StudyError
from tiersim.models.links.fit import Fit, fit
from tiersim.sim.queued.clock import Clock

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "links_measured.py"))
MIRROR, judged, measured = (BENCHMARK[name] for name in ("MIRROR", "judged", "measured"))
SIZES = np.arange(1, 200, dtype=np.int64) * 65536


@given(st.integers(0, 10**8), st.integers(10**8, 10**12))
def test_a_link_is_found_again_from_its_times(latency: int, bandwidth: int) -> None:
    link = Fit(latency, bandwidth)
    found = fit(SIZES, link.times(SIZES))
    assert found.latency == pytest.approx(latency, abs=2 + latency / 1e6)
    assert found.bandwidth == pytest.approx(bandwidth, rel=1e-6)
    assert found.error(SIZES, link.times(SIZES)) < 1e-6


def test_the_fit_is_what_the_link_does() -> None:
    made = Fit(5_000_000, 25 * 10**9)
    clock = Clock()
    link = made.wire().link(clock, "nvlink")
    event = link.send(1 << 20)
    clock.run()
    assert event.value == pytest.approx(made.times(np.array([1 << 20]))[0], abs=1)


@given(st.integers(1, 1000))
@settings(deadline=None)
def test_no_other_link_near_by_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = Fit(8_000_000, 200 * 10**9).times(SIZES) * rng.uniform(0.8, 1.2, len(SIZES))
    found = fit(SIZES, times)
    best = ((found.times(SIZES) / times - 1) ** 2).sum()
    for latency, bandwidth in ((1.02, 1), (0.98, 1), (1, 1.01), (1, 0.99)):
        other = Fit(round(found.latency * latency), round(found.bandwidth * bandwidth))
        assert ((other.times(SIZES) / times - 1) ** 2).sum() >= best


def test_a_latency_is_never_below_zero() -> None:
    found = fit(SIZES, Fit(0, 10**9).times(SIZES) - 10_000_000)
    assert found.latency == 0
    assert found.bandwidth > 10**9


def test_what_has_no_link_in_it() -> None:
    one = np.array([5, 5])
    with pytest.raises(StudyError, match="two sizes or more"):
        fit(one, np.array([1.0, 2.0]))
    for times in ([0.0, 1.0], [np.nan, 1.0]):
        with pytest.raises(StudyError, match="a measured time is above zero"):
            fit(np.array([1, 2]), np.array(times))
    with pytest.raises(StudyError, match="do not grow with the size"):
        fit(np.array([1, 2]), np.array([2.0, 0.5]))


@pytest.mark.skipif(not MIRROR.is_dir(), reason="TIERSIM_TRACE_MIRROR names no folder of traces")
@pytest.mark.parametrize(
    ("file", "per_node", "latency", "bandwidth", "error"),
    [  # as `python benchmarks/links_measured.py` prints them: us, GB/s, share
        ("vidur_a100_dgx_send_recv.csv.gz", 2, 13.1, 286.1, 0.102),
        ("vidur_a100_dgx_send_recv.csv.gz", 1, 29.0, 7.8, 0.015),
        ("vidur_a100_pairwise_nvlink_send_recv.csv.gz", 2, 7.5, 358.8, 0.060),
    ],
)
def test_measured_sends_between_two_gpus(
    file: str, per_node: int, latency: float, bandwidth: float, error: float
) -> None:
    sizes, times = measured(file, per_node)
    found, mean, _ = judged(sizes, times)
    assert found.latency / 1e6 == pytest.approx(latency, abs=0.05)
    assert found.bandwidth / 1e9 == pytest.approx(bandwidth, abs=0.05)
    assert mean == pytest.approx(error, abs=5e-4)
