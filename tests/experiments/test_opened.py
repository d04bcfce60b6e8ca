"""A folder that is opened again gives the result that was written, or one clear message."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiersim
from tests.experiments.expert_studies import STUDY as EXPERTS
from tests.experiments.expert_studies import write_trace
from tiersim._base.errors import AuditError, StudyError
from tiersim.experiments import runner
from tiersim.experiments.opened import FILE, _lines, _tree, open_result, stored
from tiersim.experiments.report import write_report
from tiersim.experiments.results import StudyResult
from tiersim.experiments.scenarios.memory_hierarchy import MemoryHierarchy
from tiersim.experiments.store import Parts
from tiersim.experiments.yaml_tree import Node, load_text, plain

CACHES = """\
# How large must it be?
#
# And which policy?
study: caches
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 20k, footprint: 256 KiB, write_share: 20 %, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 1 ns}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
"""
SWEPT = """\
what_if:
  twice: {system.caches.l1.capacity: 8 KiB}
sweep:
  system.memory.latency: [80 ns, 120 ns]
report:
  metrics: [caches.l1.miss_ratio, average_access_time]
  figures: [{x: what_if, y: caches.l1.miss_ratio, title: Misses}]
"""
REPEATED = """\
repeat: {seeds: 3}
what_if:
  chance: {system.caches.l1.policy: random}
report: {confidence: 90 %, correction: benjamini-hochberg}
"""
DESIGNED = """\
sweep:
  design: latin-hypercube
  points: 6
  factors: {system.memory.latency: {range: [60 ns, 120 ns]}, system.caches.l1.ways: [2, 4]}
"""
CLAIMED = """\
what_if:
  twice: {system.caches.l1.capacity: 8 KiB}
claims:
  smaller:
    measure: "caches.l1.misses['twice'] / caches.l1.misses['base']"
    range: [0.10, 0.990]
    published: 0.50
    source: a paper
  ordered: {measure: "caches.l1.misses['twice'] < caches.l1.misses['base']", published: fewer, source: a paper}
  wrong:
    measure: "caches.l1.misses['twice'] > caches.l1.misses['base']"
    published: more
    source: a paper
    not-reproduced: for a test
"""
OBJECTS = """\
study: objects
scenario: object-cache
trace: {use: generated/zipf-objects, requests: 20k, objects: 2000}
cache: {capacity: 10 %}
what_if: {SIEVE: {cache.policy: sieve}}
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(text: str, **more: Any) -> StudyResult:
    Path("s.yaml").write_text(text, encoding="utf-8")
    return tiersim.run("s.yaml", out="there", **more)


def same(one: StudyResult, other: StudyResult) -> None:
    """Equal in all that is told of them, row by row and byte by byte."""
    assert other.to_dict() == one.to_dict()
    assert other.csv() == one.csv()
    for name in ("question", "scenario", "metrics", "shown", "baseline", "figures", "drawn", "blocks", "confidence"):
        assert getattr(other, name) == getattr(one, name), name
    assert [(row.key, row.config, row.error) for row in other.rows] == [
        (row.key, row.config, row.error) for row in one.rows
    ]
    assert [row.windows for row in other.rows] == [row.windows for row in one.rows]
    assert json.dumps(other.provenance) == json.dumps(one.provenance)
    assert stored(other) == stored(one)
    assert one.folder is not None
    write_report(one)
    before = (one.folder / "report.html").read_bytes()
    write_report(other)
    assert (one.folder / "report.html").read_bytes() == before


@pytest.mark.parametrize("study", [CACHES, *(CACHES + more for more in (SWEPT, REPEATED, DESIGNED, CLAIMED)), OBJECTS])
def test_a_folder_opens_as_what_was_written(study: str) -> None:
    result = made(study)
    Path("s.yaml").unlink()  # neither the study nor a plan is needed
    same(result, open_result("there"))


def test_claims_are_judged_again_from_what_is_stored() -> None:
    result = made(CACHES + CLAIMED)
    again = open_result("there")
    assert [held.verdict for held in again.verdicts()] == ["holds", "holds", "not-reproduced"]
    assert again.verdicts() == result.verdicts()
    assert again.verdicts()[0].figure.published == "0.50"  # as it was written, with its nought
    (row,) = (row for row in again.rows if row.label == "twice")
    row.metrics["caches.l1.misses"] = 10**6
    assert [held.verdict for held in again.verdicts()] == ["fails", "fails", "fails"]


