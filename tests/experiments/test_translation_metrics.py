"""Metrics of the scenario translation: what is of the program stays apart from what mechanisms read and write."""

from typing import Any

import pytest

import tiersim
from tests.models.test_knobs import POLICY
from tests.models.test_translation_knobs import study, write_trace

POM = {"policy": {"use": "pom-tlb", "entries": 64, "ways": 4}}
VARIANTS: dict[str, dict[str, Any]] = {
    "radix": {},
    "POM-TLB": POM,
    "whole sets": {"policy": {**POM["policy"], "read": "set"}},
    "hashed": {"policy": "hashed"},
    "Victima": {"policy": "victima"},
    "guest": {"system.nested": {"entries": 4, "ways": 2, "latency": "3 cycles"}},
    "prefetcher": {"system.caches.l1d.prefetch": {}},
    "reach": {"system.tlbs.l2.reach": 8},
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int | float]]:
    folder = tmp_path_factory.mktemp("translation")
    (folder / "plain.py").write_text(POLICY, encoding="utf-8")
    write_trace(folder / "one.parquet", 1)
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, changes in VARIANTS.items():
            (row,) = tiersim.run(study(**changes)[0], keep=False).rows
            assert row.status == "done", row.error
            made[name] = row.metrics
    return made


@pytest.mark.parametrize("name", VARIANTS)
def test_first_caches_see_each_reference_of_the_program_once(
    rows: dict[str, dict[str, int | float]], name: str
) -> None:
    own, radix = rows[name], rows["radix"]
    for cache in ("l1i", "l1d"):
        assert own[f"caches.{cache}.data_reads"] == radix[f"caches.{cache}.data_reads"]
    first = sum(own[f"caches.{cache}.data_reads"] for cache in ("l1i", "l1d"))
    assert first == radix["caches.l1i.data_reads"] + radix["caches.l1d.data_reads"] >= own["accesses"]
    # what the first caches miss the next one is asked for, by the program and nobody else
    assert own["caches.l2.data_reads"] == own["caches.l1i.data_misses"] + own["caches.l1d.data_misses"]
    assert own["caches.l3.data_reads"] == own["caches.l2.data_misses"]


def test_a_pom_tlb_tells_what_it_is_asked(rows: dict[str, dict[str, int | float]]) -> None:
    own = rows["POM-TLB"]
    assert own["pom.hits"] + own["walks"] == own["translation.missing"] == rows["radix"]["translation.missing"]
    assert own["pom.hit_ratio"] == own["pom.hits"] / own["translation.missing"] > 0
    # at least the first cache, at most all of them and the memory, for two lines at once
    assert 2 <= own["pom.latency"] <= 2 + 10 + 30 + 180
    assert "pom.hits" not in rows["radix"]


def test_hashed_tables_tell_the_reads_of_a_walk(rows: dict[str, dict[str, int | float]]) -> None:
    assert 1 <= rows["hashed"]["probes"] < 3
    assert "probes" not in rows["radix"]
    assert rows["hashed"]["walks"] == rows["radix"]["walks"]


def test_a_reach_leaves_fewer_missing(rows: dict[str, dict[str, int | float]]) -> None:
    assert rows["reach"]["translation.missing"] < rows["radix"]["translation.missing"]
