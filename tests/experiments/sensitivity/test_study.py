"""Studies with a sensitivity, from YAML to the terminal: against formulas, whole, resumed, and where samples fail."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tiersim
from tests.experiments.test_run import content, simulations
from tiersim._base import units
from tiersim._base.errors import StudyError
from tiersim.cli.run import run_command
from tiersim.experiments import runner
from tiersim.experiments.opened import open_result
from tiersim.experiments.results import StudyResult
from tiersim.experiments.scenarios.memory_hierarchy import MemoryHierarchy
from tiersim.experiments.sensitivity.result import SensitivityResult

STUDY = """\
# What decides the time of an access?
study: small
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 5k, footprint: 64 KiB, write_share: 20 %, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 1 ns}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
"""
TWO = "    system.caches.l1.latency: {range: [1 ns, 9 ns]}\n    system.memory.latency: {range: [60 ns, 140 ns]}\n"
BLOCK = f"sensitivity:\n  outputs: [average_access_time]\n  samples: 32\n  factors:\n{TWO}"
L1, MEMORY = "system.caches.l1.latency", "system.memory.latency"
TIME = "average_access_time"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(body: str, *sets: str, **more: Any) -> StudyResult:
    Path("s.yaml").write_text(STUDY + body, encoding="utf-8")
    return tiersim.run("s.yaml", sets, **({"keep": False} | more))


def sensitivity(body: str, *sets: str, **more: Any) -> SensitivityResult:
    found = run(body, *sets, **more).sensitivity
    assert found is not None
    return found


# the answer is that of a formula


def test_sobol_finds_the_variance_of_a_sum() -> None:
    """The mean time of an access is l + m t: its variance is that of l plus m^2 times that of t, and no more."""
    result = run(BLOCK)
    misses = result.rows[0].metrics["memory.reads"] / 5000
    assert 0.1 < misses < 0.9
    found = result.sensitivity
    assert found is not None
    (one,) = found.indices
    parts = [8**2, (80 * misses) ** 2]  # of uniform factors, each over 12
    for kind in ("first", "total"):
        for estimate, part in zip(one.indices.kinds[kind], parts, strict=True):
            assert estimate is not None
            assert estimate.low is not None
            assert estimate.high is not None
            assert estimate.low <= part / sum(parts) <= estimate.high
            assert estimate.high - estimate.low < 1
    ((pair, second),) = one.indices.second.items()
    assert pair == (L1, MEMORY)
    assert second.low is not None
    assert second.low < 0.01 < 0.5
    assert found.csv().count("\n") == 1 + 32 * 6
    (top, *_), (bottom, *_) = one.leading()
    assert (top, bottom) == (MEMORY, L1)
    share = one.indices.kinds["first"][1]
    assert share is not None
    assert found.sections()[0].text[0].startswith(f"{MEMORY} explains {min(100, round(100 * share.value))} % of the")


def test_morris_finds_the_slopes_of_a_sum() -> None:
    result = run(BLOCK, "sensitivity.method=morris", "sensitivity.samples=4")
    misses = result.rows[0].metrics["memory.reads"] / 5000
    assert result.sensitivity is not None
    (one,) = result.sensitivity.indices
    mu, spread = one.indices.kinds["mu"], one.indices.kinds["sigma"]
    # a step of a range lies between the steps of a picosecond
    assert [held.value for held in mu if held] == pytest.approx([8, 80 * misses], rel=1e-4)
    assert [held.value for held in spread if held] == pytest.approx([0, 0], abs=1e-3)


@pytest.mark.parametrize(("method", "samples"), [("pawn", 64), ("delta", 64)])
def test_the_others_name_the_same_factor(method: str, samples: int) -> None:
    found = sensitivity(BLOCK, f"sensitivity.method={method}", f"sensitivity.samples={samples}")
    (one,) = found.indices
    assert [name for name, _ in one.leading()] == [MEMORY, L1]
    assert found.sections()[0].text[0].startswith(MEMORY)
    assert len(found.rows) == samples + 1


# samples are runs of their own


def test_samples_are_no_rows_of_the_study() -> None:
    result = run(BLOCK, keep=True)
    assert [row.label for row in result.rows] == ["base"]
    assert result.complete
    assert result.to_pandas().shape[0] == 1
    text = Path("results/small/runs.csv").read_text()
    assert text.count("\n") == 2
    lines = list(csv.DictReader(Path("results/small/samples.csv").read_text().splitlines()))
    assert len(lines) == 32 * 6
    assert {line["sample"] for line in lines} == {str(at) for at in range(1, 32 * 6 + 1)}
    for line in lines:
        assert 1 <= float(line[L1].split()[0]) <= 9000
        assert line["status"] == "done"
    assert len({line[TIME] for line in lines[:6]}) == 4  # of two factors, the pairs are mixed both ways
    assert simulations("results/small") == 1  # latency moves no line: all runs share one simulation


def test_the_same_question_gives_the_same_bytes() -> None:
    run(BLOCK, out="one", keep=True)
    run(BLOCK, out="two", keep=True, workers=2)
    assert content("one") == content("two")
    run(BLOCK, "sensitivity.seed=1", out="three", keep=True)
    assert content("one")["samples.csv"] != content("three")["samples.csv"]


def test_a_study_that_is_broken_off_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    body = f"what_if: {{larger: {{system.caches.l1.capacity: 8 KiB}}}}\n{BLOCK}".replace("sensitivity:", BOTH)
    whole = run(body, out="whole", keep=True)
    settle, made = runner._Run._settle, []

    def broken(self: Any, *args: Any) -> None:
        settle(self, *args)
        made.append(1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner._Run, "_settle", broken)
        with pytest.raises(KeyboardInterrupt, match="run again to go on"):
            run(body, out="broken", keep=True)
    assert made
    again = run(body, out="broken", keep=True)
    assert simulations("broken") < simulations("whole")
    assert content("broken") == content("whole")
    assert again.to_dict() | {"folder": ""} == whole.to_dict() | {"folder": ""}
    run(body, out="broken", keep=True)
    assert simulations("broken") == 0


BOTH = "sensitivity:\n  at: all"


def test_what_is_the_same_after_rounding_runs_once() -> None:
    found = sensitivity(
        "sensitivity: {outputs: average_access_time, samples: 16, factors: {system.memory.latency: [80 ns, 90 ns], "
        "system.caches.l1.capacity: [2 KiB, 4 KiB, 8 KiB]}}"
    )
    assert len(found.samples["base"]) == 16 * 6
    assert len(found.rows) == 7  # and the study's own point
    assert len({row.key for row in found.rows}) == 6
    assert found.failures == []


def test_repeated_samples_are_means_over_seeds() -> None:
    body = STUDY + "repeat: {seeds: 3}\n" + BLOCK.replace("32", "2")
    body = body.replace("latency: 1 ns}", "latency: 1 ns, policy: random}")
    Path("s.yaml").write_text(body)
    found = tiersim.run("s.yaml", keep=False).sensitivity
    assert found is not None
    assert {row.seed for row in found.rows} == {0, 1, 2}
    for answer in found.samples["base"]:
        times = [row.metrics[TIME] for row in answer.rows]
        assert len(times) == 3
        assert len(set(times)) > 1
        assert answer.value(TIME) == pytest.approx(sum(times) / 3)
    lines = list(csv.DictReader(found.csv().splitlines()))
    assert [line["seed"] for line in lines[:3]] == ["0", "1", "2"]
    assert len(lines) == 2 * 6 * 3


def test_without_chance_a_sample_runs_once() -> None:
    found = sensitivity("repeat: {seeds: 3}\n" + BLOCK.replace("32", "2"))
    assert all(len(answer.rows) == 1 for answer in found.samples["base"])


# failures

POLICIES = (
    "sensitivity:\n  outputs: [caches.l1.misses]\n  method: {method}\n  samples: {samples}\n  failed: {failed}\n"
    "  factors:\n"
    "    system.caches.l1.policy: {{categories: [lru, fifo, belady]}}\n"
    "    system.caches.l1.capacity: [2 KiB, 4 KiB]\n"
)


def failing(failed: str, method: str = "sobol", samples: int = 8, keep: bool = False) -> StudyResult:
    """Belady's policy cannot be run where a cache is inclusive."""
    below = "    l2: {capacity: 32 KiB, ways: 4, latency: 5 ns, inclusion: inclusive}\n"
    text = STUDY.replace("latency: 1 ns}\n", f"latency: 1 ns}}\n{below}")
    Path("s.yaml").write_text(text + POLICIES.format(failed=failed, method=method, samples=samples), encoding="utf-8")
    return tiersim.run("s.yaml", keep=keep)