def test_experts_open_too() -> None:
    write_trace(Path("routing.parquet"), 1)
    result = tiersim.run(EXPERTS | {"what_if": {"fewer": {"system.expert_slots": "2 per layer"}}}, out="there")
    Path("routing.parquet").unlink()  # nor is the trace
    same(result, open_result("there"))


def test_edits_are_in_the_tree() -> None:
    made(CACHES + SWEPT, sets=["system.caches.l1.capacity=16 KiB"])
    tree = open_result("there").tree
    assert tree is not None
    assert plain(tree)["system"]["caches"]["l1"] == {"capacity": "16 KiB", "ways": 4, "latency": "1 ns"}


def test_what_a_study_extends_is_in_the_tree() -> None:
    Path("below.yaml").write_text(CACHES, encoding="utf-8")
    Path("s.yaml").write_text("extends: below.yaml\nstudy: over\nsystem: {memory: {latency: 90 ns}}\n")
    tiersim.run("s.yaml", out="there")
    tree = open_result("there").tree
    assert tree is not None
    assert plain(tree)["system"]["memory"] == {"latency": "90 ns"}
    assert "extends" not in plain(tree)
    assert plain(tree)["trace"]["use"] == "generated/zipf"


def test_failed_and_skipped_runs_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measure(self: MemoryHierarchy, simulated: Any) -> Any:
        if self.system.caches["l1"].capacity == 8192:
            raise AuditError("the books do not balance")
        return whole(self, simulated)

    whole = MemoryHierarchy.measure
    monkeypatch.setattr(MemoryHierarchy, "measure", measure)
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))  # another test may have fetched the trace
    result = made(CACHES + SWEPT.replace("sweep:", "  absent: {trace: {use: public/csapp-long}}\nsweep:"))
    assert len(result.skipped) == 1
    assert [row.status for row in result.rows].count("failed") == 2
    again = open_result("there")
    same(result, again)
    assert again.skipped == result.skipped
    assert {row.error for row in again.rows} == {"", "the books do not balance"}


def test_a_study_that_was_broken_off_opens_as_far_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(self: Any, job: Any, finished: Any) -> None:
        whole(self, job, finished)
        raise StudyError("enough")

    whole = runner._Run._settle
    monkeypatch.setattr(runner._Run, "_settle", settle)
    with pytest.raises(StudyError, match="enough"):
        made(CACHES + SWEPT)
    again = open_result("there")
    assert [row.status for row in again.rows] == ["done", "done", "waiting", "waiting"]
    assert not again.complete


def test_warnings_of_one_run_are_not_in_the_folder() -> None:
    made(CACHES)
    before = Path("there", FILE).read_bytes()
    (part,) = Path("there/runs").iterdir()
    part.write_bytes(b"noise")
    result = made(CACHES)
    assert any("damaged" in note for note in result.notes)
    assert Path("there", FILE).read_bytes() == before


def test_the_bytes_are_those_of_any_number_of_workers() -> None:
    Path("s.yaml").write_text(CACHES + SWEPT, encoding="utf-8")
    for out, workers in (("a", 1), ("b", 2)):
        tiersim.run("s.yaml", out=out, workers=workers)
    assert Path("a", FILE).read_bytes() == Path("b", FILE).read_bytes()
    assert str(Path.cwd()) not in Path("a", FILE).read_text()


def test_a_study_from_python_opens_too() -> None:
    from tiersim.policies.way.srrip import Srrip

    study = plain(load_text(CACHES, "s.yaml"))
    study["system"]["caches"]["l1"]["policy"] = Srrip()
    same(tiersim.run(study, out="there"), open_result("there"))


# what cannot be opened


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(StudyError, match="there is no folder 'nowhere'"):
        open_result("nowhere")


