"""The study file: what it unfolds into, which of two settings counts, and where each error points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import Place, StudyError
from tiersim.experiments.study import RESERVED, Study, place_of, problem, read_study
from tiersim.experiments.yaml_tree import Node, from_data, get, load_text, merge, plain, put, scalar

HEAD = "study: s\nscenario: x\n"
DESIGN = Path(__file__).parents[3] / "shared" / "design" / "studies"

L2 = """\
# How much does a bigger L2 help,
# and would another policy do better?
study: bigger-l2
scenario: memory-hierarchy
trace: captured/sqlite-query   # a comment
system:
  use: desktop-cpu
  caches:
    l2: {capacity: 1 MiB, ways: 8, policy: lru}
what_if:
  SRRIP in the L2: {system.caches.l2.policy: srrip}
  both:
    system.caches.l2.policy: srrip
    system.caches.l2.capacity: 2 MiB
sweep:
  system.memory.latency: [70 ns, 90 ns]
report:
  baseline: base
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str | bytes, name: str = "s.yaml") -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def read(body: str, *sets: str, **others: str) -> Study:
    """The study of a body below `HEAD`; `others` are further files by name."""
    for name, text in others.items():
        write(text, f"{name}.yaml")
    return read_study(write(HEAD + body), sets)


def trees(study: Study) -> list[Any]:
    return [plain(variant.tree) for variant in study.variants]


def fault(text: str | bytes, *sets: str) -> StudyError:
    with pytest.raises(StudyError) as caught:
        read_study(write(text), sets)
    return caught.value


def marked(place: Place | None) -> str:
    """What the caret of a message stands under."""
    assert place is not None
    return place.text[place.column - 1 : place.column - 1 + place.width]


# what a study unfolds into


def test_a_study_is_read_whole() -> None:
    study = read_study(write(L2, "bigger-l2.yaml"))
    assert (study.name, study.scenario, study.file) == ("bigger-l2", "memory-hierarchy", Path("bigger-l2.yaml"))
    assert study.question == "How much does a bigger L2 help,\nand would another policy do better?"
    assert study.seeds == [0]
    assert study.report is not None
    assert plain(study.report) == {"baseline": "base"}
    assert [(variant.label, variant.factors) for variant in study.variants] == [
        (f"{label}, latency {latency}", {"what_if": label, "system.memory.latency": latency})
        for label in ("base", "SRRIP in the L2", "both")
        for latency in ("70 ns", "90 ns")
    ]
    assert trees(study)[0] == {
        "trace": "captured/sqlite-query",
        "system": {
            "use": "desktop-cpu",
            "caches": {"l2": {"capacity": "1 MiB", "ways": 8, "policy": "lru"}},
            "memory": {"latency": "70 ns"},
        },
    }
    assert trees(study)[5]["system"]["caches"]["l2"] == {"capacity": "2 MiB", "ways": 8, "policy": "srrip"}


def test_a_study_that_varies_nothing_has_one_variant() -> None:
    study = read("a: 1\n")
    assert [(variant.label, variant.factors, variant.seed) for variant in study.variants] == [("base", {}, 0)]
    assert trees(study) == [{"a": 1}]


def test_the_tree_of_a_variant_holds_only_keys_of_the_scenario() -> None:
    study = read("a: 1\nseed: 3\nrepeat: {seeds: 1}\nreport: {}\nwhat_if: {q: {a: 2}}\nsweep: {b: [1]}\n")
    assert trees(study) == [{"a": 1, "b": 1}, {"a": 2, "b": 1}]
    assert {"study", "scenario", "what_if", "sweep", "repeat", "seed", "report", "extends"} <= set(RESERVED)


@pytest.mark.parametrize(
    ("top", "question"),
    [
        ("# One?\n", "One?"),
        ("\n#One?\n#\n# Two.\n", "One?\n\nTwo."),
        ("# yaml-language-server: $schema=study.json\n# One?\n", "One?"),
        ("", ""),
        ("\ufeff# One?\n", "One?"),
        ("# One?\r\n", "One?"),
    ],
)
def test_the_question_is_the_comment_on_top(top: str, question: str) -> None:
    assert read_study(write(top + HEAD + "# no question\n")).question == question


def test_a_sweep_is_a_product_and_the_last_key_goes_fastest() -> None:
    study = read("sweep:\n  a: [1, 2]\n  b.c: [x, y]\n")
    assert trees(study) == [{"a": a, "b": {"c": c}} for a in (1, 2) for c in ("x", "y")]
    assert [variant.label for variant in study.variants] == ["a 1, c x", "a 1, c y", "a 2, c x", "a 2, c y"]


def test_zip_goes_in_step_and_stands_beside_a_product() -> None:
    study = read("sweep:\n  zip: {a: [1, 2], b: [3, 4]}\n  c: [5, 6]\n")
    found = [tuple(variant.factors.values()) for variant in study.variants]
    assert found == [(1, 3, 5), (1, 3, 6), (2, 4, 5), (2, 4, 6)]


