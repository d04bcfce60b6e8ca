"""Expressions over the metrics of a study: what they give, against numpy, and where each error points."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import Place, StudyError
from tiersim.experiments.claims.expressions import FUNCTIONS, Evaluator, Fold, parse
from tiersim.experiments.claims.tables import Runs, UnmeasuredError
from tiersim.experiments.results import Row
from tiersim.experiments.statistics import estimate, paired
from tiersim.experiments.yaml_tree import Node

SIZES = ["1 MiB", "2 MiB", "512 KiB"]  # not in order
TRACES = ["bfs", "sssp"]
VARIANTS = ["base", "mine", "theirs"]


def row(metrics: dict[str, float], seed: int | None = None, **factors: Any) -> Row:
    label = ", ".join(map(str, factors.values()))
    seeded = {} if seed is None else {"seed": seed}
    named = {{"size": "system.l2.size"}.get(key, key): held for key, held in factors.items()}
    return Row(label, {**named, **seeded}, seed or 0, "", metrics=metrics)


def grid(values: np.ndarray[Any, Any], name: str = "cycles") -> list[Row]:
    """A value for each variant, size and trace."""
    places = itertools.product(range(3), range(3), range(2))
    return [
        row({name: float(values[v, s, t])}, what_if=VARIANTS[v], size=SIZES[s], trace=TRACES[t]) for v, s, t in places
    ]


def node(text: str) -> Node:
    return Node(text, Place("s.yaml", 7, 5, f"    {text}", len(text)), None, text)


def numbers(text: str, rows: list[Row], **more: Any) -> list[Any]:
    return Evaluator(Runs(rows, **more)).numbers(parse(node(text)))


def number(text: str, rows: list[Row], **more: Any) -> Any:
    (value,) = numbers(text, rows, **more)
    return value


def held(text: str, rows: list[Row], **more: Any) -> list[bool]:
    return [one.holds for one in Evaluator(Runs(rows, **more)).truth(parse(node(text)))]


VALUES = np.arange(1.0, 19.0).reshape(3, 3, 2) ** 1.5
ROWS = grid(VALUES)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("3", 3.0),
        ("-2.5e1 + +1", -24.0),
        ("2 ** 3 * 2 - 7 / 2", 12.5),
        ("cycles['mine', 'size': '2 MiB', 'trace': 'bfs']", VALUES[1, 1, 0]),
        ("cycles['system.l2.size': '2 MiB']['mine']['trace': 'bfs']", VALUES[1, 1, 0]),
        ("(cycles - 1)['mine', 'size': '2 MiB', 'trace': 'bfs']", VALUES[1, 1, 0] - 1),
        ("mean(cycles)", VALUES.mean()),
        ("sum(cycles['theirs'])", VALUES[2].sum()),
        ("median(cycles['theirs'])", np.median(VALUES[2])),
        ("min(cycles['theirs']) + max(cycles['base'])", VALUES[2].min() + VALUES[0].max()),
        ("geomean(cycles['base'] / cycles['mine']) - 1", math.exp(np.log(VALUES[0] / VALUES[1]).mean()) - 1),
        ("mean(max(cycles, 'trace')['base'])", VALUES[0].max(axis=1).mean()),
        ("max(mean(cycles, 'trace', 'size'))", VALUES.mean(axis=(1, 2)).max()),
        ("mean(max(cycles['base'], 20, cycles['mine']))", np.maximum(np.maximum(VALUES[0], 20), VALUES[1]).mean()),
        ("abs(mean(cycles['base']) - mean(cycles['mine']))", VALUES[1].mean() - VALUES[0].mean()),
        ("mean(cycles['mine'] - mean(cycles['base'], 'size'))", (VALUES[1] - VALUES[0].mean(axis=0)).mean()),
        ("mean(metric('cycles')['base'])", VALUES[0].mean()),
        ("count(cycles['mine'] > 30)", float((VALUES[1] > 30).sum())),
        ("count(20 < cycles['mine'] < 40)", float(((VALUES[1] > 20) & (VALUES[1] < 40)).sum())),
        ("max(count(cycles > 30, 'size', 'trace'))", float((VALUES[2] > 30).sum())),
    ],
)
def test_numbers(text: str, right: float) -> None:
    value = number(text, ROWS)
    assert value.ndim == 0  # no seed reaches it
    assert value == pytest.approx(right, rel=1e-13)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("mean(cycles['base']) < mean(cycles['mine']) < mean(cycles['theirs'])", [True, True]),
        ("mean(cycles['base']) < mean(cycles['mine']) > mean(cycles['theirs'])", [True, False]),
        ("cycles['base', 'size': '1 MiB'] < 2", [True, False]),
        ("3 <= 3 and 3 >= 3 and 3 == 3", [True, True, True]),
        ("3 < 3 and 3 > 3 and 3 != 3", [False, False, False]),
        ("rises(cycles['base', 'trace': 'bfs'], 'size')", [False, True]),  # 512 KiB to 1 MiB to 2 MiB
        ("falls(-cycles['base', 'trace': 'bfs'], 'size')", [False, True]),
        ("falls(cycles['base', 'trace': 'bfs'], 'size') and 1 < 2", [True, False, True]),
    ],
)
def test_comparisons(text: str, right: list[bool]) -> None:
    assert held(text, ROWS) == right


def test_a_list_is_several_numbers() -> None:
    assert numbers("[1, mean(cycles), 2 * 3]", ROWS) == [1.0, pytest.approx(VALUES.mean()), 6.0]


def test_where_a_comparison_is_made_is_told() -> None:
    tolds = Evaluator(Runs(ROWS)).truth(parse(node("rises(cycles['base'], 'size')")))
    assert [one.at for one in tolds] == [
        f"trace {trace}, system.l2.size {a} to {b}"
        for trace in TRACES
        for a, b in (("512 KiB", "1 MiB"), ("1 MiB", "2 MiB"))
    ]
    assert tolds[0].text == f"{VALUES[0, 2, 0]:.4g} < {VALUES[0, 0, 0]:.4g}"


def test_folds_are_told() -> None:
    evaluator = Evaluator(Runs(ROWS))
    evaluator.truth(parse(node("rises(geomean(cycles['base'] / cycles['mine'], 'trace'), 'size')")))
    assert evaluator.folds == [Fold("average", 2, ("trace",))] * 3 + [Fold("monotone", 3, ("system.l2.size",))]
    assert evaluator.used == {"cycles"}


# what goes in step


def test_a_factor_that_a_sweep_zips_goes_with_the_other() -> None:
    rows = [
        row({"cycles": value}, what_if=name, trace=trace, stall=stall)
        for name, value in (("base", 4.0), ("mine", 2.0))
        for trace, stall in (("bfs", 3), ("sssp", 5), ("pr", 3))
    ]
    assert number("geomean(cycles['base'] / cycles['mine'], 'trace')", rows) == pytest.approx(2)
    assert number("cycles['mine', 'trace': 'pr']", rows) == 2
    assert [one.holds for one in Evaluator(Runs(rows)).truth(parse(node("cycles['mine'] < 3")))] == [True] * 3


def test_points_of_a_design_are_one_axis() -> None:
    rows = [row({"cycles": i * i}, size=i, latency=7 - i) for i in range(1, 5)]
    assert number("mean(cycles, 'size')", rows) == 7.5
    assert number("cycles['latency': 4]", rows) == 9
    assert held("rises(cycles, 'size')", rows) == [True] * 3


# seeds


BASE, MINE = [10.0, 12.0, 11.0, 13.0, 9.0], [9.0, 11.5, 10.2, 12.1, 8.3]


def seeded(name: str, values: list[float]) -> list[Row]:
    return [row({"cycles": value}, seed, what_if=name) for seed, value in enumerate(values)]


def test_an_expression_is_evaluated_seed_by_seed() -> None:
    rows = [*seeded("base", BASE), *seeded("mine", MINE)[::-1]]  # seeds know their place
    value = number("cycles['base'] / cycles['mine']", rows)
    assert value == pytest.approx(np.array(BASE) / MINE)
    assert number("max(cycles)", rows) == pytest.approx(np.maximum(BASE, MINE))


def test_an_order_holds_where_the_paired_difference_leaves_out_zero() -> None:
    rows = [*seeded("base", BASE), *seeded("mine", MINE), *seeded("luck", [10.5, 11.5, 11.6, 12.4, 9.7])]
    (one,) = Evaluator(Runs(rows)).truth(parse(node("cycles['mine'] < cycles['base']")))
    assert one.holds
    assert one.difference == paired(BASE, MINE).difference
    (one,) = Evaluator(Runs(rows)).truth(parse(node("cycles['luck'] > cycles['base']")))
    assert (one.holds, one.means) == (False, True)
    assert held("cycles['luck'] >= cycles['base'] and cycles['luck'] != cycles['base']", rows) == [False, False]
    assert held("cycles['luck'] == cycles['base'] and cycles['luck'] == cycles['luck']", rows) == [False, True]


def test_what_no_seed_reaches_stands_against_every_seed() -> None:
    rows = [row({"cycles": 11.0}, what_if="base"), *seeded("mine", MINE)]
    (one,) = Evaluator(Runs(rows)).truth(parse(node("cycles['mine'] < cycles['base']")))
    assert one.difference == estimate(11.0 - np.array(MINE))
    assert number("mean(cycles)", rows) == pytest.approx((11.0 + np.array(MINE)) / 2)


def test_one_seed_of_a_random_run_tells_no_order() -> None:
    rows = [row({"cycles": 11.0}, what_if="base"), row({"cycles": 3.0}, what_if="mine")]
    assert held("cycles['mine'] < cycles['base']", rows) == [True]
    assert held("cycles['mine'] < cycles['base']", rows, chance=["mine"]) == [False]
    assert held("cycles['mine'] == cycles['mine']", rows, chance=["mine"]) == [False]
    assert number("cycles['mine'] / 2", rows, chance=["mine"]) == [1.5]


# where a course is at a level


RATES = [
    row({"met": met, "load": rate * 2.0}, rate=f"{rate} /s") for rate, met in ((8, 0.2), (2, 1.0), (4, 0.9), (6, 0.4))
]


def test_first_and_crossing_follow_a_factor_in_its_order() -> None:
    assert number("first(load, met < 0.5, 'rate')", RATES) == 12
    assert number("first(load, met <= 0.9, 'rate')", RATES) == 8
    second = 10**9
    assert number("crossing(met, 0.65, 'rate')", RATES) == pytest.approx(5 * second)
    assert number("crossing(met, 0.9, 'rate') / crossing(met, 0.2, 'rate')", RATES) == pytest.approx(0.5)
    with pytest.raises(UnmeasuredError, match=r"met < 0\.1 at no value of rate"):
        number("first(load, met < 0.1, 'rate')", RATES)
    with pytest.raises(UnmeasuredError, match="met does not cross the level over rate"):
        number("crossing(met, 0.1, 'rate')", RATES)


def test_seeds_cross_on_their_own_and_share_the_first() -> None:
    rows = [
        row({"met": met}, seed, rate=rate)
        for rate, values in ((1, (1.0, 1.0)), (2, (0.3, 0.6)), (3, (0.0, 0.1)))
        for seed, met in enumerate(values)
    ]
    assert number("crossing(met, 0.5, 'rate')", rows) == pytest.approx([1 + 0.5 / 0.7, 2.2])
    assert number("first(met, met < 0.5, 'rate')", rows) == pytest.approx([0.3, 0.6])


# what was not measured


def test_a_run_that_failed_counts_only_where_it_is_used() -> None:
    lost = row({}, what_if="mine", size=SIZES[1], trace="bfs")
    lost.status, lost.error = "failed", "out of luck"
    rows = [one for one in ROWS if one.label != lost.label] + [lost]
    assert number("mean(cycles['base'])", rows) == pytest.approx(VALUES[0].mean())
    with pytest.raises(UnmeasuredError, match="mine, 2 MiB, bfs failed: out of luck") as caught:
        number("mean(cycles['mine'])", rows)
    assert not caught.value.refused


def test_a_variant_that_was_refused_says_why() -> None:
    refused = Row("mine", {"what_if": "mine"}, 0, "", status="skipped", error="Belady needs the future")
    rows = [row({"cycles": 1.0}, what_if="base")]
    with pytest.raises(UnmeasuredError, match="mine was skipped: Belady needs the future") as caught:
        number("mean(cycles)", rows, skipped=[refused])
    assert caught.value.refused
    assert number("cycles['base']", rows, skipped=[refused]) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mean(walks['base'])", "base, 1 MiB, bfs has no walks"),
        ("1 / (mean(cycles) - mean(cycles))", "1 / (mean(cycles) - mean(cycles)) is no number"),
        ("geomean(0 - cycles)", "geomean(0 - cycles) is no number"),
        ("mean(1 / (cycles['base'] - 1))", "1 / (cycles['base'] - 1) is no number at system.l2.size 1 MiB, trace bfs"),
        ("10 ** 300 * 10 ** 300", "10 ** 300 * 10 ** 300 is no number"),
    ],
)
def test_what_is_no_number_is_told(text: str, why: str) -> None:
    with pytest.raises(UnmeasuredError) as caught:
        number(text, ROWS, known={"cycles", "walks"}.__contains__)
    assert caught.value.why == why


# mistakes


@pytest.mark.parametrize(
    ("text", "under", "message"),
    [
        ("mean(cicles)", "cicles", "there is no metric 'cicles'; did you mean 'cycles'?"),
        (
            "mean(caches.l2.mises)",
            "caches.l2.mises",
            "there is no metric 'caches.l2.mises'; see `tiersim list metrics`",
        ),
        ("gmean(cycles)", "gmean", "there is no function 'gmean'; did you mean 'mean'?"),
        ("cycles.mean()", "cycles.mean", f"there is no function 'this'; there are: {', '.join(FUNCTIONS)}"),
        ("geomean", "geomean", "geomean needs something to work on"),
        ("mean(cycles['min'])", "'min'", "no variant is called 'min'; did you mean 'mine'?"),
        ("mean(cycles['size': '3 MiB'])", "'3 MiB'", "system.l2.size is never '3 MiB'; did you mean '2 MiB'?"),
        ("mean(cycles['sise': 3])", "'sise'", "nothing varies 'sise'; there are: what_if, system.l2.size, trace"),
        ("mean(cycles, 'what_i')", "'what_i'", "nothing varies 'what_i'; did you mean 'what_if'?"),
        ("mean(cycles['mine']['mine'])", "'mine'", "no variants are left here"),
        ("mean(cycles['mine', 'base'])", "'base'", "what_if is chosen twice"),
        ("mean(cycles[mine])", "mine", "a label belongs here, in quotes"),
        ("mean(cycles[size: '1 MiB'])", "size", "the name of a factor belongs here, in quotes"),
        ("mean(cycles[:])", ":", "a factor and its value belong here"),
        (
            "cycles['mine', 'trace': 'bfs']",
            "cycles['mine', 'trace': 'bfs']",
            "this gives 3 values, over system.l2.size",
        ),
        ("mean(cycles) ^ 2", "mean(cycles) ^ 2", "this has no place in an expression"),
        ("mean(cycles) if 1 else 2", "mean(cycles) if 1 else 2", "this has no place in an expression"),
        ("lambda: 3", "lambda: 3", "this has no place in an expression"),
        ("f'{cycles}'", "f'{cycles}'", "this has no place in an expression"),
        ("mean(cycles) + 'base'", "'base'", "a number belongs here"),
        ("mean(cycles) + True", "True", "a number belongs here"),
        ("1 + [1, 2]", "[1, 2]", "a list stands only around a whole expression"),
        ("mean(x=3)", "mean(x=3)", "mean takes expressions and names of factors, one after the other"),
        ("mean(cycles, cycles)", "mean(cycles, cycles)", "mean takes one expression, and names of factors in quotes"),
        ("rises(cycles)", "rises(cycles)", "rises takes an expression and the name of a factor in quotes"),
        ("abs(cycles, 'trace')", "abs(cycles, 'trace')", "abs takes one expression"),
        ("metric(cycles)", "metric(cycles)", "metric takes the name of one, in quotes"),
        ("count(cycles)", "cycles", "a comparison belongs here"),
        ("mean(cycles < 3)", "cycles < 3", "a comparison is no number"),
        ("mean(cycles", "(", "this is no expression: '(' was never closed"),
        ("mean(cycles))", ")", "this is no expression: unmatched ')'"),
        ("mean cycles", "c", "this is no expression"),
        ("cycles['base", "'", "this is no expression: unterminated string literal"),
        ("1e999", "1e999", "this number is too large"),
        ("9" * 400, "9" * 400, "this number is too large"),
        ("3 .real", "3", "only a metric has a dot in its name"),
    ],
)
def test_a_mistake_is_pointed_at(text: str, under: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        number(text, ROWS)
    error = caught.value
    assert error.message == message
    assert error.place is not None
    assert (error.place.file, error.place.line) == ("s.yaml", 7)
    assert error.place.text[error.place.column - 1 :][: error.place.width] == under
    assert error.remedy


@pytest.mark.parametrize(
    ("text", "under", "message"),
    [
        ("cycles", "cycles", "a comparison belongs here"),
        ("mean(cycles)", "mean(cycles)", "a comparison belongs here"),
        ("1 < 2 or 2 < 3", "1 < 2 or 2 < 3", "comparisons are joined by `and` only"),
        ("not 1 < 2", "not 1 < 2", "comparisons are joined by `and` only"),
        ("1 in 2", "1 in 2", "only < <= > >= == and != compare"),
        ("rises(cycles['mine'], 'what_if')", "'what_if'", "nothing varies 'what_if'; there are: system.l2.size, trace"),
    ],
)
def test_a_mistake_in_a_comparison_is_pointed_at(text: str, under: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        held(text, ROWS)
    place = caught.value.place
    assert caught.value.message == message
    assert place is not None
    assert place.text[place.column - 1 :][: place.width] == under


def test_sides_with_other_points_are_refused() -> None:
    rows = [*ROWS, row({"cycles": 1.0}, what_if="more", size="4 MiB", trace="bfs")]
    with pytest.raises(StudyError, match=r"the two sides have other points: only one has system.l2.size 1 MiB"):
        number("mean(cycles['base', 'trace': 'bfs'] - cycles['more'])", rows)
    rows[-1] = row({"cycles": 1.0}, what_if="more", size="1 MiB", trace="bfs")
    for sides in ("cycles['more'] - cycles['base']", "cycles['base'] - cycles['more']"):
        with pytest.raises(StudyError, match=r"only one has system.l2.size (1 MiB, trace sssp|2 MiB, trace bfs)"):
            number(f"mean({sides})", rows)


def test_a_course_needs_two_values() -> None:
    with pytest.raises(StudyError, match="trace has one value here: there is no course"):
        held("rises(cycles['trace': 'bfs'], 'size') and rises(cycles['base'], 'trace')", ROWS[::2])


def test_an_ambiguous_ending_of_a_factor_is_refused() -> None:
    rows = [row({"m": 1.0}, **{"a.size": 1, "b.size": size}) for size in (1, 2)]
    with pytest.raises(StudyError, match=r"'size' may be a.size or b.size"):
        number("m['size': 1]", rows)


def test_claims_are_named_and_never_made_of_themselves() -> None:
    claims = {"A1": parse(node("mean(cycles['mine'])")), "A2": parse(node("A1 + A3")), "A3": parse(node("A2"))}
    evaluator = Evaluator(Runs(ROWS), claims)
    assert evaluator.numbers(parse(node("2 * A1"))) == [pytest.approx(2 * VALUES[1].mean())]
    assert evaluator.folds == []  # the averages of another claim
    with pytest.raises(StudyError, match="A2 is measured by itself: A2 -> A3 -> A2"):
        evaluator.numbers(claims["A2"], "A2")


def test_planned_runs_need_no_numbers() -> None:
    rows = [row({}, what_if=name) for name in ("base", "mine")]
    runs = Runs(rows, known={"cycles"}.__contains__, names=["cycles"], planned=True)
    evaluator = Evaluator(runs)
    assert len(evaluator.numbers(parse(node("1 / (cycles['mine'] - cycles['base'])")))) == 1
    assert len(evaluator.truth(parse(node("cycles['mine'] < cycles['base']")))) == 1
    with pytest.raises(StudyError, match="no variant is called 'mins'"):
        evaluator.numbers(parse(node("cycles['mins']")))


def test_an_expression_over_several_lines_is_pointed_at() -> None:
    folded = Node(
        "mean(cycles) +\nmean(cicles)", Place("s.yaml", 7, 12, "  measure: |", 1), None, "mean(cycles) +\nmean(cicles)"
    )
    with pytest.raises(StudyError) as caught:
        Evaluator(Runs(ROWS)).numbers(parse(folded))
    assert str(caught.value).splitlines()[0].startswith("s.yaml:7: there is no metric 'cicles'")
    assert caught.value.place is not None
    assert caught.value.place.text[caught.value.place.column - 1 :][:6] == "cicles"


def test_umlauts_do_not_shift_the_caret() -> None:
    with pytest.raises(StudyError) as caught:
        number("mean(cycles['ü']) + cicles", ROWS)
    assert caught.value.place is not None
    assert caught.value.place.text[caught.value.place.column - 1 :][:3] == "'ü'"


# properties


floats = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
tables = st.lists(floats, min_size=18, max_size=18).map(lambda values: np.array(values).reshape(3, 3, 2))
PLACES = {"base": 0, "mine": 1, "theirs": 2}


@st.composite
def formulas(draw: Any, depth: int = 3) -> tuple[str, Any]:
    """An expression over sizes and traces, and a function that numpy evaluates."""
    if depth == 0 or draw(st.booleans()):
        kind = draw(st.sampled_from(["variant", "constant", "reduced"]))
        if kind == "constant":
            value = draw(st.integers(-9, 9))
            return f"({value})", lambda a: np.full((3, 2), float(value))
        name = draw(st.sampled_from(VARIANTS))
        if kind == "variant":
            return f"cycles['{name}']", lambda a: a[PLACES[name]]
        fold, axis = draw(st.sampled_from(["mean", "min", "max", "sum", "median"])), draw(st.sampled_from([0, 1]))
        text = f"{fold}(cycles['{name}'], '{'size' if axis == 0 else 'trace'}')"
        return text, lambda a: np.broadcast_to(getattr(np, fold)(a[PLACES[name]], axis=axis, keepdims=True), (3, 2))
    op = draw(st.sampled_from(["+", "-", "*", "min", "max", "abs", "neg"]))
    left, f = draw(formulas(depth - 1))
    if op == "abs":
        return f"abs({left})", lambda a: np.abs(f(a))
    if op == "neg":
        return f"-({left})", lambda a: -f(a)
    right, g = draw(formulas(depth - 1))
    if op in ("min", "max"):
        made = np.minimum if op == "min" else np.maximum
        return f"{op}({left}, {right})", lambda a: made(f(a), g(a))
    made = {"+": np.add, "-": np.subtract, "*": np.multiply}[op]
    return f"({left} {op} {right})", lambda a: made(f(a), g(a))


@given(tables, formulas())
def test_formulas_are_those_of_numpy(values: Any, formula: tuple[str, Any]) -> None:
    text, made = formula
    right = made(values)
    whole = f"0 * cycles['base'] + ({text})"  # so that all sizes and traces are there, in their order
    assert number(f"mean({whole})", grid(values)) == pytest.approx(right.mean(), rel=1e-9, abs=1e-6)
    assert held(f"{whole} > 100", grid(values)) == [bool(x > 100) for x in right.ravel()]


@given(tables, st.permutations(range(18)))
def test_the_order_of_runs_changes_nothing(values: Any, order: list[int]) -> None:
    text = "sum(cycles['mine'] - max(cycles['base'], 'trace')) + mean(cycles, 'size')['theirs', 'trace': 'bfs']"
    rows = grid(values)
    assert number(text, [rows[i] for i in order]) == pytest.approx(number(text, rows), rel=1e-9, abs=1e-6)


WORDS = [
    "cycles",
    "mean",
    "geomean",
    "rises",
    "count",
    "first",
    "crossing",
    "metric",
    "'base'",
    "'size'",
    "'1 MiB'",
    "1",
]
MARKS = [
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    "<",
    "==",
    "and",
    "not",
    "+",
    "-",
    "**",
    "/",
    ".",
    " ",
    "\n",
    "\\",
    "'",
    "é",
    "\0",
]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS + MARKS), max_size=30).map("".join)))
def test_no_text_raises_anything_else(text: str) -> None:
    for planned in (False, True):
        runs = Runs(ROWS, known={"cycles"}.__contains__, names=["cycles"], planned=planned)
        for read in (Evaluator(runs).numbers, Evaluator(runs).truth):
            with contextlib.suppress(StudyError, *([] if planned else [UnmeasuredError])):
                read(parse(node(text)))


@pytest.mark.parametrize(
    "text", ["-" * 1_900 + "1", "(" * 900 + "1" + ")" * 900, "+".join("1" * 900), "a" + ".a" * 900]
)
def test_what_is_nested_deeply_ends(text: str) -> None:
    for read in ("numbers", "truth"):
        with contextlib.suppress(StudyError):
            getattr(Evaluator(Runs(ROWS)), read)(parse(node(text)))


def test_what_is_long_is_refused() -> None:
    with pytest.raises(StudyError, match="2,000 characters at most"):
        parse(node("1 +" * 1_000 + "1"))
