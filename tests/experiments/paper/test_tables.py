"""Tables of a paper: every number in full as CSV, and as LaTeX that compiles and says the same."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.experiments.paper.tex import check, printed, read_table
from tiersim.experiments.paper import tables
from tiersim.experiments.paper.latex import SPECIAL, escaped, label, to_latex, typeset
from tiersim.experiments.paper.tables import grids, to_csv
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.scenario import Metric
from tiersim.experiments.sections import Column, Grid, Section, Slot

METRICS = {
    "caches.l1.miss_ratio": Metric("caches.l1.miss_ratio", "ratio", "misses", "less"),
    "time": Metric("time", "ns", "time", "less"),
}
VALUES = {"base": [0.5, 0.52, 0.48], "50 % & more_": [0.4, 0.43, 0.40]}


def study(seeds: int = 3) -> StudyResult:
    rows = [
        Row(
            name,
            {"what_if": name, **({"seed": seed} if seeds > 1 else {})},
            seed,
            f"{name}{seed}",
            metrics={"caches.l1.miss_ratio": value, "time": 1000.5 * value},
        )
        for name, values in VALUES.items()
        for seed, value in enumerate(values[:seeds])
    ]
    rows.append(Row("broken", {"what_if": "broken"}, 0, "x", "failed", "no"))
    return StudyResult("a study", "How many?\n\nMore.", rows, [], METRICS, list(METRICS), "base", [], {})


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_variants_have_values_ends_and_changes_in_columns_of_their_own() -> None:
    result = study()
    variants, _ = grids(result)
    base, other, *_ = read(to_csv(variants))
    one, two = (held.metrics["caches.l1.miss_ratio"] for held in result.compare()[:2])
    assert (base["variant"], base["seeds"]) == ("base", "3")
    assert float(base["caches.l1.miss_ratio (ratio)"]) == one.value.value == pytest.approx(0.5)
    assert float(base["caches.l1.miss_ratio low (ratio)"]) == one.value.low
    assert float(base["caches.l1.miss_ratio high (ratio)"]) == one.value.high
    assert base["caches.l1.miss_ratio vs base (ratio)"] == ""
    assert two.ratio is not None
    assert float(other["caches.l1.miss_ratio vs base (ratio)"]) == two.ratio.value - 1
    assert float(other["caches.l1.miss_ratio vs base low (ratio)"]) == two.ratio.low - 1
    assert float(other["caches.l1.miss_ratio p"]) == two.p_adjusted


def test_runs_are_every_run_that_was_made() -> None:
    _, runs = grids(study())
    found = read(to_csv(runs))
    assert [row["caches.l1.miss_ratio (ratio)"] for row in found] == ["0.5", "0.52", "0.48", "0.4", "0.43", "0.4"]
    assert {row["variant"] for row in found} == set(VALUES)


def test_one_run_of_one_variant_is_a_table_too() -> None:
    result = study(1)
    result.rows = result.rows[:1]
    for grid in grids(result):
        _, _, (head, row) = read_table(to_latex(grid, result.study))
        assert (head[0], row[0]) == ("run", "base")


def test_the_latex_says_what_the_csv_says() -> None:
    result = study()
    caption, name, (head, base, other) = read_table(to_latex(grids(result)[0], result.study))
    assert caption == r"How many? Variants against base, with 95 \% intervals."
    assert name == "tab:a-study-variants"
    assert head[:4] == ["variant", "seeds", r"L1 miss ratio (\%)", r"\shortstack[r]{L1 miss ratio vs \\ base (\%)}"]
    assert (base[0], other[0]) == ("base", r"50 \% \& more\_")
    # by hand: mean 50 %, t(0.975, 2) = 4.303, deviation 2 %, over the root of 3
    assert base[2] == r"$50.0 \pm 5.0$"


def test_sections_are_written_as_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid("indices", "Indices", (Column("factor"), Column("S1")), ((Slot("a.b"), Slot("0.5", 0.5, 0.4, 0.6)),))
    monkeypatch.setattr(StudyResult, "sections", lambda self: [Section("Sensitivity", grids=(grid,))])
    assert grids(study())[-1] is grid
    assert to_csv(grid) == "factor,S1,S1 low,S1 high\na.b,0.5,0.4,0.6\n"
    assert read_table(to_latex(grid, "s"))[2] == [["factor", "S1"], ["a.b", r"$0.50 \pm 0.10$"]]


def test_claims_are_whole_as_csv_and_brief_as_latex() -> None:
    columns = ("claim", "what", "source", "published", "allowed", "measured", "interval", "verdict", "why")
    grid = Grid("claims", "Claims", tuple(map(Column, columns)), (tuple(map(Slot, columns)),))
    shown = tables.printed(grid)
    assert shown is not None
    assert [column.name for column in shown.columns] == ["claim", "published", "allowed", "measured", "verdict"]
    assert [slot.text for slot in shown.rows[0]] == ["claim", "published", "allowed", "measured", "verdict"]


def test_very_many_rows_are_not_typeset() -> None:
    grid = Grid("runs", "", (Column("run"),), ((Slot("a"),),) * (tables.MOST_ROWS + 1))
    assert tables.printed(grid) is None
    assert to_csv(grid).count("\n") == tables.MOST_ROWS + 2


@pytest.mark.parametrize(
    ("slot", "unit", "said"),
    [
        (Slot("", 12.345, 12.0, 12.69), "", r"$12.35 \pm 0.34$"),
        (Slot("", 0.6811, 0.6796, 0.6827), "ratio", r"$68.11 \pm 0.16$"),
        (Slot("", 10.0, 9.0, 14.0), "", r"$10.0_{-1.0}^{+4.0}$"),
        (Slot("", 1234567.0), "", r"$1{,}234{,}567$"),
        (Slot("", 3), "", "$3$"),
        (Slot("", 0.1234567), "", "$0.1235$"),
        (Slot("", 0.5), "", "$0.5$"),
        (Slot("", 0.5, 0.5, 0.5), "", "$0.5$"),
        (Slot("", 0.5, math.nan, math.nan), "", "$0.5$"),
        (Slot("", 44.445, 44.445 - 1e-14, 44.445 + 1e-14), "", r"$44.45$"),
        (Slot("", 0.5, -math.inf, math.inf), "", r"$0.5 \pm {?}$"),
        (Slot("", 2.5e-7, 2.0e-7, 3.0e-7), "", r"$(2.50 \pm 0.50) \times 10^{-7}$"),
        (Slot("", 3e12), "", r"$3 \times 10^{12}$"),
        (Slot("", 0.0, -1.0, 1.0), "", r"$0.0 \pm 1.0$"),
        (Slot("", 5.0, 6.0, 8.0), "", r"$5.0\ [6.0, 8.0]$"),
        (Slot("< 0.001", 1e-9), "", "$< 0.001$"),
        (Slot("a_b"), "", r"a\_b"),
        (Slot("-", math.nan), "", "-"),
    ],
)
def test_a_number_is_typeset_with_its_interval(slot: Slot, unit: str, said: str) -> None:
    assert typeset(slot, unit) == said
    check(said)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15)


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["", "ratio"]))
def test_every_number_is_a_cell_that_compiles(value: float, low: float, high: float, unit: str) -> None:
    check(typeset(Slot("", value, *sorted((low, high))), unit))
    check(typeset(Slot("", value), unit))


@given(st.floats(0.01, 1e6), st.floats(1e-3, 0.5))
def test_what_is_printed_is_near_the_number(value: float, share: float) -> None:
    """The value to a hundredth of its interval's half, and the half to two digits."""
    half = value * share
    cell = typeset(Slot("", value, value - half, value + half)).strip("$").replace("{,}", "")
    said, reach = map(float, re.fullmatch(r"([\d.]+) \\pm ([\d.]+)", cell).groups())  # type: ignore[union-attr]
    assert reach == pytest.approx(half, rel=0.051, abs=0.5 if half > 10 else 0)
    assert abs(said - value) <= max(0.051 * half, 0.5 if half > 10 else 0)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp", "Mn"])))