def test_swept_values_may_be_mappings_and_are_shown_flat() -> None:
    study = read("policy: lru\nsweep:\n  policy: [fifo, {use: srrip, bits: 3}, {use: clock}]\n")
    assert [variant.factors["policy"] for variant in study.variants] == ["fifo", "srrip (bits: 3)", "clock"]
    assert trees(study)[1] == {"policy": {"use": "srrip", "bits": 3}}


def test_labels_tell_keys_with_the_same_last_word_apart() -> None:
    study = read("sweep: {l1.size: [1], l2.size: [2], ways: [4]}\n")
    assert study.variants[0].label == "l1.size 1, l2.size 2, ways 4"


def test_labels_of_what_ifs_are_free_text() -> None:
    study = read("what_if:\n  PCIe 5.0, x16: {a: 1}\n  64 Ki-entry: {a: 2}\n  12: {a: 3}\n")
    assert [variant.label for variant in study.variants] == ["base", "PCIe 5.0, x16", "64 Ki-entry", "12"]


@pytest.mark.parametrize(
    ("body", "seeds"),
    [
        ("", [0]),
        ("seed: 7", [7]),
        ("repeat: {seeds: 3}", [0, 1, 2]),
        ("repeat: {seeds: 2}\nseed: 7", [7, 8]),
        ("repeat: {seeds: 2 seeds}", [0, 1]),
        ("repeat: {seeds: [5, 1]}", [5, 1]),
        ("repeat: null", [0]),
    ],
)
def test_seeds(body: str, seeds: list[int]) -> None:
    study = read(body)
    assert study.seeds == seeds
    assert [variant.seed for variant in study.variants] == seeds
    assert [variant.factors.get("seed") for variant in study.variants] == (seeds if len(seeds) > 1 else [None])


def test_seeds_multiply_the_variants() -> None:
    study = read("what_if: {q: {a: 1}}\nrepeat: {seeds: 2}")
    assert [(variant.label, variant.seed) for variant in study.variants] == [
        ("base", 0), ("base", 1), ("q", 0), ("q", 1)
    ]  # fmt: skip


def test_a_dict_says_the_same_as_a_file() -> None:
    data = {
        "study": "s",
        "scenario": "x",
        "trace": Path("some") / "trace",
        "system": {"ways": np.int64(8), "sizes": (1, 2)},
        "what_if": {"q": {"system.ways": 4}},
    }
    study = read_study(data)
    assert (study.file, study.question) == (None, "")
    assert trees(study) == [
        {"trace": str(Path("some") / "trace"), "system": {"ways": ways, "sizes": [1, 2]}} for ways in (8, 4)
    ]
    assert type(trees(study)[0]["system"]["ways"]) is int
    with pytest.raises(StudyError, match=r"^study\['repeat'\]\['seeds'\]\[1\]: a seed is a whole number"):
        read_study({**data, "repeat": {"seeds": [1, -1]}})
    with pytest.raises(StudyError, match=r"^study\['system'\]: the key 5 is no text"):
        read_study({**data, "system": {5: 1}})


def test_objects_of_a_python_program_pass_through() -> None:
    policy = object()
    assert trees(read_study({"study": "s", "scenario": "x", "policy": policy})) == [{"policy": policy}]


# precedence


def test_each_layer_goes_before_the_one_below() -> None:
    base = HEAD + "a: base\nb: base\nc: base\nd: base\ne: base\n"
    body = "extends: base.yaml\nb: file\nc: file\nd: file\ne: file\nwhat_if: {q: {d: what_if}}\nsweep: {e: [sweep]}\n"
    study = read(body, "c=set", base=base)
    assert trees(study) == [
        {"a": "base", "b": "file", "c": "set", "d": "file", "e": "sweep"},
        {"a": "base", "b": "file", "c": "set", "d": "what_if", "e": "sweep"},
    ]


def test_extends_is_relative_to_the_file_and_goes_in_chains() -> None:
    Path("deep").mkdir()
    write(HEAD + "a: 1\nb: {c: 1, d: [1, 2], e: {f: 1}}\nwhat_if: {q: {a: 2}}\n", "deep/first.yaml")
    write("extends: first.yaml\nb: {d: [3]}\nwhat_if: {r: {a: 3}}\n", "deep/second.yaml")
    study = read_study(write("extends: deep/second.yaml\nstudy: third\nb: {e: {g: 2}}\n"))
    assert study.name == "third"
    assert trees(study)[0] == {"a": 1, "b": {"c": 1, "d": [3], "e": {"f": 1, "g": 2}}}
    assert [variant.label for variant in study.variants] == ["base", "q", "r"]


def test_what_extends_takes_away_with_null() -> None:
    base = HEAD + "a: 0\nwhat_if: {q: {a: 1}}\nsweep: {b: [1, 2]}\n"
    assert trees(read("extends: base.yaml\nsweep: null\nwhat_if: ~\n", base=base)) == [{"a": 0}]


