"""Designs: where their points lie, what ranges make of them, and that nothing but the seed decides."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.experiments.test_library import fits
from tiersim._base import units
from tiersim._base.errors import Place, StudyError
from tiersim.experiments.catalogue import explain, schema
from tiersim.experiments.designs import JOE_KUO, MOST_SOBOL, NAMES, Range, read_range, shares
from tiersim.experiments.plan import make_plan
from tiersim.experiments.runner import estimate, run
from tiersim.experiments.study import Study, read_study
from tiersim.experiments.yaml_tree import from_data, load_text, plain

HEAD = "study: s\nscenario: x\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def floats(columns: list[list[Fraction]]) -> list[list[float]]:
    return [[float(part) for part in column] for column in columns]


def names(count: int) -> dict[str, bool]:
    return {f"k{number}": False for number in range(count)}


# where points lie


def test_the_sobol_sequence_begins_as_published() -> None:
    """Worked by hand from the direction numbers, in Gray code's order: bits 0, 1, 0, 2, 0, 1, 0 change in turn.

    Dimension 1 has v = 1/2, 1/4, 1/8. Dimension 2 has m = 1, 2*1^1 = 3, 2*3^3 = 5 and v = 1/2, 3/4, 5/8. Dimension 3
    has m = 1, 3, 2*3^4*1^1 = 3, since its polynomial is x^2 + x + 1: v = 1/2, 3/4, 3/8.
    """
    assert floats(shares("sobol", names(3), 8, None)) == [
        [0, 0.5, 0.75, 0.25, 0.375, 0.875, 0.625, 0.125],
        [0, 0.5, 0.25, 0.75, 0.375, 0.875, 0.125, 0.625],
        [0, 0.5, 0.25, 0.75, 0.625, 0.125, 0.875, 0.375],
    ]


@pytest.mark.parametrize("line", range(len(JOE_KUO)))
def test_the_published_table_is_copied_right(line: int) -> None:
    """Each polynomial is primitive: of degree s, x has the order 2^s - 1 in it. Each m is odd and below its power."""
    between, odd = JOE_KUO[line]
    degree = len(odd)
    polynomial = 1 << degree | between << 1 | 1
    power, order = 1, 0
    while power != 1 or order == 0:
        power <<= 1
        power ^= polynomial if power >> degree & 1 else 0
        order += 1
    assert order == 2**degree - 1
    assert all(m % 2 == 1 and m < 2**place for place, m in enumerate(odd, 1))
    assert JOE_KUO.index(JOE_KUO[line]) == line


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_so_many_points_of_a_sobol_sequence_as_a_power_of_two_lie_in_equal_parts(seed: int | None) -> None:
    columns = shares("sobol", names(MOST_SOBOL), 64, seed)
    for column in columns:
        assert sorted(math.floor(part * 64) for part in column) == list(range(64))
    for a, b in itertools.combinations(columns[:4], 2):  # and in a plane's, which holds for the first at least
        assert len({(math.floor(x * 8), math.floor(y * 8)) for x, y in zip(a, b, strict=True)}) == 64


def test_a_seed_scrambles_a_sobol_sequence() -> None:
    published, one, other = (shares("sobol", names(2), 16, seed) for seed in (None, 1, 2))
    assert published != one != other != published
    shifts = {Fraction(int(a * 2**32) ^ int(b * 2**32)) for a, b in zip(published[0], one[0], strict=True)}
    assert len(shifts) > 1  # more than a shift of all points alike


@given(st.integers(1, 70), st.integers(0, 2**64 - 1), st.integers(1, 9))
def test_a_latin_hypercube_has_a_point_in_each_part_and_balances_categories(count: int, seed: int, many: int) -> None:
    number, category = shares("latin-hypercube", {"a": False, "b": True}, count, seed)
    assert sorted(math.floor(part * count) for part in number) == list(range(count))
    picked = [math.floor(part * many) for part in category]
    assert {picked.count(one) for one in range(many)} <= {count // many, math.ceil(count / many)}


def test_the_parts_of_a_latin_hypercube_come_in_another_order_for_each_factor_and_seed() -> None:
    orders = {
        tuple(math.floor(part * 20) for part in column)
        for seed in (0, 1)
        for column in shares("latin-hypercube", names(3), 20, seed)
    }
    assert len(orders) == 6


@pytest.mark.parametrize("design", NAMES)
def test_designs_fill_the_unit_cube_better_than_chance(design: str) -> None:
    """The mean of the product of 3u^2 over 4 factors is 1; its root mean square error over 20 seeds tells evenness."""
    wrong = []
    for seed in range(20):
        columns = floats(shares(design, names(4), 256, seed))
        wrong.append(sum(math.prod(3 * u * u for u in point) for point in zip(*columns, strict=True)) / 256 - 1)
    error = math.sqrt(sum(one * one for one in wrong) / 20)
    chance = math.sqrt(((9 / 5) ** 4 - 1) / 256)  # of independent points: their exact standard error
    assert {"random": 0.7, "latin-hypercube": 0.3, "sobol": 0.02}[design] * chance < error
    assert error < {"random": 1.4, "latin-hypercube": 0.95, "sobol": 0.3}[design] * chance


@pytest.mark.parametrize("design", ["random", "sobol"])
def test_more_points_begin_with_the_same_ones(design: str) -> None:
    few, many = (shares(design, names(3), count, 5) for count in (10, 40))
    assert few == [column[:10] for column in many]


@pytest.mark.parametrize("design", NAMES)
def test_a_factor_behind_the_others_changes_none_of_them(design: str) -> None:
    alone = shares(design, {"a": False, "b": True}, 12, 5)
    assert shares(design, {"a": False, "b": True, "c": False}, 12, 5)[:2] == alone
    if design != "sobol":
        assert shares(design, {"c": True, "b": True, "a": False}, 12, 5)[:0:-1] == alone


def test_points_are_the_same_on_every_machine() -> None:
    """As this project first drew them: they are part of what a study asks."""
    assert [[round(float(u), 6) for u in shares(design, {"a": False}, 3, 1)[0]] for design in NAMES] == [
        [0.271541, 0.784556, 0.961925],
        [0.077195, 0.662196, 0.762182],
        [0.389576, 0.805853, 0.617755],
    ]


# ranges


def ranged(text: str) -> Range:
    return read_range("k", load_text(f"k: {text}\n", "t").value["k"])


def values(text: str, count: int) -> list[Any]:
    """The values in the middles of so many equal parts of a range."""
    held = ranged(text)
    return [held.at(Fraction(2 * part + 1, 2 * count)) for part in range(count)]


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("{range: [1, 4]}", 8, [1, 1, 2, 2, 3, 3, 4, 4]),  # all whole numbers equally often
        ("{range: [1, 1000], scale: log, step: 1}", 3, [2, 22, 282]),  # 0.5 * 2001^(1/6, 1/2, 5/6) = 1.8, 22.4, 281.8
        ("{range: [64 KiB, 256 KiB], step: 64 KiB}", 4, ["64 KiB", "128 KiB", "192 KiB", "256 KiB"]),
        ("{range: [60 ns, 140 ns]}", 2, ["80 ns", "120 ns"]),
        ("{range: [100 KiB, 200 KiB], step: 32 KiB}", 3, ["128 KiB", "160 KiB", "192 KiB"]),
        ("{range: [1 us, 3000 ns], step: 1 us}", 3, ["1 us", "2 us", "3 us"]),
        ("{range: [10 %, 30 %], step: 10 %}", 3, ["10 %", "20 %", "30 %"]),
        ("{range: [0.5, 1.5], step: 0.5}", 3, [0.5, 1, 1.5]),
        ("{range: [0.1, 0.3], step: 0.1}", 3, [0.1, 0.2, 0.3]),
        ("{range: [-2, 2]}", 5, [-2, -1, 0, 1, 2]),
        ("{range: [1k, 3k], step: 1000}", 3, ["1000", "2000", "3000"]),
        ("{range: [1 cycle, 3 cycles]}", 3, ["1 cycle", "2 cycles", "3 cycles"]),
        ("{range: [0, 1.0]}", 2, [0.25, 0.75]),
        ("{range: [0.01, 1.0], scale: log}", 1, [0.1]),
        ("{range: [1 us/token, 3 us/token], step: 1 us/token}", 3, ["1 us/token", "2 us/token", "3 us/token"]),
    ],
)  # fmt: skip
def test_a_range_takes_the_nearest_multiple(text: str, count: int, expected: list[Any]) -> None:
    found = values(text, count)
    assert found == pytest.approx(expected, rel=1e-6) if isinstance(found[0], float) else found == expected


@given(
    st.integers(0, 10**15),
    st.integers(1, 10**15),
    st.integers(1, 10**6),
    st.booleans(),
    st.fractions(0, 1).filter(lambda share: share < 1),
)
def test_a_value_of_a_range_is_a_multiple_inside_it(low: int, span: int, step: int, log: bool, share: Fraction) -> None:
    low, high = low + log, low + log + span
    said = {"range": [f"{low} B", f"{high} B"], "scale": "log" if log else "linear", "step": f"{step} B"}
    first, last = -(-low // step), high // step
    if last <= first:
        with pytest.raises(StudyError, match="k cannot vary"):
            read_range("k", from_data(said, "t"))
        return
    held = read_range("k", from_data(said, "t"))

    def amount(part: Fraction) -> int:
        return units.parse(held.at(part), "bytes").amount

    assert amount(share) % step == 0
    assert low <= amount(share) <= high
    assert amount(Fraction(0)) == first * step
    assert amount(1 - Fraction(1, 2**64)) >= (last - 1) * step
    exact = (first - 0.5) * ((last + 0.5) / (first - 0.5)) ** share if log else first - 0.5 + share * (last - first + 1)
    assert abs(amount(share) / step - exact) <= 0.5 + 1e-9 + 1e-6 * abs(exact)
    assert amount(share) <= amount((1 + share) / 2)


# in a study


def read(body: str, *sets: str) -> Study:
    Path("s.yaml").write_text(HEAD + body, encoding="utf-8")
    return read_study("s.yaml", sets)


def marked(place: Place | None) -> str:
    assert place is not None
    return place.text[place.column - 1 : place.column - 1 + place.width]


SWEEP = """\
sweep:
  design: latin-hypercube
  points: 12
  factors:
    c.size: {range: [256 KiB, 8 MiB], scale: log, step: 64 KiB}
    c.policy: [lru, {use: srrip, bits: 3}, mine.py:Mine]
    system: [small-cpu, large-cpu]
