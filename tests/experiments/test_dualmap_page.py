"""What benchmarks/dualmap.py makes of runs: each cell again, from the rows of the study."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tiersim
from tests.benchmarks import load_benchmark
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import StudyResult

BENCHMARK = load_benchmark("dualmap")
LIBRARY = Path(tiersim.__file__).parent / "experiments" / "library"
TRACE = "trace={use: generated/conversations, requests: 300, turns: 4, rate: 8 /s, seed: 1, warm_up: 50, limit: 300}"
DRAWN = "load.arrivals=poisson"  # seeds differ
FAST = "system.instance.time_model={use: linear, prefill: 1 ms/token}"  # slow servers: these prompts are short


def run(name: str, *sets: str) -> StudyResult:
    return tiersim.run(LIBRARY / f"{name}.yaml", [TRACE, FAST, "claims=null", *sets], keep=False)


@pytest.fixture(scope="module")
def rates() -> StudyResult:
    return run("dualmap", "sweep.load.rate=[4 /s, 8 /s, 16 /s]", "repeat.seeds=2", "slo.ttft=2 s", DRAWN)


@pytest.fixture(scope="module")
def growing() -> StudyResult:
    change = "system.cluster.changes=[{at: 30 s, start: [4, 5, 6, 7]}]"
    return run("dualmap-growing", change, "sweep.load.rate=[2 /s, 4 /s]", "repeat.seeds=2")


def cells(text: str) -> Iterator[list[str]]:
    """The rows of a table under its head, without the line that counts runs."""
    for line in text.partition("\n\n")[0].splitlines()[2:]:
        yield re.split(r" {2,}", line.strip())


def test_a_grid_has_means_over_seeds(rates: StudyResult) -> None:
    for taken, unit, sign in (("slo_attainment", 0.01, "%"), ("ttft.p90", 1000, " s")):
        text = BENCHMARK.grid(rates, "load.rate", taken, *(("{:.1%}",) if sign == "%" else ("{:.1f} s", 1000)))
        assert text.split("\n")[0].split() == ["4", "/s", "8", "/s", "16", "/s"]
        found = list(cells(text))
        assert len(found) == 11
        assert found[0][0] == "DualMap"
        for name, *numbers in found:
            for rate, number in zip(("4 /s", "8 /s", "16 /s"), numbers, strict=True):
                rows = [
                    row.metrics[taken] / unit
                    for row in rates.rows
                    if row.factors["what_if"] == name.replace("DualMap", "base") and row.factors["load.rate"] == rate
                ]
                assert len(rows) == 2
                assert float(number.removesuffix(sign)) == pytest.approx(sum(rows) / 2, abs=0.0501)


def test_candidates_stand_by_number(rates: StudyResult) -> None:
    found = list(cells(BENCHMARK.candidates(rates)))
    assert [row[0] for row in found] == ["1", "2", "3", "4"]
    means = []
    for name in BENCHMARK.CANDIDATES:
        means.append(np.mean([row.metrics["load_deviation"] for row in rates.rows if row.factors["what_if"] == name]))
    assert [float(row[1]) for row in found] == pytest.approx(means, abs=6e-4)
    for row, before, mean in zip(found[1:], means, means[1:]):
        low, high = (float(end) for end in row[3].split(" to "))
        assert low <= before - mean <= high
        assert float(row[2]) == pytest.approx(before - mean, abs=high - low)


def test_goodput_is_where_nine_of_ten_are_in_time(rates: StudyResult) -> None:
    found = {row[0]: row for row in cells(BENCHMARK.goodput(rates, "load.rate"))}
    reached = 0
    for name, row in found.items():
        variant = name.replace("DualMap", "base")
        kept = np.array(
            [
                [one.metrics["slo_attainment"] for one in rates.rows if one.factors["what_if"] == variant][place::2]
                for place in (0, 1)
            ]
        )
        if (kept[:, 0] < 0.9).any() or (kept[:, 2] > 0.9).any():
            assert row[1] == "-"
            continue
        reached += 1
        ends = [np.interp(-0.9, -each, [4, 8, 16]) for each in kept]  # attainment falls
        assert (np.diff(kept) <= 0).all()
        low, high = (float(end) for end in row[2].split(" to "))
        assert low <= np.mean(ends) <= high
        assert float(row[1]) == pytest.approx(np.mean(ends), abs=(high - low) / 10)
    assert reached >= 2


def test_periods_are_told_by_arrivals(growing: StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    periods = {"up to 30 s": (0, 0.5), "then": (0.5, np.inf)}
    monkeypatch.setattr(BENCHMARK, "PERIODS", periods)
    found = {row[0]: row[1:] for row in cells(BENCHMARK.periods(growing, "4 /s", BENCHMARK.hits, "{:.1%}"))}
    assert len(found) == 7
    expected = []
    for up in ("4", "8"):
        for begin, end in ((0, 30_000), (30_000, np.inf)):
            hit = asked = 0.0
            for row in growing.rows:
                if (row.factors["what_if"], row.factors["load.rate"]) != ("cache affinity", "4 /s"):
                    continue
                if str(row.factors["system.cluster.up"]) != up:
                    continue
                table = row.table("requests")
                for number in range(50, 300):  # after the warm-up
                    if begin <= table["arrival"][number] < end:
                        hit += float(table["hit"][number])
                        asked += float(table["input"][number])
            expected.append(100 * hit / asked)
    assert [float(cell.removesuffix("%")) for cell in found["cache affinity"]] == pytest.approx(expected, abs=0.0501)
    assert expected[1] < expected[3]  # after it grew: not all is where it is asked for


def test_the_largest_rates_stand_by_size() -> None:
    ends = "trace.limit: [200, 300], capacity.least: [1 /s, 2 /s], capacity.most: [64 /s, 128 /s]"
    sets = (
        f"sweep.zip={{system.cluster.instances: [2, 4], {ends}}}",
        *("capacity.within=20 %", "slo.ttft=1500 ms", "repeat=null"),
    )
    result = run("dualmap-sizes", *sets)
    row, *others = cells(BENCHMARK.sizes(result, "system.cluster.instances"))
    assert len(others) == 4
    small, large = (one.metrics["capacity"] for one in result.rows if one.factors["what_if"] == "base")
    assert float(row[1].split()[0]) == pytest.approx(small, abs=0.005)
    assert float(row[2].split()[0]) == pytest.approx(large, abs=0.005)
    assert row[3] == f"{large / small:.2f} x"


def test_each_study_has_what_its_table_goes_along() -> None:
    assert {f"{study}.yaml" for study in BENCHMARK.ALONG} == {
        path.name for path in LIBRARY.glob("dualmap*.yaml") if path.name != "dualmap-servers.yaml"
    }
    for study, along in BENCHMARK.ALONG.items():
        made = make_plan(LIBRARY / f"{study}.yaml", [TRACE])
        assert len({str(one.factors[along]) for one in made.runs}) > 1, study
