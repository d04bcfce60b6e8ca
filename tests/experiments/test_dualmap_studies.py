"""The library's studies of DualMap, each on a small trace."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import tiersim
from tiersim.experiments.figures import draw
from tiersim.experiments.results import StudyResult

LIBRARY = Path(tiersim.__file__).parent / "experiments" / "library"
TRACE = "trace={use: generated/conversations, requests: 400, turns: 4, rate: 8 /s, seed: 1, warm_up: 50, limit: 400}"
FAST = "system.instance.time_model={use: linear, prefill: 1 ms/token}"  # slow servers: these prompts are short


def small(name: str, *sets: str) -> StudyResult:
    """Each figure is drawn."""
    result = tiersim.run(LIBRARY / name, [TRACE, "claims=null", "repeat=null", *sets], keep=False)
    assert {row.status for row in result.rows} == {"done"}, [row.error for row in result.rows if row.error]
    assert result.skipped == []
    if importlib.util.find_spec("matplotlib"):
        for spec in result.figures:
            draw(result, spec)
    return result


def kept(result: StudyResult) -> dict[str, float]:
    """The attainment of each variant at the last rate."""
    return {str(row.factors["what_if"]): row.metrics["slo_attainment"] for row in result.rows}


def test_dualmap_runs() -> None:
    found = kept(small("dualmap.yaml", FAST, "sweep.load.rate=[4 /s, 16 /s]"))
    assert len(found) == 11
    assert found["no queues"] != found["no rebalancing"] != found["base"]
    assert found["one candidate"] < found["base"]


def test_the_studies_beside_it_run() -> None:
    assert len(kept(small("dualmap-servers.yaml", FAST))) == 5
    assert len(kept(small("dualmap-clock.yaml", FAST, "sweep.load.rate=[4 /s, 8 /s]"))) == 6
    assert len(kept(small("dualmap-routers.yaml", FAST, "sweep.load.rate=[4 /s, 8 /s]"))) == 15
    found = small("dualmap-engine.yaml", "sweep.load.rate=[4 /s, 40 /s]")
    assert len(kept(found)) == 7
    assert all(row.metrics["tpot.mean"] > 0 for row in found.rows)


def test_routers_may_see_late_and_instances_fail() -> None:
    late = small("dualmap-stale.yaml", FAST, "sweep={system.cluster.refresh: [1 ms, 10 s]}")
    assert len(kept(late)) == 8
    attained = {(row.factors["what_if"], row.factors["system.cluster.refresh"]): row.metrics for row in late.rows}
    assert attained["least loaded", "1 ms"]["slo_attainment"] > attained["least loaded", "10 s"]["slo_attainment"]
    changes = "system.cluster.changes=[{at: 10 s, fail: [3]}, {at: 20 s, start: [3]}]"
    failing = small("dualmap-failures.yaml", FAST, "sweep.load.rate=[8 /s]", changes)
    assert len(kept(failing)) == 6
    assert any(row.metrics["rerouted"] for row in failing.rows)
    assert all(7 < row.metrics["up"] < 8 for row in failing.rows)
    assert all(row.metrics["lost"] == 0 for row in failing.rows)


def test_a_cluster_may_grow() -> None:
    sets = ("sweep.load.rate=[4 /s]", "system.cluster.changes=[{at: 60 s, start: [4, 5, 6, 7]}]")
    growing = small("dualmap-growing.yaml", FAST, *sets)
    assert len(kept(growing)) == 7
    up = {(row.factors["what_if"], row.factors["system.cluster.up"]): row.metrics for row in growing.rows}
    for variant in kept(growing):
        assert 4 < up[variant, 4]["up"] < 8 == up[variant, 8]["up"]
    hits = {up: metrics["prefix_hit_ratio.tokens"] for (name, up), metrics in up.items() if name == "cache affinity"}
    assert hits[4] != hits[8]


def test_rates_may_lie_nearer() -> None:
    result = small("dualmap-finer.yaml", FAST, "sweep.load.rate=[4 /s, 16 /s]")
    assert len(kept(result)) == 12
    assert result.claims is None


def test_more_instances_keep_more() -> None:
    sizes = "system.cluster.instances: [2, 4], trace.limit: [200, 400]"
    ends = "capacity.least: [1 /s, 2 /s], capacity.most: [64 /s, 128 /s]"
    result = small(
        "dualmap-sizes.yaml", FAST, f"sweep.zip={{{sizes}, {ends}}}", "capacity.within=10 %", "slo.ttft=1500 ms"
    )
    rates = {
        (row.factors["what_if"], row.factors["system.cluster.instances"]): row.metrics["capacity"]
        for row in result.rows
    }
    assert len(rates) == 10
    assert rates["min-TTFT", 4] > 1.2 * rates["min-TTFT", 2] > 0