"""


def test_a_design_makes_variants() -> None:
    study = read(SWEEP + "what_if: {q: {a: 1}}\nrepeat: {seeds: 2}\n")
    assert study.notes == ["latin-hypercube design: 12 points in 3 factors"]
    assert len(study.variants) == 2 * 12 * 2
    first = study.variants[0]
    assert (first.label, first.seed) == ("base, point 1", 0)
    assert list(first.factors) == ["what_if", "c.size", "c.policy", "system", "seed"]
    told = [f"{key.split('.')[-1]} {first.factors[key]}" for key in ("c.size", "c.policy", "system")]
    assert first.values == ", ".join(told)
    for key, value in (("c.policy", "srrip (bits: 3)"), ("system", "large-cpu")):
        share = {"c.policy": 3, "system": 2}[key]
        assert sum(variant.factors[key] == value for variant in study.variants) == len(study.variants) // share
    tree = next(plain(v.tree) for v in study.variants if v.factors["c.policy"] == "srrip (bits: 3)")
    assert tree["c"]["policy"] == {"use": "srrip", "bits": 3}
    assert isinstance(tree["c"]["size"], str)
    assert len({variant.label for variant in study.variants}) == 24


def test_variants_share_points_and_seeds() -> None:
    study = read(SWEEP + "what_if: {q: {a: 1}, r: {a: 2}}\nrepeat: {seeds: [3, 9]}\n")
    by_label: dict[str, list[Any]] = {}
    for variant in study.variants:
        own = {key: value for key, value in variant.factors.items() if key != "what_if"}
        by_label.setdefault(str(variant.factors["what_if"]), []).append((variant.seed, own))
    assert by_label["base"] == by_label["q"] == by_label["r"]
    assert [seed for seed, _ in by_label["q"]] == [3, 9] * 12


@pytest.mark.parametrize("design", NAMES)
def test_each_design_is_its_seed_s(design: str) -> None:
    def points(*more: str) -> list[Any]:
        body = SWEEP.replace("latin-hypercube", design)
        return [variant.factors for variant in read(body, *more).variants]

    assert points() == points() == points("seed=8")  # the seed of runs is another
    assert points("sweep.seed=1") != points("sweep.seed=2")
    assert (points() == points("sweep.seed=0")) == (design != "sobol")


def test_points_that_rounding_makes_the_same_run_once_and_are_told() -> None:
    study = read("sweep: {design: random, points: 50, factors: {a: {range: [1, 3]}, b: [x]}}\n")
    assert sorted(variant.factors["a"] for variant in study.variants) == [1, 2, 3]
    assert study.notes == ["random design: 50 points in 2 factors; rounded, 47 of them are like others: 3 run"]
    assert study.variants[0].label == "point 1"
    study = read("sweep: {design: latin-hypercube, points: 3, factors: {a: {range: [1, 3]}}}\n")
    assert study.notes == ["latin-hypercube design: 3 points in 1 factor"]
    assert sorted(plain(variant.tree)["a"] for variant in study.variants) == [1, 2, 3]


def test_set_reaches_into_a_design_and_a_list() -> None:
    study = read(SWEEP, "sweep.points=5", "sweep.factors.c.size=[1 KiB]", "sweep.design=random")
    assert len(study.variants) <= 5
    assert {variant.factors["c.size"] for variant in study.variants} == {"1 KiB"}
    study = read("sweep: {list: [{a.b: 1}, {a.b: 2}]}", "sweep.list.1.a.b=3")
    assert [variant.factors for variant in study.variants] == [{"a.b": 1}, {"a.b": 3}]


def test_a_list_gives_points_one_by_one_and_stands_beside_a_product() -> None:
    study = read("sweep:\n  list: [{a: 1, b: x}, {b: {use: y, n: 1}, a: 2}]\n  c: [5, 6]\n")
    assert [variant.factors for variant in study.variants] == [
        {"a": a, "b": b, "c": c} for a, b in ((1, "x"), (2, "y (n: 1)")) for c in (5, 6)
    ]
    assert study.variants[0].label == "a 1, b x, c 5"
    assert study.notes == []


OTHER = "unknown key 'b'; known here: design, points, seed, factors; what varies stands under factors"
OF_THE_STUDY = "'seed' is of the study itself and cannot vary"


def design(factor: str, head: str = "design: sobol, points: 4") -> str:
    return f"sweep: {{{head}, factors: {{a: {factor}}}}}"


@pytest.mark.parametrize(
    ("body", "under", "message"),
    [
        (design("{range: [1, 2], scael: log}"), "scael", "unknown key 'scael'; did you mean 'scale'?"),
        (design("{range: [1, 2], x: 1}"), "x", "unknown key 'x'; known here: range, scale, step"),
        (design("{scale: log}"), "{scale: log}", "the range of a has two ends"),
        (design("{range: [1, 2, 3]}"), "[1, 2, 3]", "the range of a has two ends"),
        (design("{range: 5}"), "5", "the range of a has two ends"),
        (design("{range: [1, 2], scale: lg}"), "lg", "no scale is called 'lg'; did you mean 'log'?"),
        (design("{range: [1, 2], scale: cubic}"), "cubic", "no scale is called 'cubic'; there are: linear, log"),
        (design("{range: [1, 1]}"), "[1, 1]", "the range of a has one value"),
        (design("{range: [2 KiB, 1 KiB]}"), "[2 KiB, 1 KiB]", "the range of a is empty: 2 KiB is above 1 KiB"),
        (design("{range: [0 ns, 5 ns], scale: log}"), "0 ns", "a has no logarithm at 0 ns"),
        (design("{range: [-1, 5], scale: log}"), "-1", "a has no logarithm at -1"),
        (design("{range: [1, 5], step: 0}"), "0", "the step of a is 0"),
        (design("{range: [1, 5], step: -1}"), "-1", "the step of a is -1"),
        (design("{range: [1 KiB, 3 KiB], step: 1 ns}"), "1 ns", "'1 ns' is a time; expected a size such as 80 GiB"),
        (design("{range: [60, 140 ns]}"), "60", "'60' has no unit; expected a time such as 90 ns"),
        (design("{range: [60 ns, 140]}"), "140", "'140' has no unit; expected a time such as 90 ns"),
        (design("{range: [60 ns, 1 KiB]}"), "1 KiB", "'1 KiB' is a size; expected a time such as 90 ns"),
        (design("{range: [1 ns, 9 nx]}"), "9 nx", "a cannot range to '9 nx': this is no number and no quantity"),
        (design("{range: [lru, srrip]}"), "lru", "a cannot range to 'lru': this is no number and no quantity"),
        (design("{range: [true, 2]}"), "true", "a cannot range to 'true': this is no number and no quantity"),
        (design("{range: [[], 2]}"), "[]", "a cannot range to a list or a mapping: this is no number and no quantity"),
        (design("{range: [1 us/token, 2 us/layer]}"), "2 us/layer", "a mixes per token and per layer"),
        (design("{range: [1, 5], step: 9}"), "9", "a cannot vary: no multiple of 9 lies from 1 to 5"),
        (design("{range: [1, 5], step: 4}"), "4", "a cannot vary: one multiple of 4 lies from 1 to 5"),
        (design("5 ns"), "5 ns", "a must have a list of values"),
        (design("[1, 1]"), "1", "a has the value 1 twice"),
        (design("[]"), "[]", "a sweep without values: a"),
        (design("[1]", "design: sobl, points: 4"), "sobl", "no design is called 'sobl'; did you mean 'sobol'?"),
        (design("[1]", "design: box, points: 4"), "box", f"no design is called 'box'; there are: {', '.join(NAMES)}"),
        (design("[1]", "design: sobol, points: 0"), "0", "a design has 1 point or more"),
        (design("[1]", "design: sobol, points: 4 ns"), "4 ns", "'4 ns' is a time; expected a count such as 64 Ki"),
        (design("[1]", "design: sobol, points: -4"), "-4", "'-4' is negative; expected a count such as 64 Ki"),
        (design("[1]", "design: sobol, points: 2M"), "{design", "this study asks for 2,000,000 runs"),
        (design("[1]", "design: sobol, points: 4, seed: -1"), "-1", "a seed is a whole number from 0 to 2^64 - 1"),
        (design("[1]", "design: sobol, ponits: 4"), "ponits", "unknown key 'ponits'; did you mean 'points'?"),
        (design("[1]", "design: sobol, points: 4, b: [1]"), "b", OTHER),
        (design("[1]", "design: sobol"), "{design", "a design misses `points`"),
        ("sweep: {design: sobol, points: 4}", "{design", "a design misses `factors`"),
        ("sweep: {design: sobol, points: 4, factors: {}}", "{}", "a design without factors"),
        ("sweep: {design: sobol, points: 4, factors: [a]}", "[a]", "a design without factors"),
        ("sweep: {design: sobol, points: 4, factors: {seed: [1]}}", "seed", OF_THE_STUDY),
        ("sweep: {design: sobol, points: 4, factors: {a..b: {range: [1, 2]}}}", "a..b", "'a..b' is no dotted key"),
        ("sweep: {a: {range: [1, 2]}}", "{range", "a range needs a design: a"),
        ("sweep: {list: }", "list", "a list without points"),
        ("sweep: {list: {a: [1]}}", "{a", "a list without points"),
        ("sweep: {list: [5]}", "5", "a point of a list sets keys to values"),
        ("sweep: {list: [{a: 1}, {a: 2, b: 1}]}", "b", "b is not in the first point"),
        ("sweep: {list: [{a: 1, b: 2}, {a: 3}]}", "{a: 3}", "this point does not set b, as the first does"),
        ("sweep: {list: [{a: 1, b: 2}, {b: 2, a: 1}]}", "{b: 2, a: 1}", "this point is listed twice"),
        ("sweep: {list: [{a: }]}", "a", "a misses a value"),
        ("sweep: {list: [{a..b: 1}]}", "a..b", "'a..b' is no dotted key"),
        ("sweep: {list: [{a: 1}], a: [2]}", "a", "a is set twice: by the sweep here and the sweep at s.yaml:3:17"),
    ],
)  # fmt: skip
def test_an_error_points_to_its_place(body: str, under: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        read(body)
    assert caught.value.message == message
    assert marked(caught.value.place).startswith(under)


def test_more_factors_than_a_sobol_sequence_has_are_refused() -> None:
    factors = ", ".join(f"k{number}: [1, 2]" for number in range(MOST_SOBOL + 1))
    with pytest.raises(StudyError, match="a Sobol sequence has 37 factors at most, and these are 38") as caught:
        read(f"sweep: {{design: sobol, points: 4, factors: {{{factors}}}}}")
    assert caught.value.remedy == "take design: latin-hypercube"


def test_a_what_if_cannot_set_a_factor_of_a_design() -> None:
    with pytest.raises(StudyError, match=r"c\.size is set twice: by the sweep here and the what_if 'q'"):
        read(SWEEP + "what_if: {q: {c.size: 1 KiB}}\n")


# in a scenario

REAL = """\
study: s
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 20k, footprint: 4 MiB, seed: 1}
system:
  use: desktop-cpu
  caches:
    l2: {capacity: 256 KiB, ways: 8, policy: random}