def test_the_same_what_if_written_with_dots_and_nested_is_one_key() -> None:
    base = HEAD + "what_if: {q: {a.b: 1, a.c: 1}}\n"
    study = read("extends: base.yaml\nwhat_if: {q: {a: {b: 2}}}\n", base=base)
    assert trees(study)[1] == {"a": {"b": 2, "c": 1}}


@pytest.mark.parametrize(
    ("file", "change", "policy"),
    [
        ("srrip", "{p.bits: 3}", {"use": "srrip", "bits": 3}),
        ("srrip", "{p: {bits: 3}}", {"use": "srrip", "bits": 3}),
        ("2q", "{p.bits: 3}", {"use": "2q", "bits": 3}),
        ("{use: srrip, bits: 1}", "{p.bits: 3}", {"use": "srrip", "bits": 3}),
        ("{use: srrip, bits: 1}", "{p: lru}", "lru"),
        ("{use: srrip, bits: 1}", "{p: {use: lru, scope: set}}", {"use": "lru", "scope": "set"}),
        ("{use: srrip, bits: 1}", "{p: {use: srrip, seed: 2}}", {"use": "srrip", "bits": 1, "seed": 2}),
        ("srrip", "{p: {use: lru, scope: set}}", {"use": "lru", "scope": "set"}),
        ("{use: srrip, bits: 1}", "{p.bits: 3, p: drrip}", {"use": "drrip", "bits": 3}),
        ("{use: srrip, bits: 1}", "{p: drrip, p.bits: 3}", {"use": "drrip", "bits": 3}),
    ],
)
def test_a_bare_name_means_use(file: str, change: str, policy: Any) -> None:
    assert trees(read(f"p: {file}\nwhat_if: {{q: {change}}}\n"))[1] == {"p": policy}


def test_a_bare_name_means_use_for_what_extends_it_as_well() -> None:
    base = HEAD + "system: desktop-cpu\ntrace: captured/a b\n"
    study = read("extends: base.yaml\nsystem: {line: 64 B}\ntrace: {limit: 5M}\n", base=base)
    assert trees(study) == [
        {"system": {"use": "desktop-cpu", "line": "64 B"}, "trace": {"use": "captured/a b", "limit": "5M"}}
    ]


def test_a_sub_key_of_one_layer_applies_after_its_parent_is_replaced_by_another() -> None:
    study = read("p: {use: lru, x: 1}\nwhat_if: {q: {p.bits: 3}}\nsweep: {p: [srrip, drrip]}\n")
    assert trees(study)[2:] == [{"p": {"use": "srrip", "bits": 3}}, {"p": {"use": "drrip", "bits": 3}}]


@pytest.mark.parametrize(
    ("edits", "tree"),
    [
        (["a.b=5"], {"a": {"b": 5, "c": ["x", "y"]}, "p": "lru"}),
        (["a.c.1=z"], {"a": {"b": 1, "c": ["x", "z"]}, "p": "lru"}),
        (["a.n.m=[1, {k: v}]"], {"a": {"b": 1, "c": ["x", "y"], "n": {"m": [1, {"k": "v"}]}}, "p": "lru"}),
        (["p.bits=2"], {"a": {"b": 1, "c": ["x", "y"]}, "p": {"use": "lru", "bits": 2}}),
        (["p.bits=2", "p=srrip"], {"a": {"b": 1, "c": ["x", "y"]}, "p": {"use": "srrip", "bits": 2}}),
        (["a.b=5", "a.b=6"], {"a": {"b": 6, "c": ["x", "y"]}, "p": "lru"}),
        ([" a . b = 90 ns"], {"a": {"b": "90 ns", "c": ["x", "y"]}, "p": "lru"}),
        (["'p.q'=1"], {"a": {"b": 1, "c": ["x", "y"]}, "p": "lru", "p.q": 1}),
        (["p='a=b'"], {"a": {"b": 1, "c": ["x", "y"]}, "p": "a=b"}),
    ],
)
def test_set_edits_the_file(edits: list[str], tree: Any) -> None:
    assert trees(read("a: {b: 1, c: [x, y]}\np: lru\n", *edits)) == [tree]


def test_set_reaches_sweeps_and_what_ifs() -> None:
    body = "what_if: {q 1.5: {a.b: 1}}\nsweep: {m.n: [1, 2], zip: {k.l: [1], o: [2]}}\nseed: 4\n"
    study = read(body, "sweep.m.n=[3]", "sweep.zip.k.l=[7]", 'what_if."q 1.5".a.b=2', "what_if.r={a: {b: 3}}", "seed=5")
    assert [variant.factors for variant in study.variants] == [
        {"what_if": label, "m.n": 3, "k.l": 7, "o": 2} for label in ("base", "q 1.5", "r")
    ]
    assert [tree.get("a") for tree in trees(study)] == [None, {"b": 2}, {"b": 3}]
    assert study.seeds == [5]
    assert len(read(body, "sweep=null", "what_if=null").variants) == 1


# errors: what is said, where, and what the caret stands under