def test_failed_samples_are_refused() -> None:
    result = failing("refuse")
    found = result.sensitivity
    assert found is not None
    (one,) = found.indices
    assert one.indices.kinds == {}
    assert one.indices.failed > 0
    assert {label for label, _ in found.failures} == {
        "policy belady, capacity 2 KiB",
        "policy belady, capacity 4 KiB",
    }
    error = runner.unfinished(result)
    assert error is not None
    assert "2 of the sensitivity's samples failed; the first: policy belady, capacity" in str(error)
    assert "failed: drop" in error.remedy
    assert [row.status for row in result.rows] == ["done"]
    assert any("belady in l1 needs references" in text for text in found.sections()[0].text)


@pytest.mark.parametrize("method", ["sobol", "morris", "pawn", "delta"])
@pytest.mark.parametrize("failed", ["drop", "median"])
def test_failed_samples_are_handled_and_counted(failed: str, method: str) -> None:
    result = failing(failed, method, 8 if method in ("sobol", "morris") else 40)
    found = result.sensitivity
    assert found is not None
    assert runner.unfinished(result) is None
    (one,) = found.indices
    lost = sum(bool(answer.why) for answer in found.samples["base"])
    assert one.indices.failed == lost > 0
    assert any(f"{lost} of {found.spec.runs} samples failed" in text for text in found.sections()[0].text)
    if failed == "median":
        assert one.indices.used == found.spec.runs
    else:
        assert one.indices.used < found.spec.runs