@example('\\&%$#_{}~^<>|"')
@example("".join(SPECIAL))
def test_every_text_compiles(text: str) -> None:
    check(escaped(text))


@given(st.text(alphabet='ab \\&%$#_{}~^<>|"', max_size=20))
def test_what_is_escaped_is_printed_as_it_was(text: str) -> None:
    plain = " ".join(text.split())
    assert printed(escaped(plain)) == plain


@given(st.lists(st.text(alphabet="ab &%_$#\\{}\n", max_size=60), min_size=1, max_size=4), st.text(max_size=9))
def test_every_table_compiles(words: list[str], name: str) -> None:
    grid = Grid("t", name, tuple(Column(word, "ns") for word in words), (tuple(map(Slot, words)),) * 2)
    _, _, rows = read_table(to_latex(grid, name or "s"))
    assert len(rows) == 3
    assert list(csv.reader(io.StringIO(to_csv(grid))))[1] == words


def test_a_letter_that_pdflatex_lacks_is_told() -> None:
    grid = Grid("t", "", (Column("λ"),), ((Slot("x"),),))
    assert "LuaLaTeX" in to_latex(grid, "s").splitlines()[0]
    assert "LuaLaTeX" not in to_latex(Grid("t", "µ", (Column("é"),), ((Slot("±"),),)), "s")


def test_labels_have_only_letters_that_any_reader_takes() -> None:
    assert label("tab:", "a study_2", "x.y") == "tab:a-study-2-x-y"