SYNTAX = [
    ("a:\n\tb: 1", "4:1", " ", "a tab stands before this line; YAML is indented with spaces"),
    ("a:\n  b: 1\n\tc: 2", "5:1", " ", "a tab stands before this line; YAML is indented with spaces"),
    ("a: [1,", "3:7", "", "the text ends inside a bracket"),
    ("a: [1", "3:4", "[", "this bracket is never closed"),
    ("a:\t1", "3:3", " ", "a tab stands here"),
    ("a: {b: 1", "3:4", "{", "this bracket is never closed"),
    ('a: "x\nb: 1', "3:4", '"', "this quote is never closed"),
    ("a: {b: 1, c: 2]", "3:15", "]", "a comma or a closing bracket is missing before this"),
    ("a: b: c", "3:5", ":", "a colon cannot stand here: quote the text, or indent keys alike"),
    ("a: 1\n b: 2", "4:3", ":", "a colon cannot stand here: quote the text, or indent keys alike"),
    ("a: 1\nfoo\nb: 1", "4:1", "f", "a key without a colon"),
    ("a: *z", "3:4", "*", "no anchor is called 'z'"),
    ("a: @x", "3:4", "@", "a text that begins with @ needs quotes"),
    ("a: 1\nb: * x", "4:4", "*", "a text that begins with & or * needs quotes"),
    ("a: 1\nb: >x", "4:4", ">", "a text that begins with | or > needs quotes"),
    ("a: 1\nb: | x", "4:4", "|", "a text that begins with | or > needs quotes"),
    ("a: - b", "3:4", "-", "an item of a list begins a line of its own"),
    ("a:\n  - b\n c: 1", "5:2", "c", "this fits none of the lines above it: look at indentation and quotes"),
    ("a: }", "3:4", "}", "a value is missing here"),
    ("---\na: 1", "3:1", "-", "a second document begins here; one file holds one study"),
    ("a: \x07", "3:4", " ", "the character '\\x07' cannot stand in YAML"),
    ("a: &q [*q]", "3:4", "&q [*q]", "this holds itself"),
    ("a: !foo 3", "3:4", "!foo 3", "the tag !foo means nothing here"),
    ("? [a]\n: 1", "3:3", "[a]", "a key must be plain text"),
    ("a: {<<: 5}", "3:5", "<<", "`<<` takes in a mapping, or a list of them"),
    ("a: 1\nbb: 2\na: 2", "5:1", "a", "the key 'a' stands here twice"),
    ("a: {bb: 1, bb: 2}", "3:12", "bb", "the key 'bb' stands here twice"),
]

WHAT_IF = [
    ("what_if:", "3:1", "what_if", "a what_if without variants"),
    ("what_if: [a]", "3:10", "[a]", "a what_if without variants"),
    ("what_if: {base: {a: 1}}", "3:11", "base", "the label 'base' is the study without changes"),
    ("what_if: {'': {a: 1}}", "3:11", "''", "a label is empty"),
    ("what_if:\n  q:\n  r: {a: 1}", "4:3", "q", "the what_if 'q' changes nothing"),
    ("what_if: {q: lru}", "3:14", "lru", "the what_if 'q' changes nothing"),
    ("what_if: {q: {seed: 1}}", "3:15", "seed", "'seed' is of the study itself and cannot vary"),
    ("what_if: {q: {report: {baseline: q}}}", "3:24", "baseline", "'report' is of the study itself and cannot vary"),
    ("what_if: {q: {a..b: 1}}", "3:15", "a..b", "'a..b' is no dotted key"),
    ("a: 5 ns\nwhat_if: {q: {a.b: 1}}", "4:15", "a.b", "a is '5 ns', which has no key 'b' in it"),
    ("a: {b: 64}\nwhat_if: {q: {a.b.c: 1}}", "4:15", "a.b.c", "a.b is '64', which has no key 'c' in it"),
    ("a: [x]\nwhat_if: {q: {a.1: 1}}", "4:15", "a.1", "a is a list of length 1: it has no item '1'"),
    ("a: [x]\nwhat_if: {q: {a.b: 1}}", "4:15", "a.b", "a is a list of length 1: it has no item 'b'"),
]

SWEEP = [
    ("sweep:", "3:1", "sweep", "a sweep without values"),
    ("sweep: {}", "3:8", "{}", "a sweep without values"),
    ("sweep: [1, 2]", "3:8", "[1, 2]", "a sweep without values"),
    ("sweep:\n  a:\n  b: [1]", "4:3", "a", "a sweep without values: a"),
    ("sweep: {a: []}", "3:12", "[]", "a sweep without values: a"),
    ("sweep: {a: 5 ns}", "3:12", "5 ns", "a must have a list of values"),
    ("sweep: {a: {b: [1]}}", "3:12", "{b: [1]}", "a must have a list of values"),
    ("sweep:\n  a:\n    - 1\n    -\n    - 3", "4:3", "a", "a misses a value"),
    ("sweep: {a: [1, 2, 1]}", "3:19", "1", "a has the value 1 twice"),
    ("sweep: {report.baseline: [1]}", "3:9", "report.baseline", "'report' is of the study itself and cannot vary"),
    ("sweep: {.a: [1]}", "3:9", ".a", "'.a' is no dotted key"),
    ("sweep: {zip: }", "3:9", "zip", "a zip without values"),
    ("sweep: {zip: {a: [1, 2], b: [3]}}", "3:29", "[3]", "a zip goes in step, and b has 1 where a has 2 values"),
    ("sweep: {zip: {a: [1, 2], b: 3}}", "3:29", "3", "b must have a list of values"),
]