def test_a_failure_while_it_runs_is_one_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = MemoryHierarchy.measure

    def sometimes(self: Any, simulated: Any) -> Any:
        measured = measure(self, simulated)
        if self.system.memory.latency.amount > 120_000:
            measured.metrics.pop(TIME)
        return measured

    monkeypatch.setattr(MemoryHierarchy, "measure", sometimes)
    found = sensitivity(BLOCK, "sensitivity.failed=drop", "sensitivity.method=pawn")
    (one,) = found.indices
    assert one.indices.failed == len(found.failures) > 0
    assert found.failures[0][1] == f"it has no {TIME}"


def test_a_sample_that_cannot_be_is_the_studys_error() -> None:
    body = BLOCK.replace("system.memory.latency: {range: [60 ns, 140 ns]}", "system.caches.l1.ways: {range: [1, 8]}")
    with pytest.raises(StudyError, match=r"no multiple of . ways \(sample latency .*, ways .\)") as caught:
        run(body)
    assert str(caught.value.place).startswith("s.yaml:7:")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            "sensitivity.outputs=[average_acess_time]",
            "no metric 'average_acess_time'; did you mean 'average_access_time'",
        ),
        ("sensitivity.outputs=[speedup]", "there is no metric 'speedup'"),
    ],
)
def test_an_unknown_output_points_to_itself(edit: str, message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        run(BLOCK, edit)
    assert str(caught.value.place) == "command line"


# how it is told


def test_json_has_all_of_it() -> None:
    Path("s.yaml").write_text(STUDY + BLOCK, encoding="utf-8")
    done = CliRunner().invoke(run_command, ["s.yaml", "--quiet", "--json", "--set", "sensitivity.samples=4"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)["sensitivity"]
    assert (told["at"], told["method"], told["samples"], told["seed"]) == (["base"], "sobol", 4, 0)
    assert told["factors"][L1] == {"kind": "range", "range": ["1 ns", "9 ns"]}
    assert (told["runs"], told["failures"], told["outputs"]) == (17, [], [TIME])
    (one,) = told["indices"]
    assert one["first"].keys() == one["total"].keys() == {L1, MEMORY}
    assert one["total"][L1].keys() == {"value", "low", "high"}
    assert [pair["factors"] for pair in one["second"]] == [[L1, MEMORY]]
    assert "crossovers" not in told


def test_the_terminal_shows_indices_and_the_answer() -> None:
    Path("s.yaml").write_text(STUDY + BLOCK, encoding="utf-8")
    done = CliRunner().invoke(run_command, ["s.yaml", "--quiet"])
    assert done.exit_code == 0, done.output
    assert "What matters of average_access_time (sobol, 192 samples)" in done.output
    assert f"{MEMORY} explains " in done.output
    dry = CliRunner().invoke(run_command, ["s.yaml", "--dry-run"])
    assert "small: 130 runs (129 of the sensitivity), 130 of them stored already; 0 simulations left" in dry.output


def test_outputs_are_those_of_the_report_with_a_direction() -> None:
    report = "report: {metrics: [memory.reads, average_access_time, accesses]}\n"
    found = sensitivity(report + BLOCK.replace("  outputs: [average_access_time]\n", ""), "sensitivity.samples=2")
    assert found.outputs == ("memory.reads", TIME)


def test_the_resolved_study_tells_it() -> None:
    run(BLOCK, keep=True)
    text = Path("results/small/resolved.yaml").read_text()
    assert "sensitivity:\n  at:\n  - base\n  method: sobol\n  samples: 32\n  seed: 0\n  second_order: true\n" in text


# where the winner changes

RIVAL = "what_if: {slow and large: {system.caches.l1.capacity: 16 KiB, system.caches.l1.latency: 9 ns}}\n"
OVER_MEMORY = (
    "sensitivity:\n  at: all\n  method: morris\n  samples: 2\n  outputs: [average_access_time]\n"
    "  factors: {system.memory.latency: {range: [5 ns, 200 ns]%s}}\n"
)


def test_the_crossing_of_two_lines_is_found() -> None:
    """1 + m t and 9 + n t cross at t = 8 / (m - n)."""
    result = run(RIVAL + OVER_MEMORY % "")
    small, large = (row.metrics["memory.reads"] / 5000 for row in result.rows)
    exact = 8 / (small - large)
    assert 10 < exact < 150
    found = result.sensitivity
    assert found is not None
    (course,) = found.courses
    (change,) = course.changes
    assert (change.before, change.after) == ("base", "slow and large")
    low, high = (units.parse(text, "time").amount / 1000 for text in (change.low, change.high))
    assert low <= exact <= high
    assert high - low <= 1.01 * 195 / 256
    assert len(course.settings) == 9 + 5  # nine places, and 32 parts halved five times
    assert any(
        text.startswith("Best average_access_time along system.memory.latency: base from 5 ns") for text in told(found)
    )


def told(found: SensitivityResult) -> tuple[str, ...]:
    return found.sections()[0].text


def test_it_is_not_looked_for_between_steps() -> None:
    found = sensitivity(RIVAL + OVER_MEMORY % ", step: 13 ns")
    (course,) = found.courses
    (change,) = course.changes
    low, high = (int(text.split()[0]) for text in (change.low, change.high))
    assert high - low == 13


def test_no_crossover_is_said_as_such() -> None:
    found = sensitivity(RIVAL + OVER_MEMORY % "", "sensitivity.factors={system.memory.latency: [1 ns, 2 ns]}")
    assert [course.changes for course in found.courses] == [[]]
    assert (
        "No crossover along system.memory.latency: base has the best average_access_time throughout (1 ns to 2 ns)."
        in told(found)
    )
    assert found.public()["crossovers"][0]["best"] == ["base", "base"]


def test_levels_change_between_neighbours_and_categories_have_winners() -> None:
    factors = "sensitivity.factors={system.memory.latency: [5 ns, 10 ns, 150 ns, 200 ns]}"
    (course,) = sensitivity(RIVAL + OVER_MEMORY % "", factors).courses
    assert [(change.low, change.high) for change in course.changes] == [("10 ns", "150 ns")]
    listed = OVER_MEMORY.replace("range: [5 ns, 200 ns]%s", "categories: [5 ns, 150 ns, 10 ns]")
    (course,) = sensitivity(RIVAL + listed).courses
    assert course.changes == []
    assert course.winners == ("base", "slow and large", "base")


def test_a_map_has_a_winner_in_each_cell() -> None:
    body = RIVAL + OVER_MEMORY % ""
    keys = [MEMORY, "system.caches.l1.write"]
    factors = f"{{{keys[0]}: [5 ns, 200 ns], {keys[1]}: {{categories: [back, through]}}}}"
    found = sensitivity(body, f"sensitivity.factors={factors}", f"sensitivity.map=[{keys[0]}, {keys[1]}]")
    assert found.map is not None
    assert found.map.settings == (("5 ns", "200 ns"), ("back", "through"))
    assert [row[0] for row in found.map.cells] == ["base", "slow and large"]
    free = sensitivity(body, f"sensitivity.factors={factors}", "sensitivity.map=true")
    assert free.map is not None
    assert sorted(free.map.factors) == sorted(keys)


# what speed is worth


def test_a_faster_memory_is_worth_its_part_of_the_time() -> None:
    """With 1 + m t, memory that is p faster takes t / (1 + p)."""
    result = run(BLOCK + "  speedups: [25 %, 100 %]\n", "sensitivity.samples=2")
    found = result.sensitivity
    assert found is not None
    own = result.rows[0].metrics
    misses = own["memory.reads"] / 5000
    memory = next(held for held in found.speedups if held.factor == MEMORY)
    assert memory.own == "80 ns"
    assert [step.setting for step in memory.steps] == ["64 ns", "40 ns"]
    assert memory.ratios[TIME] == pytest.approx([(1 + misses * t) / own[TIME] for t in (64, 40)])
    assert memory.elasticity(TIME) == pytest.approx(math.log((1 + misses * 64) / own[TIME]) / math.log(1.25))
    change = 100 * ((1 + misses * 64) / own[TIME] - 1)
    assert f"{MEMORY} 25 % faster: {TIME} {change:+.3g} %." in told(found)


def test_what_is_no_rate_and_no_time_is_left_out() -> None:
    body = BLOCK.replace("system.memory.latency: {range: [60 ns, 140 ns]}", "system.caches.l1.capacity: [2 KiB, 4 KiB]")
    found = sensitivity(body + "  speedups: 10 %\n", "sensitivity.samples=2")
    assert [held.factor for held in found.speedups] == [L1]


# its folder


def test_the_folder_is_opened_with_it() -> None:
    body = RIVAL + OVER_MEMORY % "" + "  speedups: 10 %\n"
    result = run(body, keep=True)
    again = open_result("results/small")
    assert again.to_dict() == result.to_dict()
    assert again.sections() == result.sections()
    assert again.sensitivity is not None
    assert again.sensitivity.csv() == Path("results/small/samples.csv").read_text()


def test_the_folder_keeps_samples_that_failed() -> None:
    result = failing("drop", keep=True)
    again = open_result("results/small")
    assert again.to_dict() == result.to_dict()
    assert again.sensitivity is not None
    assert len(again.sensitivity.failures) == 2


def test_a_damaged_sensitivity_is_told() -> None:
    run(BLOCK, "sensitivity.samples=2", keep=True)
    path = Path("results/small/study.json")
    document = json.loads(path.read_text())
    document["sensitivity"]["metrics"] = [{"colour": 3}]
    path.write_text(json.dumps(document))
    with pytest.raises(StudyError, match="its sensitivity is none"):
        open_result("results/small")


# numbers that nobody measured


def test_auto_takes_what_carries_an_uncertainty() -> None:
    Path("s.yaml").write_text(AUTO, encoding="utf-8")
    result = tiersim.run("s.yaml", ["sensitivity.samples=2"], keep=True)
    found = result.sensitivity
    assert found is not None
    assert found.spec.method == "morris"
    assert found.spec.at == ("base", "larger")
    keys = [factor.key for factor in found.factors]
    assert "system.memory.latency" in keys
    assert "system.caches.l2.capacity" not in keys
    assert open_result("results/auto").to_dict() == result.to_dict()
    assert len(found.indices) == 2 * len(found.outputs)


AUTO = """\
study: auto
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 5k, footprint: 64 KiB, write_share: 20 %, seed: 1}
system: desktop-cpu
what_if:
  larger: {system.caches.l2.capacity: 2 MiB}
sensitivity: auto
"""


def test_a_variant_without_its_trace_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd()))
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)
    absent = "what_if: {elsewhere: {trace: {use: public/csapp-long}}}\n"
    result = run(absent + (OVER_MEMORY % ""), keep=True)
    found = result.sensitivity
    assert found is not None
    assert found.spec.at == ("base",)
    assert (found.courses, found.ranks) == ([], {})
    assert len(result.skipped) == 1
    assert open_result("results/small").to_dict() == result.to_dict()