"""
SIZES = "system.caches.l2.capacity: {range: [64 KiB, 512 KiB], scale: log, step: 32 KiB}"


def real(text: str) -> str:
    Path("s.yaml").write_text(text, encoding="utf-8")
    return "s.yaml"


def test_a_value_that_its_key_refuses_is_found_before_anything_runs_and_named() -> None:
    sweep = "sweep:\n  design: sobol\n  points: 8\n  factors:\n    " + SIZES.replace(", step: 32 KiB", "")
    with pytest.raises(StudyError) as caught:
        make_plan(real(REAL + sweep + "\n    system.memory.latency: [60 ns, 90 ns]\n"))
    found = caught.value
    assert found.message.endswith("is no multiple of the line of 64 B (point 2: capacity 185363 B, latency 90 ns)")
    assert marked(found.place) == "[64 KiB, 512 KiB]"
    with pytest.raises(StudyError, match=r"did you mean 'latency'\?.*point 1: latncy"):
        make_plan(
            real(REAL + "sweep: {design: sobol, points: 8, factors: {system.memory.latncy: {range: [1 ns, 9 ns]}}}")
        )


def test_a_dry_run_tells_points_and_runs() -> None:
    sweep = f"sweep:\n  design: latin-hypercube\n  points: 40\n  factors:\n    {SIZES}\n"
    cost = estimate(real(REAL + sweep + "what_if: {q: {system.line: 128 B}}\n"))
    points = cost.runs // 2
    assert 8 <= points <= 15  # there are 15 multiples
    assert cost.notes == [
        f"latin-hypercube design: 40 points in 1 factor; rounded, {40 - points} of them are like others: {points} run"
    ]


def test_variants_have_the_same_luck() -> None:
    """Another L3 changes no draw of the L2's policy, so that no difference of the two is one of luck."""
    sweep = f"sweep: {{design: sobol, points: 2, factors: {{{SIZES}}}}}\n"
    more = "what_if: {small L3: {system.caches.l3.capacity: 256 KiB}}\nrepeat: {seeds: 2}\n"
    rows = run(real(REAL + sweep + more), keep=False).rows
    assert len(rows) == 8
    misses = [row.metrics["caches.l2.misses"] for row in rows]
    assert misses[:4] == misses[4:]
    assert len(set(misses)) == 4  # while seeds and sizes do make a difference
    assert rows[0].metrics["caches.l3.misses"] != rows[4].metrics["caches.l3.misses"]


# what is told of it


@pytest.mark.parametrize(
    ("sweep", "right"),
    [
        ({"design": "sobol", "points": 64, "factors": {"a": {"range": ["1 ns", "2 ns"], "scale": "log"}}}, True),
        ({"design": "random", "points": "1k", "seed": 3, "factors": {"a": [1, {"use": "x"}]}}, True),
        ({"a": [1], "zip": {"b": [1]}, "list": [{"c": 1}]}, True),
        ({"design": "sobl", "points": 64, "factors": {"a": [1]}}, False),
        ({"design": "sobol", "factors": {"a": [1]}}, False),
        ({"design": "sobol", "points": 4, "factors": {"a": {"scale": "log"}}}, False),
        ({"design": "sobol", "points": 4, "factors": {"a": 5}}, False),
        ({"a": {"range": [1, 2]}}, False),
        ({"list": [5]}, False),
    ],
)
def test_the_schema_knows_designs(sweep: Any, right: bool) -> None:
    rule = schema()
    assert (fits(sweep, rule["properties"]["sweep"], rule) == "") == right


def test_explain_tells_of_every_design() -> None:
    text = explain("sweep").text
    assert all(word in text for word in (*NAMES, "points", "seed", "factors", "range", "scale", "step", "zip", "list"))