REST = [
    ("repeat:", "3:1", "repeat", "`repeat` says how often"),
    ("repeat: 5", "3:9", "5", "`repeat` says how often"),
    ("repeat: {sedes: 1}", "3:10", "sedes", "unknown key 'sedes'; did you mean 'seeds'?"),
    ("repeat: {seeds: 0}", "3:17", "0", "`seeds` is how many: 1 to 1,000,000"),
    ("repeat: {seeds: 5 ns}", "3:17", "5 ns", "'5 ns' is a time; expected a count such as 64 Ki"),
    ("repeat: {seeds: []}", "3:17", "[]", "a list of seeds without seeds"),
    ("repeat: {seeds: [1, x]}", "3:21", "x", "a seed is a whole number from 0 to 2^64 - 1"),
    ("repeat: {seeds: [2, 2]}", "3:18", "2", "the seed 2 is listed twice"),
    ("seed: 1\nrepeat: {seeds: [2]}", "4:17", "[2]", "both `seed`, at s.yaml:3:7, and a list of seeds: which counts?"),
    ("seed: -1", "3:7", "-1", "a seed is a whole number from 0 to 2^64 - 1"),
    ("seed: true", "3:7", "true", "a seed is a whole number from 0 to 2^64 - 1"),
    ("seed: 18446744073709551616", "3:7", str(2**64), "a seed is a whole number from 0 to 2^64 - 1"),
    ("extends:", "3:1", "extends", "`extends` names one study file"),
    ("extends: [a, b]", "3:10", "[a, b]", "`extends` names one study file"),
    ("extends: gone.yaml", "3:10", "gone.yaml", "there is no file 'gone.yaml'"),
    ("extends: s.yaml", "3:10", "s.yaml", "these files extend each other in a circle: s.yaml -> s.yaml"),
]


@pytest.mark.parametrize(("body", "where", "under", "message"), [*SYNTAX, *WHAT_IF, *SWEEP, *REST])
def test_an_error_points_to_its_place(body: str, where: str, under: str, message: str) -> None:
    error = fault(HEAD + body)
    assert (error.message, f"{error.place}", marked(error.place)) == (message, f"s.yaml:{where}", under)


MEANT = "the key `scenario` is missing; {!r}: did you mean {!r}?"


@pytest.mark.parametrize(
    ("text", "where", "under", "message"),
    [
        ("", "1:1", "", "there is no study in this file"),
        ("# only a comment\n", "1:1", "", "there is no study in this file"),
        ("- a\n", "1:1", "-", "a study is a mapping of keys to values"),
        ("just text\n", "1:1", "just text", "a study is a mapping of keys to values"),
        ("[" * 900 + "]" * 900, "1:1", "[", "this is nested too deeply"),
        (" : 2", "1:2", ":", "a key is missing before the colon"),
        ("scenario: x\n", "1:1", "scenario", "the key `study` is missing"),
        ("# q\nstudy: s\n", "2:1", "study", "the key `scenario` is missing"),
        ("study: s\nscenario:\n", "2:1", "scenario", "the key `scenario` is missing"),
        ("study: s\nscenarios: x\n", "2:1", "scenarios", MEANT.format("scenarios", "scenario")),
        ("study: s\nextend: x\n", "2:1", "extend", MEANT.format("extend", "extends")),
        ("study: [s]\nscenario: x\n", "1:8", "[s]", "`study` must be a name"),
        ("study: a/b\nscenario: x\n", "1:8", "a/b", "a study's name becomes a folder, which 'a/b' cannot be"),
        ("study: ..\nscenario: x\n", "1:8", "..", "a study's name becomes a folder, which '..' cannot be"),
        ("# q\r#\r\na: \x1f", "3:4", " ", "the character '\\x1f' cannot stand in YAML"),
        (b"\xef\xbb\xbfa: \xff", "1:4", "\ufffd", "this is not UTF-8 text"),
        (b"study: s\r\nscenario: \xff x\n", "2:11", "\ufffd", "this is not UTF-8 text"),
    ],
)  # fmt: skip
def test_an_error_of_a_whole_file_points_to_its_place(text: str | bytes, where: str, under: str, message: str) -> None:
    error = fault(text)
    assert (error.message, f"{error.place}", marked(error.place)) == (message, f"s.yaml:{where}", under)


