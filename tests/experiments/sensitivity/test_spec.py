"""The block of a sensitivity: what it is read as, and where its errors point."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.test_library import fits
from tiersim._base.errors import StudyError
from tiersim.experiments.catalogue import explain, schema
from tiersim.experiments.sensitivity.spec import KEYS, Point, Sensitivity
from tiersim.experiments.study import read_study
from tiersim.experiments.yaml_tree import plain

HEAD = "study: s\nscenario: x\nlink: {speed: 3 GB/s}\nwhat_if: {other: {way: slow, size: 2}}\nsweep: {swept: [1, 2]}\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(body: str, *sets: str) -> Sensitivity:
    Path("s.yaml").write_text(f"{HEAD}{body}\n", encoding="utf-8")
    found = read_study("s.yaml", sets).sensitivity
    assert found is not None
    return found


def test_a_block_is_read_with_its_defaults() -> None:
    spec = read("sensitivity:\n  factors:\n    link.speed: {range: [1 GB/s, 9 GB/s]}\n    swept.inside: [1, 4, 9]")
    assert (spec.at, spec.method, spec.samples, spec.seed, spec.second_order) == (("base",), "sobol", 64, 0, True)
    assert (spec.outputs, spec.failed, spec.crossover, spec.map, spec.speedups) == (None, "refuse", False, False, ())
    assert spec.runs == 64 * 6
    assert [factor.kind for factor in spec.factors or ()] == ["range", "levels"]
    assert [(factor.factor().name, factor.factor().count) for factor in spec.factors or ()] == [
        ("link.speed", 0),
        ("swept.inside", 3),
    ]


def test_a_block_is_read_whole() -> None:
    spec = read(
        "sensitivity: {at: all, method: morris, samples: 1 k, seed: 7, factors: {a: {categories: [x, y]}, b: [1, 2]}, "
        "outputs: cycles, failed: drop, crossover: false, map: [b, a], speedups: [20 %, 5 %]}"
    )
    assert (spec.at, spec.method, spec.samples, spec.seed) == (("base", "other"), "morris", 1000, 7)
    assert (spec.outputs, spec.failed, spec.crossover) == (("cycles",), "drop", False)
    assert (spec.map, spec.speedups) == (("b", "a"), (Fraction(1, 20), Fraction(1, 5)))
    assert spec.runs == 3000
    assert read("sensitivity: {at: [other, base], factors: {a: [1, 2]}}").crossover  # of two variants


def test_auto_is_a_screening_of_all() -> None:
    for spec in (read("sensitivity: auto"), read("sensitivity: auto", "sensitivity.failed=drop")):
        assert (spec.at, spec.method, spec.samples, spec.factors) == (("base", "other"), "morris", 10, None)
    assert read("sensitivity: auto", "sensitivity.failed=drop").failed == "drop"
    assert read("sensitivity: {factors: auto, method: sobol, at: base}").factors is None


def test_shares_become_settings() -> None:
    spec = read("sensitivity: {factors: {a: {range: [1 ns, 4 ns], step: 1 ns}, b: {categories: [x, {use: y, z: 1}]}}}")
    number, word = spec.factors or ()
    assert [number.at(share).node.value for share in (0.0, 0.24, 0.26, 0.99, 1.0)] == [
        "1 ns",
        "1 ns",
        "2 ns",
        "4 ns",
        "4 ns",
    ]
    point = Point("base", (number.at(0.3), word.at(1.0)))
    assert point.values == {"a": "2 ns", "b": "y (z: 1)"}
    assert point.name == Point("base", (word.at(0.6), number.at(0.4))).name != Point("other", point.settings).name


def test_samples_are_the_methods_and_seed_0_is_a_seed() -> None:
    block = "sensitivity: {{samples: 4, seed: {}, factors: {{a: {{range: [0.0, 1.0]}}, b: {{range: [0.0, 1.0]}}}}}}"
    zero, again, one = (read(block.format(seed)).points("base") for seed in (0, 0, 1))
    assert len(zero) == 4 * 6
    assert [point.name for point in zero] == [point.name for point in again]
    assert [point.name for point in zero] != [point.name for point in one]


def test_the_sample_goes_before_the_file_and_beside_the_variant() -> None:
    Path("s.yaml").write_text(HEAD + "sensitivity: {at: all, factors: {link.speed: {range: [1 GB/s, 9 GB/s]}}}")
    study = read_study("s.yaml")
    assert study.sensitivity is not None
    (factor,) = study.sensitivity.factors or ()
    tree = plain(study.at(Point("other", (factor.at(1.0),))))
    assert tree == {"link": {"speed": "9 GB/s"}, "way": "slow", "size": 2}  # without the sweep


def test_a_setting_inside_applies_after_its_parent() -> None:
    Path("s.yaml").write_text(
        HEAD.replace("{way: slow,", "{link: {use: fast, lanes: 2},")
        + "sensitivity: {at: other, factors: {link.lanes: [4, 8]}}"
    )
    study = read_study("s.yaml")
    assert study.sensitivity is not None
    (factor,) = study.sensitivity.factors or ()
    assert plain(study.at(Point("other", (factor.at(1.0),))))["link"] == {"speed": "3 GB/s", "use": "fast", "lanes": 8}


WRONG = [
    ("sensitivity: 3", "6:14", "3", "`sensitivity` says which factors are varied"),
    ("sensitivity: automatic", "6:14", "automatic", "`sensitivity` says which factors are varied"),
    ("sensitivity: {factor: {}}", "6:15", "factor", "unknown key 'factor'; did you mean 'factors'?"),
    ("sensitivity: {method: sobol}", "6:14", "{method: sobol}", "a sensitivity misses `factors`"),
    ("{factors: {}}", "6:24", "{}", "a sensitivity without factors"),
    ("{factors: {a: [1]}}", "6:28", "[1]", "a cannot vary: it has one value"),
    ("{factors: {a: [1, 1]}}", "6:32", "1", "a has the value 1 twice"),
    ("{factors: {a: 3}}", "6:28", "3", "a must have a list of values"),
    ("{factors: {a: {rang: [1, 2]}}}", "6:29", "rang", "unknown key 'rang'; did you mean 'range'?"),
    ("{factors: {a: {range: [2, 1]}}}", "6:36", "[2, 1]", "the range of a is empty: 2 is above 1"),
    ("{factors: {a: {levels: [1, 2], step: 1}}}", "6:45", "step", "unknown key 'step' beside levels"),
    ("{factors: {a: {levels: [2, 3]}, seed: [1, 2]}}", "6:46", "seed", "'seed' is of the study itself and cannot vary"),
    (
        "{factors: {swept: [3, 4]}}",
        "6:25",
        "swept",
        "swept is set twice: by the sensitivity here and the sweep at s.yaml:5:9",
    ),
    (
        "{at: other, factors: {size: [3, 4]}}",
        "6:36",
        "size",
        "size is set twice: by the sensitivity here and the what_if 'other' at s.yaml:4:30",
    ),
    ("{at: othr, factors: {a: [3, 4]}}", "6:19", "othr", "no variant is called 'othr'; did you mean 'other'?"),
    ("{at: [base, base], factors: {a: [3, 4]}}", "6:26", "base", "`at` names base twice"),
    ("{at: [], factors: {a: [3, 4]}}", "6:19", "[]", "`at` names no variant"),
    ("{factors: {a: [3, 4]}, method: sobl}", "6:45", "sobl", "no method is called 'sobl'; did you mean 'sobol'?"),
    ("{factors: {a: [3, 4]}, samples: 1}", "6:46", "1", "`samples` is how many: 2 or more"),
    ("{factors: {a: [3, 4]}, samples: 5 ns}", "6:46", "5 ns", "'5 ns' is a time; expected a count such as 64 Ki"),
    ("{factors: {a: [3, 4]}, samples: 300k}", "6:46", "300k", "this study asks for 1,200,000 runs"),
    ("{factors: {a: [3, 4]}, seed: -1}", "6:43", "-1", "a seed is a whole number from 0 to 2^64 - 1"),
    ("{factors: {a: [3, 4]}, second_order: 1}", "6:51", "1", "`second_order` is true or false, not '1'"),
    (
        "{factors: {a: [3, 4]}, method: pawn, second_order: true}",
        "6:51",
        "second_order",
        "`second_order` is of the method sobol",
    ),
    ("{factors: {a: [3, 4]}, outputs: []}", "6:46", "[]", "`outputs` names no metric"),
    ("{factors: {a: [3, 4]}, outputs: [x, x]}", "6:47", "x", "the output x is named twice"),
    (
        "{factors: {a: [3, 4]}, failed: drp}",
        "6:45",
        "drp",
        "no handling of failed samples is called 'drp'; did you mean 'drop'?",
    ),
    (
        "{factors: {a: [3, 4]}, crossover: true}",
        "6:48",
        "true",
        "a crossover is between variants, and this samples one",
    ),
    ("{factors: {a: [3, 4]}, map: true}", "6:42", "true", "a map shows which variant wins, and this samples one"),
    ("{at: all, factors: {a: [3, 4]}, map: true}", "6:51", "true", "a map has two factors, and this varies one"),
    ("{at: all, factors: {a: [3, 4]}, map: [a]}", "6:51", "[a]", "a map has two factors"),
    ("{at: all, factors: {ab: [3, 4]}, map: [ab, ba]}", "6:57", "ba", "no factor is called 'ba'; there are: ab"),
    ("{factors: {a: [3, 4]}, speedups: [0 %]}", "6:48", "0 %", "a speed-up of 0 % is none"),
    ("{factors: {a: [3, 4]}, speedups: [10]}", "6:48", "10", "a speed-up of 10 is 1000 %"),
    ("{factors: {a: [3, 4]}, speedups: [5 ns]}", "6:48", "5 ns", "'5 ns' is a time; expected a share such as 7.4 %"),
    ("{factors: {a: [3, 4]}, speedups: [5 %, 0.05]}", "6:53", "0.05", "0.05 faster is listed twice"),
]


@pytest.mark.parametrize(("body", "where", "under", "message"), WRONG)
def test_an_error_points_to_its_place(body: str, where: str, under: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        read(body if body.startswith("sens") else f"sensitivity: {body}")
    place = caught.value.place
    assert place is not None
    assert (caught.value.message, str(place), place.text[place.column - 1 :][: place.width]) == (
        message,
        f"s.yaml:{where}",
        under,
    )


def test_too_many_runs_count_variants_and_seeds() -> None:
    body = "{body}sensitivity: {{at: all, samples: 100k, factors: {{a: [3, 4]}}}}"
    with pytest.raises(StudyError, match="asks for 1,600,000 runs"):
        read(body.format(body="repeat: {seeds: 2}\n"))
    assert read(body.format(body="")).runs == 400_000


@pytest.mark.parametrize(
    ("block", "broken"),
    [
        ("auto", ""),
        ({"factors": "auto", "samples": 20}, ""),
        ({"factors": {"a": [1, 2], "b": {"levels": [1, 2]}, "c": {"categories": [1, 2]}, "d": {"range": [1, 2]}}}, ""),
        (
            {"at": ["x"], "method": "pawn", "factors": {"a": [1]}, "map": True, "speedups": ["10 %"], "failed": "drop"},
            "",
        ),
        ("automatic", "'automatic'"),
        ({"method": "sobol"}, "is none of"),
        ({"factors": {"a": [1, 2]}, "method": "sobl"}, "is none of"),
        ({"factors": {"a": {"levels": [1, 2], "step": 3}}}, "is none of"),
    ],
)
def test_editors_know_it(block: Any, broken: str) -> None:
    rule = schema()
    study = {"study": "s", "scenario": "memory-hierarchy", "sensitivity": block}
    told = fits(study, rule, rule)
    assert broken in told
    assert bool(broken) == bool(told)


def test_every_key_is_explained() -> None:
    assert [key.key for key in explain("sensitivity").keys] == [f"sensitivity.{key}" for key in KEYS]
