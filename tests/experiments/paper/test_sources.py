"""Citations say what the register, the presets and the catalogue state, and nothing more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tiersim
from tests.experiments.expert_studies import STUDY as EXPERTS
from tests.experiments.expert_studies import write_trace
from tiersim._base.registry import families, index
from tiersim.experiments.opened import open_result
from tiersim.experiments.paper.references import bibtex, merged, read_references
from tiersim.experiments.paper.sources import sources, used
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import Row, StudyResult

PAPERS = sorted({entry.paper for family in families() for entry in index(family).values() if entry.paper})
LIBRARY = Path(tiersim.__file__).parent / "experiments" / "library"


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        (
            "Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078",
            {
                "author": "Belady",
                "journal": "IBM Systems Journal",
                "volume": "5",
                "number": "2",
                "year": "1966",
                "doi": "10.1147/sj.52.0078",
            },
        ),
        (
            "O'Neil, O'Neil, Weikum, SIGMOD 1993, doi:10.1145/170035.170081",
            {
                "author": "O'Neil and O'Neil and Weikum",
                "booktitle": "SIGMOD 1993",
                "year": "1993",
                "doi": "10.1145/170035.170081",
            },
        ),
        (
            "Qin et al., Mooncake, USENIX FAST 2025, Algorithm 1",
            {
                "author": "Qin and others",
                "title": "Mooncake",
                "booktitle": "USENIX FAST 2025",
                "year": "2025",
                "note": "Algorithm 1",
            },
        ),
        (
            "Chou, DeWitt, An evaluation of buffer management strategies, VLDB 1985, vldb.org/conf/1985",
            {
                "author": "Chou and DeWitt",
                "title": "An evaluation of buffer management strategies",
                "booktitle": "VLDB 1985",
                "year": "1985",
                "url": "https://vldb.org/conf/1985",
            },
        ),
        (
            "DualMap, ICLR 2026, arXiv 2602.06502",  # a system has no surname
            {
                "title": "DualMap",
                "booktitle": "ICLR 2026",
                "year": "2026",
                "eprint": "2602.06502",
                "archiveprefix": "arXiv",
            },
        ),
        ("Corbato, MIT Project MAC report, 1968", {"author": "Corbato", "howpublished": "MIT Project MAC report"}),
        ("sgl-project/sglang, a.rs", {"title": "sgl-project/sglang", "url": "https://github.com/sgl-project/sglang"}),
        ("a sentence with a name (Who et al., 2011)", {"note": "a sentence with a name (Who et al., 2011)"}),
        ("github.com/callanjfox/kv-cache-tester", {"url": "https://github.com/callanjfox/kv-cache-tester"}),
    ],
)
def test_a_reference_is_read_into_its_fields(said: str, fields: dict[str, str]) -> None:
    (one,) = read_references(said, "a test")
    assert fields.items() <= one.fields.items()
    assert one.fields.keys() - fields.keys() <= {"year", "note"}


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_invented_of_any_paper_of_the_register(paper: str) -> None:
    found = read_references(paper, "a policy")
    words = set(re.findall(r"\w+", paper)) | {"and", "others", "arXiv", "https", "github", "com"}
    for one in found:
        for name, held in one.fields.items():
            assert set(re.findall(r"\w+", held)) <= words, (name, held)
        assert one.fields, paper
    for identifier in re.findall(r"10\.\d{4,}/[^\s,;()]+|\d{4}\.\d{5}", paper):
        assert any(identifier in one.fields.values() for one in found), identifier


def test_the_file_is_well_formed_and_each_work_is_in_it_once() -> None:
    references = [one for paper in PAPERS for one in read_references(paper, "a policy")]
    works = merged([*references, *references])
    text = bibtex(works)
    keys = re.findall(r"^@(\w+)\{([A-Za-z0-9-]+),$", text, re.MULTILINE)
    assert len({key for _, key in keys}) == len(keys) == len(works) == text.count("\n@") + text.startswith("@")
    for line in text.splitlines():
        if not line.startswith(("%", "@", "}")) and line:
            assert re.fullmatch(r"  [a-z]+ = \{.*\},", line), line
            plain = re.sub(r"\\[{}]", "", line)
            assert plain.count("{") == plain.count("}"), line
    assert {one.fields.get("doi") for one in works.values()} >= {"10.1147/sj.52.0078"}


def test_a_work_that_two_use_tells_both() -> None:
    said = "Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078"
    works = merged([*read_references(said, "one"), *read_references(said, "other")])
    assert [one.used for one in works.values()] == [["one", "other"]]


# what a study used


def planned(source: Path | dict[str, object], sets: list[str] | None = None) -> StudyResult:
    """The result that a study would have, of runs that are not made."""
    from tiersim._base.params import dump

    plan = make_plan(source, sets or [])
    return plan.result(
        [Row(run.label, run.factors, run.seed, "", "done", config=dump(run.scenario)) for run in plan.runs]
    )


def test_a_study_of_caches_cites_its_trace_its_policies_and_its_preset() -> None:
    result = planned(LIBRARY / "bigger-l2.yaml")
    found = sources(result)
    assert ("trace", "captured/sqlite-query") in {(one.family, one.use) for one in used(result)}
    assert {(one.family, one.use) for one in found.policies} >= {
        ("way-replacement", "lru"),
        ("way-replacement", "srrip"),
    }
    by_key = {held.key: held for held in found.presets}
    assert by_key["system.memory.latency"].uncertainty == "60 to 110 ns"
    page = found.markdown()
    assert "- `system.core.frequency` = 4.5 GHz: 4.2 to 5.7 GHz" in page.partition("## Assumed or uncertain")[2]
    assert "| `system.line` | 64 B | desktop-cpu | AMD, Software Optimization Guide" in page
    assert re.search(
        r"`captured/sqlite-query`\n  - what: .*\n  - licence: .*\n  - recipe: .*\n  - sha256 of the file: [0-9a-f]{64}",
        page,
    )
    assert "10.1145/1815961.1815971" in bibtex(merged(found.references))


def test_what_the_study_sets_itself_is_no_number_of_the_preset() -> None:
    found = sources(planned(LIBRARY / "bigger-l2.yaml", ["system.memory.latency=90 ns"]))
    assert "system.memory.latency" not in {held.key for held in found.presets}


def test_policies_inside_others_and_of_experts_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_trace(Path("routing.parquet"), 1)
    found = sources(planned(dict(EXPERTS)))
    assert ("experts", "on-demand") in {(one.family, one.use) for one in found.policies}
    assert list(found.traces) == ["routing.parquet"]
    assert found.traces["routing.parquet"]["what"] == "a file of the user's own"
    assert {held.origin for held in found.presets} >= {"rtx-4090", "pcie-4-x16"}


def test_a_policy_of_the_user_is_named_and_not_cited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = Path(tiersim.__file__).parents[1] / "docs" / "examples" / "mru.py"
    Path("mru.py").write_text(example.read_text())
    result = planned(LIBRARY / "bigger-l2.yaml", ["system.caches.l2.policy=mru.py:Mru"])
    found = sources(result)
    (one,) = (held for held in found.policies if held.use == "mru.py:Mru")
    assert found.policies[one] is None
    assert "`mru.py:Mru`: a class of the user's own" in found.markdown()


def test_the_folder_has_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.experiments.paper.test_folder import STUDY
    from tiersim.experiments.paper.folder import write_paper

    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(STUDY)
    tiersim.run("s.yaml", out="there")
    paper = write_paper(open_result("there"))
    assert "10.1145/235025.235029" in Path("there/paper/references.bib").read_text()  # of the generator
    assert Path("there/paper/sources.md").read_text().startswith("# Sources of larger-l1\n")
    assert paper.references[0]["key"] == "tiersim"