@pytest.mark.parametrize(
    ("edit", "column", "under", "message"),
    [
        ("a", 8, "", "--set takes KEY=VALUE: `=` is missing here"),
        ("", 7, "", "--set takes KEY=VALUE: a key is missing here"),
        ("=1", 7, "=", "--set takes KEY=VALUE: a key is missing here"),
        ("a.=1", 9, "=", "--set takes KEY=VALUE: a key is missing here"),
        ("a..b=1", 9, ".", "--set takes KEY=VALUE: a key is missing here"),
        ("a=", 9, "", "--set takes KEY=VALUE: a value is missing here"),
        ("a=#1", 9, "#", "--set takes KEY=VALUE: a value is missing here"),
        ("a=[1", 9, "[", "this bracket is never closed"),
        ("a=x: y: z", 13, ":", "a colon cannot stand here: quote the text, or indent keys alike"),
        ("extends=b.yaml", 7, "extends", "`extends` cannot be set: it is followed before"),
        ("c.d.e=1", 7, "c.d.e", "c.d is '5 ns', which has no key 'e' in it"),
        ("l.3=1", 7, "l.3", "l is a list of length 1: it has no item '3'"),
        ("seed=x", 12, "x", "a seed is a whole number from 0 to 2^64 - 1"),
        ("sweep={c: [4, {x: []}, 4]}", 30, "4", "c has the value 4 twice"),
    ],
)
def test_an_error_of_set_points_into_the_argument(edit: str, column: int, under: str, message: str) -> None:
    error = fault(HEAD + "c: {d: 5 ns}\nl: [x]\n", edit)
    assert (error.message, f"{error.place}") == (message, "command line")
    assert error.place is not None
    assert (error.place.text, error.place.column, marked(error.place)) == (f"--set {edit}", column, under)


def test_a_message_shows_the_line_and_a_caret() -> None:
    assert str(fault(HEAD + "sweep: {a: []}")) == (
        "s.yaml:3:12: a sweep without values: a\n"
        "    3 | sweep: {a: []}\n"
        "                   ^^\n"
        "  write a: [value, value]"
    )  # fmt: skip
    assert str(fault(HEAD, "a=")) == (
        "command line: --set takes KEY=VALUE: a value is missing here\n"
        "    | --set a=\n"
        "              ^\n"
        "  such as --set system.memory.latency='90 ns'"
    )


def test_two_that_set_the_same_key_are_both_shown() -> None:
    error = fault(HEAD + "what_if:\n  q: {a.b: 1}\nsweep:\n  a.b: [1, 2]\n")
    assert str(error) == (
        "s.yaml:6:3: a.b is set twice: by the sweep here and the what_if 'q' at s.yaml:4:7\n"
        "    6 |   a.b: [1, 2]\n"
        "          ^^^\n"
        "  set it in one place only; the other is s.yaml:4:7\n"
        "    4 |   q: {a.b: 1}\n"
        "              ^^^"
    )
    error = fault(HEAD + "sweep: {a: [1], zip: {a: [2]}}")
    assert error.message == "a is set twice: by the sweep here and the sweep at s.yaml:3:9"
    error = fault(HEAD + "what_if: {q: {a: {b: 1}, a.b: 2}}")
    assert error.message == "a.b is set twice: by the what_if 'q' here and the what_if 'q' at s.yaml:3:19"
    assert f"{error.place}" == "s.yaml:3:26"


def test_what_if_and_sweep_may_override_the_file_and_stand_around_each_other() -> None:
    study = read("a: {b: 0}\nwhat_if: {q: {a: {use: n}}}\nsweep: {a.b: [1]}\n")
    assert trees(study) == [{"a": {"b": 1}}, {"a": {"use": "n", "b": 1}}]


def test_a_product_that_nobody_meant_is_refused_before_it_is_made() -> None:
    values = list(range(100))
    error = fault(HEAD + f"sweep: {{a: {values}, b: {values}, c: {values}}}\nrepeat: {{seeds: 2}}\n")
    assert error.message == "this study asks for 2,000,000 runs"


def test_missing_files_and_folders() -> None:
    write(HEAD, "bigger-l2.yaml")
    for name, message, remedy in (
        ("biger-l2.yaml", "there is no file 'biger-l2.yaml'", "did you mean 'bigger-l2.yaml'?"),
        ("zzz.yaml", "there is no file 'zzz.yaml'", "`tiersim new SCENARIO` writes a study to start from"),
        ("no/s.yaml", "there is no file 'no/s.yaml'", "`tiersim new SCENARIO` writes a study to start from"),
        (".", "'.' is a folder", "name a study file in it"),
    ):
        with pytest.raises(StudyError) as caught:
            read_study(name)
        assert (caught.value.message, caught.value.remedy) == (message, remedy)


def test_a_circle_of_files_and_an_error_in_what_is_extended() -> None:
    write("extends: s.yaml\n", "b.yaml")
    error = fault(HEAD + "extends: b.yaml\n")
    assert f"{error.place}: {error.message}" == (
        "b.yaml:1:10: these files extend each other in a circle: s.yaml -> b.yaml -> s.yaml"
    )
    write("a: [1,\n", "b.yaml")
    assert f"{fault(HEAD + 'extends: b.yaml').place}".startswith("b.yaml:")


# places of the problems that a scenario finds