def test_a_folder_of_no_study_names_those_in_it() -> None:
    Path("results").mkdir()
    Path("s.yaml").write_text(CACHES, encoding="utf-8")
    tiersim.run("s.yaml", out="results/caches")
    with pytest.raises(StudyError, match=r"results holds no study: study.json is missing\n  .*there are.*: caches$"):
        open_result("results")


def test_a_folder_of_an_earlier_version_says_what_to_do() -> None:
    made(CACHES)
    Path("there", FILE).unlink()
    with pytest.raises(StudyError, match=r"there holds no study.json: an earlier version.*\n  run the study again"):
        open_result("there")
    made(CACHES)
    assert json.loads(Path("there/log.json").read_text())["simulations"] == 0
    open_result("there")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", r"study.json:1:1: this cannot be opened: it is no JSON"),
        ('{\n"format": 1,\n', r"study.json:3:1: this cannot be opened: it is no JSON"),
        ("[]", r"it holds no study"),
        ("{}", r"what stands in it is no study \(KeyError: 'format'\)"),
        ('{"format": 0}', r"it is of another version of tiersim \(format 0, not 1\)"),
        ("\udcff", "it is no JSON"),
    ],
)
def test_a_damaged_file_is_told_with_its_place(content: str, told: str) -> None:
    made(CACHES)
    Path("there", FILE).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(StudyError, match=told) as caught:
        open_result("there")
    assert "run the study again" in str(caught.value)


@pytest.mark.parametrize("key", ["study", "rows", "metrics", "baseline", "provenance", "texts"])
def test_a_missing_key_is_told(key: str) -> None:
    made(CACHES)
    document = json.loads(Path("there", FILE).read_text())
    del document[key]
    Path("there", FILE).write_text(json.dumps(document))
    with pytest.raises(StudyError, match=rf"what stands in it is no study \(KeyError: '{key}'\)"):
        open_result("there")


@pytest.mark.parametrize("harm", ["gone", "noise", "other"])
def test_a_part_that_is_missing_or_damaged_is_told(harm: str) -> None:
    made(CACHES + SWEPT)
    part, other, *_ = sorted(Path("there/runs").iterdir())
    if harm == "gone":
        part.unlink()
    elif harm == "noise":
        part.write_bytes(b"noise")
    else:
        shutil.copy(other, part)
    told = "there is no part of it in there/runs" if harm == "gone" else f"{re.escape(str(part))} is damaged"
    with pytest.raises(StudyError, match=f"the run {part.name[:20]} cannot be read: {told}.*\n  run the study again"):
        open_result("there")


def test_a_part_of_another_status_is_no_answer() -> None:
    result = made(CACHES)
    with pytest.raises(StudyError, match="there is no part"):
        Parts(Path("there")).held(result.rows[0].key, "failed")


# trees


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(["1_000", "0x10", "0.10", "1e3", "on", "~", "'1'", '"true"', "5 ns", "a: b", "2026-01-01"]),
    st.text(alphabet="ab .1'\"#", max_size=5),
)
TREES = st.recursive(
    LEAVES,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text("abc.", min_size=1, max_size=3), inside),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), TREES, min_size=1))
def test_a_tree_is_read_back_value_by_value_and_text_by_text(data: dict[str, Any]) -> None:
    def bare(node: Node) -> Any:
        if isinstance(node.value, dict):
            return {key: bare(held) for key, held in node.value.items()}
        return [bare(held) for held in node.value] if isinstance(node.value, list) else (node.value, node.text)

    def flow(held: Any) -> str:
        """The words of YAML themselves, so that all ways to write a scalar are there."""
        if isinstance(held, dict):
            return "{" + ", ".join(f"{json.dumps(key)}: {flow(inner)}" for key, inner in held.items()) + "}"
        if isinstance(held, list):
            return f"[{', '.join(map(flow, held))}]"
        return held if isinstance(held, str) and re.fullmatch(r"['\"\w~. -]*\w['\"]?", held) else json.dumps(held)

    try:
        node = load_text(flow(data), "s.yaml")
    except StudyError:
        return  # a quote that is never closed
    result = StudyResult("s", "", [], [], {}, [], "base", [], {}, tree=node)
    document = json.loads(stored(result))
    found = _tree(document)
    assert found is not None
    assert bare(found) == bare(node)
    assert json.loads(_lines(document)) == document
