"""A study of many traces runs those that are here, and says of each other one how it may come here."""

from pathlib import Path

import pytest

import tiersim
from tiersim._base.errors import AbsentError
from tiersim.experiments.plan import make_plan
from tiersim.experiments.yaml_tree import load, plain
from tiersim.traces.catalogue import bundled
from tiersim.traces.fetch import public

STUDY = """
# Which ones run?
study: some
scenario: memory-hierarchy
trace: {use: captured/sort, limit: 2k}
system: {use: desktop-cpu, caches: {l2: {capacity: 512 KiB}}}
what_if:
  larger: {system.caches.l2.capacity: 1 MiB}
sweep:
  trace.use: [public/spec2000-mcf, captured/sort, public/csapp-long]
report: {metrics: [caches.l2.misses]}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and no public traces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)


def test_those_that_are_here_run_and_the_others_are_skipped_once_each() -> None:
    Path("some.yaml").write_text(STUDY, encoding="utf-8")
    result = tiersim.run("some.yaml", keep=False)
    assert [row.factors["trace.use"] for row in result.rows if row.status == "done"] == ["captured/sort"] * 2
    assert [item["why"].split(";")[0] for item in result.skipped] == [
        "public/spec2000-mcf is not here yet",
        "public/csapp-long is not here yet",
    ]
    assert "TIERSIM_TRACE_MIRROR" in result.skipped[0]["why"] or "tiersim traces fetch" in result.skipped[0]["why"]


def test_where_none_is_here_the_first_is_told() -> None:
    Path("none.yaml").write_text(STUDY.replace("captured/sort, public", "public"), encoding="utf-8")
    with pytest.raises(AbsentError, match="public/spec2000-mcf is not here yet"):
        make_plan("none.yaml")


def test_a_name_that_no_catalogue_has_is_no_absent_trace() -> None:
    Path("wrong.yaml").write_text(STUDY.replace("csapp-long", "csapp-lang"), encoding="utf-8")
    with pytest.raises(tiersim.TiersimError, match="the catalogue has no public trace 'public/csapp-lang'"):
        make_plan("wrong.yaml")


def test_every_address_trace_of_the_catalogue_is_asked_whether_it_waits_for_translations() -> None:
    file = Path(tiersim.__file__).parent / "experiments" / "library" / "translation-real.yaml"
    listed = plain(load(file))["sweep"]["trace.use"]
    known = [*bundled(), *(item.name for item in public().values() if item.kind == "memory accesses")]
    assert sorted(listed) == sorted(known)
    plan = make_plan(file)
    assert {run.factors["trace.use"] for run in plan.runs} == set(bundled())
    assert len(plan.skipped) == len(known) - len(bundled())