@pytest.fixture
def layered() -> Study:
    body = (
        "extends: base.yaml\nsystem:\n  ways: 8\n  list:\n    - x: 1\n      y: 2\n"
        "what_if:\n  q: {system.policy: lru}\nsweep:\n  system.line: [64 B]\n"
    )
    return read(body, "system.cores=2", base="system:\n  size: 1 MiB\n  policy: {use: srrip, bits: 3}\n")


@pytest.mark.parametrize(
    ("path", "message", "where", "under"),
    [
        (("system", "ways"), "wrong", "s.yaml:5:9", "8"),
        (("system", "ways"), "unknown key 'ways'", "s.yaml:5:3", "ways"),
        (("system", "ways", "int"), "wrong", "s.yaml:5:9", "8"),
        (("system", "missing"), "the key 'missing' is missing", "s.yaml:4:1", "system"),
        (("missing", "deeper"), "the key 'missing' is missing", "s.yaml:1:1", "study"),
        (("system", "list"), "wrong", "s.yaml:6:3", "list"),
        (("system", "list", 0, "y"), "wrong", "s.yaml:8:10", "2"),
        (("system", "list", 0), "wrong", "s.yaml:7:7", "x"),
        (("system", "list", 5), "wrong", "s.yaml:6:3", "list"),
        (("system", "size"), "wrong", "base.yaml:2:9", "1 MiB"),
        (("system", "size"), "unknown key 'size'", "base.yaml:2:3", "size"),
        (("system", "policy"), "wrong", "s.yaml:10:22", "lru"),
        (("system", "policy"), "unknown key 'policy'", "s.yaml:10:7", "system.policy"),
        (("system", "policy", "use"), "wrong", "s.yaml:10:22", "lru"),
        (("system", "line"), "wrong", "s.yaml:12:17", "64 B"),
        (("system", "line"), "unknown key 'line'", "s.yaml:12:3", "system.line"),
        (("system", "cores"), "wrong", "command line", "2"),
        (("system", "cores"), "unknown key 'cores'", "command line", "system.cores"),
    ],
)
def test_a_problem_points_to_what_set_the_value(
    layered: Study, path: tuple[Any, ...], message: str, where: str, under: str
) -> None:
    error = problem(layered.variants[1].tree, path, message)
    assert (error.message, f"{error.place}", marked(error.place)) == (message, where, under)
    if not message.startswith("unknown"):
        assert place_of(layered.variants[1].tree, path) == error.place


def test_an_opened_name_keeps_its_place() -> None:
    tree = read("p: srrip\nwhat_if: {q: {p.bits: 3}}\n").variants[1].tree
    assert f"{place_of(tree, ('p', 'use'))}" == "s.yaml:3:4"
    assert f"{place_of(tree, ('p', 'bits'))}" == "s.yaml:4:23"
    assert f"{place_of(tree, ('p',))}" == "s.yaml:3:4"


# the tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-5", -5), ("+5", 5), ("017", 17), ("0x1F", 31), ("0o17", 15), ("1_000", 1000), ("5.", 5.0),
        ("0.50", 0.5), (".5", 0.5), ("1e3", 1000.0), ("true", True), ("False", False), ("~", None), ("null", None),
        ("", None), ("yes", "yes"), ("on", "on"), ("5 ns", "5 ns"), ("2020-01-01", "2020-01-01"), (".nan", ".nan"),
        (".inf", ".inf"), ("1e999", "1e999"), ("1__0", "1__0"), ("12:30", "12:30"), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)
    node = load_text(f"k: {text}\n", "t").value["k"]
    assert (node.value, node.text) == (value, text)
    assert load_text(f"k: '{text}'\n", "t").value["k"].value == text


def test_aliases_and_merge_keys() -> None:
    tree = load_text("a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, c: 3}\nf: {<<: [{b: 7}, *x]}\n", "t")
    assert plain(tree) == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 2}, "e": {"b": 1, "c": 3}, "f": {"b": 7, "c": 2}}
    assert f"{tree.value['d'].key_place}" == "t:2:1"
    assert plain(load_text("a: &x 1\nb: &x 2\nc: *x\n", "t"))["c"] == 2


def test_columns_hold_with_all_line_ends_and_odd_characters() -> None:
    tree = load_text('a: é\r\nb: "x\ty" # z\rc: {d: 5}\n', "t")
    places = [tree.value["a"].place, tree.value["b"].place, tree.value["c"].value["d"].place]
    assert [(f"{place}", marked(place)) for place in places] == [("t:1:4", "é"), ("t:2:4", '"x y"'), ("t:3:8", "5")]
    assert places[1].text == 'b: "x y" # z'


def test_put_leaves_the_tree_that_it_is_given() -> None:
    tree = from_data({"a": {"b": [1, 2]}}, "t")
    assert plain(put(tree, ["a", "b", "1"], from_data(3, "u"))) == {"a": {"b": [1, 3]}}
    assert plain(tree) == {"a": {"b": [1, 2]}}
    assert get(tree, ["a", "b", 5]) is None
    assert get(tree, ["a", "b", -1]) is None
    found = get(tree, ["a", "b", 1])
    assert found is not None
    assert found.value == 2


