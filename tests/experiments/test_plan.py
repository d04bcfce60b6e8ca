"""From a study to the runs it asks for: what is refused, skipped, run once, and what each message says."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tiersim._base.errors import StudyError, TiersimError, TraceError
from tiersim.experiments.catalogue import explain
from tiersim.experiments.plan import Plan, make_plan

STUDY = """\
# Which one?
study: small
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 20k, footprint: 4 MiB, seed: 1}
system:
  use: desktop-cpu
  caches:
    l2: {capacity: 256 KiB, ways: 8}
"""
TRACE = "{use: generated/zipf, records: 20k, footprint: 4 MiB, seed: 1}"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(text: str = STUDY, *sets: str) -> Plan:
    Path("s.yaml").write_text(text, encoding="utf-8")
    return make_plan("s.yaml", sets)


def change(old: str, new: str) -> str:
    assert old in STUDY
    return STUDY.replace(old, new)


# (study, what the caret stands under, part of the message)
WRONG = {
    "unknown key": (STUDY + "timming: additive\n", "timming", "did you mean 'timing'?"),
    "unknown key far from all": (STUDY + "colour: red\n", "colour", "known here: trace, system, timing"),
    "unknown key inside": (change("ways: 8", "wyas: 8"), "wyas", "did you mean 'ways'?"),
    "wrong unit": (change("256 KiB", "256 ns"), "256 ns", "is a time; expected a size such as 80 GiB"),
    "no unit": (change("256 KiB", "262144"), "262144", "has no unit; expected a size"),
    "unit of two meanings": (change("256 KiB", "256 KB"), "256 KB", "did you mean 256 KiB or 256 kB?"),
    "wrong type": (change("ways: 8", "ways: eight"), "eight", "must be a whole number or `full`, not 'eight'"),
    "true is no number": (change("ways: 8", "ways: true"), "true", "must be a whole number or `full`, not true"),
    "a list for a number": (change("ways: 8", "ways: [8, 4]"), "[8, 4]", "not a list"),
    "a list for a cache": (change("{capacity: 256 KiB, ways: 8}", "[8]"), "[8]", "must be a mapping, not a list"),
    "nothing for a cache": (change("{capacity: 256 KiB, ways: 8}", ""), "l2", "must be a mapping, not nothing"),
    "a word for all caches": (
        change("\n    l2: {capacity: 256 KiB, ways: 8}", " l2"),
        "l2",
        "must be a mapping of names, not 'l2'",
    ),
    "not a number": (
        change("  caches:", "  core: {base_cpi: .nan}\n  caches:"),
        ".nan",
        "must be a number, not '.nan'",
    ),
    "out of range": (
        change("  caches:", "  core: {exposed: 120 %}\n  caches:"),
        "120 %",
        "must be at most 100 %",
    ),
    "wrong word": (
        change("ways: 8", "inclusion: exlusive"),
        "exlusive",
        "must be `non-inclusive`, `inclusive` or `exclusive`, not 'exlusive'; did you mean 'exclusive'?",
    ),
    "unknown policy": (change("ways: 8", "policy: srip"), "srip", "did you mean 'srrip'?"),
    "unknown policy in a mapping": (change("ways: 8", "policy: {use: srip}"), "srip", "did you mean 'srrip'?"),
    "unknown parameter of a policy": (
        change("ways: 8", "policy: {use: srrip, bit: 3}"),
        "bit",
        "unknown key 'bit'; did you mean 'bits'?",
    ),
    "wrong parameter of a policy": (change("ways: 8", "policy: {use: srrip, bits: 99}"), "99", "must be at most 16"),
    "a policy without a file": (change("ways: 8", "policy: my.py:Mine"), "my.py:Mine", "there is no file 'my.py'"),
    "unknown preset": (change("desktop-cpu", "desktp-cpu"), "desktp-cpu", "did you mean 'desktop-cpu'?"),
    "unknown scenario": (change("memory-hierarchy", "memory-hirarchy"), "memory-hirarchy", "did you mean"),
    "no multiple of the line": (change("256 KiB", "1000 B"), "1000 B", "no multiple of the line of 64 B"),
    "no multiple of the ways": (change("ways: 8", "ways: 7"), "256 KiB", "4096 lines are no multiple of 7 ways"),
    "line that is no power of two": (
        change("  caches:", "  line: 48 B\n  caches:"),
        "48 B",
        "a line of 48 B is no power of two",
    ),
    "ways that the policy cannot": (
        change("256 KiB, ways: 8", "192 KiB, ways: 6, policy: tree-plru"),
        "tree-plru",
        "power of two",
    ),
    "unknown cache below": (change("ways: 8", "below: l9"), "l9", "there is no cache 'l9'"),
    "a circle": (change("ways: 8", "below: l2"), "l2", "round in a circle: l2 -> l2"),
    "copies without time": (STUDY + "copies: 2\n", "2", "with additive time cores do not meet"),
    "a neighbour without time": (STUDY + "beside: {noise: captured/sort}\n", "{", "with additive time cores do not"),
    "a neighbour's warm-up": (
        STUDY + "timing: queued\nbeside: {noise: {use: captured/sort, warm_up: 10 %}}\n",
        "10 %",
        "begins with the `warm_up` of the trace",
    ),
    "a neighbour that is not there": (
        STUDY + "timing: queued\nbeside: {noise: captured/sorted}\n",
        "captured/sorted",
        "there is no trace",
    ),
    "a neighbour of which nothing is left": (
        STUDY + "timing: queued\nbeside: {noise: {use: captured/sort, skip: 100M}}\n",
        "100M",
        "nothing is left",
    ),
    "a shared cache over one that is not": (
        change("ways: 8}", "ways: 8}\n    l1d: {shared: true}"),
        "true",
        "l2 stands below it and is not shared",
    ),
    "no trace": (STUDY.replace(f"trace: {TRACE}\n", ""), "study", "the key 'trace' is missing"),
    "a trace that is not there": (change(TRACE, "captured/nothing"), "captured/nothing", "there is no trace"),
    "a trace file that is not there": (change(TRACE, "my.parquet"), "my.parquet", "no such file"),
    "unknown generator": (change("generated/zipf", "generated/zpif"), "generated/zpif", "did you mean 'zipf'?"),
    "unknown parameter of a generator": (change("footprint", "fotprint"), "fotprint", "did you mean 'footprint'?"),
    "wrong parameter of a generator": (change("4 MiB", "4 ns"), "4 ns", "is a time; expected a size"),
    "nothing left of the trace": (change("seed: 1", "skip: 20k"), "20k", "nothing is left of a trace of 20,000"),
    "nothing left to measure": (
        change("seed: 1", "warm_up: 100 %"),
        "100 %",
        "a warm-up of 20,000 records leaves nothing of 20,000",
    ),
    "swept value": (STUDY + "sweep:\n  system.line: [64 B, 64 ns]\n", "64 ns", "is a time"),
    "swept key": (STUDY + "sweep:\n  system.lyne: [64 B]\n", "system.lyne", "did you mean 'line'?"),
    "key of a what_if": (
        STUDY + "what_if:\n  a: {system.memry.latency: 4 ns}\n",
        "system.memry.latency",
        "did you mean 'memory'?",
    ),
    "unknown metric": (
        STUDY + "report:\n  metrics: [caches.l2.mis_ratio]\n",
        "caches.l2.mis_ratio",
        "did you mean 'caches.l2.miss_ratio'?",
    ),
    "metrics that are no list": (
        STUDY + "report:\n  metrics: memory.reads\n",
        "memory.reads",
        "must be a list of text",
    ),
    "unknown baseline": (STUDY + "report: {baseline: bse}\n", "bse", "did you mean 'base'?"),
    "unknown factor": (
        STUDY + "report:\n  figures: [{x: l2, y: memory.reads}]\n",
        "l2",
        "nothing varies 'l2'; there are: what_if, time",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_message_points_to_the_place_and_says_what_to_do(name: str) -> None:
    text, under, message = WRONG[name]
    with pytest.raises(TiersimError) as caught:
        plan(text)
    error = caught.value
    assert message in error.message
    assert error.place is not None
    assert error.place.file == "s.yaml"
    line = text.splitlines()[error.place.line - 1]
    assert line[error.place.column - 1 :].startswith(under)
    caret = str(error).splitlines()[2]
    assert caret.strip("^").strip() == ""
    assert caret.index("^") == str(error).splitlines()[1].index(line) + error.place.column - 1
    assert error.remedy or "did you mean" in message
    assert "dictionary" not in str(error)  # words of Python and of its libraries
    assert "input" not in error.message
    for word in re.findall(r"`tiersim explain (\S+)`", error.remedy):
        assert explain(word).title  # what is proposed works


def test_further_problems_are_told_as_well() -> None:
    with pytest.raises(StudyError) as caught:
        plan(change("256 KiB, ways: 8", "256 ns, ways: x, latency: 4"))
    remedy = caught.value.remedy.splitlines()
    assert [line.strip()[:18] for line in remedy[1:]] == ["also: s.yaml:8:34:", "also: s.yaml:8:46:"]


@pytest.mark.parametrize(
    ("edit", "under", "message"),
    [
        ("system.line=48B", "48B", "is no power of two"),
        ("system.lyne=48B", "system.lyne", "did you mean 'line'?"),
        ("trace=nothing.gz", "nothing.gz", "there is no trace"),
        ("trace.warm_up=100 %", "100 %", "leaves nothing"),
    ],
)
def test_a_problem_of_set_points_into_the_argument(edit: str, under: str, message: str) -> None:
    with pytest.raises(TiersimError) as caught:
        plan(STUDY, edit)
    assert message in caught.value.message
    line, caret = str(caught.value).splitlines()[1:3]
    assert line.endswith(f"--set {edit}")
    assert line[caret.index("^") : caret.rindex("^") + 1] == under


def test_a_trace_keeps_its_kind_of_error() -> None:
    with pytest.raises(TraceError, match="list traces"):
        plan(change(TRACE, "captured/nothing"))


def test_the_file_below_a_preset_goes_before_it() -> None:
    (run,) = plan().runs
    system: Any = run.scenario.system  # type: ignore[attr-defined]
    assert system.caches["l2"].capacity == 256 << 10
    assert system.caches["l3"].capacity == 32 << 20
    assert run.label == "base"
    assert run.factors == {}


def test_what_ifs_and_sweeps_make_runs_in_order() -> None:
    runs = plan(STUDY + "what_if:\n  slow: {system.memory.latency: 1 us}\nsweep:\n  system.line: [64 B, 128 B]\n").runs
    assert [run.label for run in runs] == ["base, line 64 B", "base, line 128 B", "slow, line 64 B", "slow, line 128 B"]
    assert runs[3].factors == {"what_if": "slow", "system.line": "128 B"}


BELADY = "what_if:\n  optimal: {system.caches.l2.policy: belady}\n"


@pytest.mark.parametrize("more", ["", "repeat: {seeds: 3}\n"])
def test_a_policy_that_cannot_be_honoured_is_skipped_once_and_says_why(more: str) -> None:
    made = plan(STUDY + BELADY + more)
    assert [run.label for run in made.runs] == ["base"]
    (skip,) = made.skipped
    assert skip["what"] == "optimal"
    assert skip["why"] == (
        "belady in l2 needs references that no eviction changes; "
        "use it where no cache is inclusive and its own is not exclusive"
    )


def test_a_policy_that_can_be_honoured_is_not_skipped() -> None:
    made = plan(STUDY + BELADY, "system.caches.l2.inclusion=non-inclusive")
    assert [run.label for run in made.runs] == ["base", "optimal"]
    assert made.skipped == []


def test_a_study_of_which_nothing_is_left_is_an_error() -> None:
    with pytest.raises(StudyError, match="nothing is left to run: belady in l2 needs"):
        plan(STUDY, "system.caches.l2.policy=belady")


def test_a_baseline_that_is_skipped_is_still_a_name() -> None:
    made = plan(
        STUDY + "what_if:\n  lru: {system.caches.l2.policy: lru}\nreport: {baseline: base}\n",
        "system.caches.l2.policy=belady",
    )
    assert [run.label for run in made.runs] == ["lru"]
    assert [item["what"] for item in made.skipped] == ["base"]


def test_seeds_that_reach_nothing_random_run_once_and_say_so() -> None:
    made = plan(STUDY + "repeat: {seeds: 3}\n")
    assert [(run.seed, run.factors) for run in made.runs] == [(0, {})]
    assert made.notes == ["repeat asks for 3 seeds, but nothing in this study is random: run once"]


def test_only_random_variants_are_repeated() -> None:
    made = plan(STUDY + "repeat: {seeds: 3}\nseed: 7\nwhat_if:\n  dice: {system.caches.l2.policy: random}\n")
    assert [(run.label, run.seed) for run in made.runs] == [("base", 7), ("dice", 7), ("dice", 8), ("dice", 9)]
    assert [run.factors.get("seed") for run in made.runs] == [None, 7, 8, 9]
    assert made.notes == ["repeat asks for 3 seeds, but 1 of its variants are not random: run once"]


def test_the_resolved_study_shows_every_default() -> None:
    label = 'slow: "1" \u00b5s, \U0001f40c # {}'
    text = plan(STUDY + f"what_if:\n  '{label}': {{system.memory.latency: 1 us}}\n").resolved()
    assert text.startswith("# Which one?\nstudy: small\n")
    for line in ("    latency: 80 ns", "  line: 64 B", "timing: additive", "miss_kinds: true", "      write: back"):
        assert line in text.splitlines()
    assert YAML(typ="safe").load(text)["runs"] == [
        {"label": "base", "seed": 0, "factors": {"what_if": "base"}, "set": {}},
        {"label": label, "seed": 0, "factors": {"what_if": label}, "set": {"system.memory.latency": "1 us"}},
    ]


def test_a_dict_is_a_study_too() -> None:
    made = make_plan(
        {
            "study": "small",
            "scenario": "memory-hierarchy",
            "trace": {"use": "generated/zipf", "records": "20k"},
            "system": "desktop-cpu",
        }
    )
    assert len(made.runs) == 1


def test_a_problem_of_a_dict_is_placed_in_it() -> None:
    with pytest.raises(StudyError) as caught:
        make_plan({"study": "s", "scenario": "memory-hierarchy", "trace": "generated/zipf", "system": {"lyne": 3}})
    assert str(caught.value.place) == "study['system']['lyne']"
