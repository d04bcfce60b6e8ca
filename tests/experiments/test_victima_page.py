"""What benchmarks/victima.py makes of runs: its cycles at another stall factor are those of a run with that one."""

from pathlib import Path

import pytest

import tiersim
from tests.benchmarks import load_benchmark
from tests.models.test_knobs import POLICY
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import Row, StudyResult

ROOT = Path(tiersim.__file__).parents[1]
VICTIMA = ROOT / "experiments" / "library" / "victima.yaml"


BENCHMARK = load_benchmark("victima")


def run(factors: tuple[str, str]) -> StudyResult:
    """Two workloads with these stall factors, small and as plain Python."""
    trace = "{{use: generated/gups, references: 3k, warm_up: 500, footprint: {} MiB}}"
    points = [
        f"{{trace: {trace.format(size)}, system.core.stall_factor: {factor}}}"
        for size, factor in zip((16, 64), factors, strict=True)
    ]
    sets = [f"sweep.list=[{', '.join(points)}]", "claims=null", "repeat=null"]
    return tiersim.run(VICTIMA, [*sets, "system.caches.l1d.policy=plain.py:Plain"], keep=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyResult, StudyResult]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "plain.py").write_text(POLICY, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        first = run(("50 %", "20 %"))
        base = [row for row in first.rows if row.factors["what_if"] == "base"]
        # what each workload needs for 40 %, with the digits that a study has
        needed = [0.4 / 0.6 * BENCHMARK.rest(row) / BENCHMARK.exposed(row) for row in base]
        return first, run((f"{100 * needed[0]:.7f} %", f"{100 * needed[1]:.7f} %"))


def of(result: StudyResult, variant: str) -> list[Row]:
    return [row for row in result.rows if row.factors["what_if"] == variant]


def test_cycles_at_another_share_are_those_of_a_run_there(runs: tuple[StudyResult, StudyResult]) -> None:
    first, other = runs
    base = of(first, "base")
    way = BENCHMARK._at_share(base, 0.4)
    for row in of(other, "base"):
        assert row.metrics["translation.share"] == pytest.approx(0.4)
    for variant in ("base", "Victima", "nested POM-TLB"):
        found = [way(row) for row in of(first, variant)]
        assert found == pytest.approx([BENCHMARK.cycles(row) for row in of(other, variant)], rel=1e-6)


def test_one_factor_gives_the_share_on_average(runs: tuple[StudyResult, StudyResult]) -> None:
    base = of(runs[0], "base")
    factor = BENCHMARK._one_factor(base)
    parts = [(factor * BENCHMARK.exposed(row), BENCHMARK.rest(row)) for row in base]
    assert sum(own / (own + rest) for own, rest in parts) / 2 == pytest.approx(0.3, abs=1e-5)


def test_the_tables_hold_all_variants(runs: tuple[StudyResult, StudyResult]) -> None:
    first, _ = runs
    text = BENCHMARK.means(first)
    variants = dict.fromkeys(row.factors["what_if"] for row in first.rows)
    assert [line.partition("  ")[0] for line in text.splitlines()[2:-2]] == list(variants)
    assert text.splitlines()[2].split()[1] == "+0.0%"
    assert text.endswith("20 runs: 2 workloads, 1 seed\n")
    lines = BENCHMARK.calibrations(first).splitlines()
    assert len(lines) == 2 + len(BENCHMARK.PAIRS) + 2
    _, third = (float(cell.rstrip("%")) for cell in (lines[2].split()[-3], lines[2].split()[-2]))
    assert third > float(lines[2].split()[-4].rstrip("%"))  # the more translation takes, the more Victima gives


def test_each_figure_has_a_name_or_none() -> None:
    assert set(BENCHMARK.FIGURES) <= set(BENCHMARK.STUDIES)
    for study, names in BENCHMARK.FIGURES.items():
        figures = make_plan(VICTIMA.with_name(f"{study}.yaml")).report.figures
        assert figures is not None
        assert len(figures) == len(names), study