# a key is always a mapping or always a value, as in any one schema: else which of three wins depends on the brackets
INNER = st.fixed_dictionaries({}, optional={"x": st.integers(), "y": st.lists(st.integers(), max_size=2)})
MIDDLE = st.fixed_dictionaries({}, optional={"C": INNER, "z": st.booleans()})
SHAPED = st.fixed_dictionaries({}, optional={"A": INNER, "B": MIDDLE, "x": st.integers()})


def node(data: Any) -> Node:
    return from_data(data, "t")


def leaves(data: Any, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(data, dict):
        return {above: data}
    return {path: value for key, held in data.items() for path, value in leaves(held, (*above, key)).items()}


@given(SHAPED, SHAPED, SHAPED)
def test_merging_is_associative(a: Any, b: Any, c: Any) -> None:
    left = plain(merge(merge(node(a), node(b)), node(c)))
    right = plain(merge(node(a), merge(node(b), node(c))))
    assert left == right


@given(SHAPED, SHAPED)
def test_what_lies_over_wins_and_nothing_else_changes(under: Any, over: Any) -> None:
    merged = plain(merge(node(under), node(over)))
    assert leaves(merged) == leaves(under) | leaves(over)
    assert plain(merge(node(under), node(under))) == under
    assert plain(merge(node({}), node(over))) == over == plain(merge(node(over), node({})))


KEYS = ["a", "b", "c.d", "c.e", "f.g.h"]
LAYER = st.dictionaries(st.sampled_from(KEYS), st.integers(), max_size=4)


def nested(flat: dict[str, int]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in flat.items():
        *way, last = key.split(".")
        inside = out
        for step in way:
            inside = inside.setdefault(step, {})
        inside[last] = value
    return out


@given(file=LAYER, edits=LAYER, what_if=LAYER, sweep=LAYER, order=st.randoms())
def test_the_last_writer_wins(file: Any, edits: Any, what_if: Any, sweep: Any, order: Any) -> None:
    what_if = {key: value for key, value in what_if.items() if key not in sweep}
    data = {"study": "s", "scenario": "x", **nested(file)}
    if what_if:
        data["what_if"] = {"q": what_if}
    if sweep:
        data["sweep"] = {key: [value] for key, value in sweep.items()}
    shuffled = list(edits.items())
    order.shuffle(shuffled)
    study = read_study(data, [f"{key}={value}" for key, value in shuffled])
    expected = [nested(file | edits | sweep), nested(file | edits | what_if | sweep)][: 2 if what_if else 1]
    assert [leaves(tree) for tree in trees(study)] == [leaves(tree) for tree in expected]


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=4, unique=True), min_size=1, max_size=3))
def test_a_sweep_has_every_point_once(axes: list[list[int]]) -> None:
    sweep = dict(zip("abc", axes, strict=False))
    study = read_study({"study": "s", "scenario": "x", "sweep": sweep})
    points = [tuple(variant.factors.values()) for variant in study.variants]
    assert len(points) == len(set(points)) == int(np.prod([len(axis) for axis in axes]))
    assert trees(study) == [dict(zip("abc", point, strict=False)) for point in points]


@given(st.text("abe:-?[]{}&*!#|>'\"%@`,<.= \t\n\r0123", max_size=30) | st.text(max_size=20))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        tree = load_text(text, "t")
    except StudyError as error:
        place = error.place
    else:
        place = tree.place
    assert place is not None
    assert place.line >= 1
    assert place.column >= 1
    assert place.column <= len(place.text) + 1


@given(st.text("ab.='\" [{}]:,#1&*", max_size=20))
def test_any_argument_of_set_is_read_or_refused_with_a_place(edit: str) -> None:
    try:
        read_study({"study": "s", "scenario": "x"}, [edit])
    except StudyError as error:
        place = error.place
    else:
        place = Place("command line", 0, 1, f"--set {edit}")
    assert place is not None
    assert place.file == "command line" or place.file.startswith("study")


@pytest.mark.skipif(not DESIGN.is_dir(), reason="the folder of the design is not beside this checkout")
@pytest.mark.parametrize(("name", "variants"), [("bigger-l2", 12), ("dualmap", 45), ("victima", 100)])
def test_the_studies_of_the_design_load(name: str, variants: int) -> None:
    assert len(read_study(DESIGN / f"{name}.yaml").variants) == variants


@pytest.mark.skipif(not DESIGN.is_dir(), reason="the folder of the design is not beside this checkout")
def test_the_study_of_the_design_with_a_sensitivity_loads() -> None:
    study = read_study(DESIGN / "moe-offload.yaml")
    assert study.sensitivity is not None
    assert study.sensitivity.runs == 64 * (2 * 3 + 2)
    assert [factor.kind for factor in study.sensitivity.factors or ()] == ["range", "range", "levels"]
    assert read_study(DESIGN / "moe-offload.yaml", ["sensitivity=null"]).sensitivity is None
    assert len(study.variants) == 12
    assert trees(study)[3]["policy"] == {"use": "mixtral-offloading", "lookahead": 1}
