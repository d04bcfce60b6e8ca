"""Studies with shootdowns, processes that take turns and pages of two sizes: metrics, seeds and messages."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.models.test_knobs import POLICY
from tests.models.test_translation_knobs import study
from tiersim._base.errors import TiersimError
from tiersim.experiments.plan import make_plan
from tiersim.traces import Writer, load_trace
from tiersim.traces.turns import Process, Turns

TURN: dict[str, Any] = {"processes": {"noise": "other.parquet"}, "quantum": "5k"}
ROOM = {"system.tlbs.l2.entries": 256}  # for all pages of both traces
REGION, PAGE = 1 << 21, 1 << 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    (folder / "plain.py").write_text(POLICY, encoding="utf-8")
    write_near(folder / "one.parquet", 1)
    write_near(folder / "other.parquet", 2)
    return folder


def write_near(path: Path, seed: int) -> None:
    """Loads and fetches in 50 pages."""
    rng = np.random.default_rng(seed)
    columns = {
        "address": rng.integers(0, 50 * PAGE // 64, 3000).astype(np.uint64) * 64,
        "size": np.full(3000, 8, np.uint16),
        "kind": rng.choice([0, 3], 3000).astype(np.uint8),
        "gap": rng.integers(20, 60, 3000).astype(np.uint32),
    }
    with Writer(path) as out:
        out.append(columns)


@pytest.fixture(autouse=True)
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def rows(**changes: Any) -> list[dict[str, int | float]]:
    result = tiersim.run(study(**ROOM | changes)[0], keep=False)
    assert [row.error for row in result.rows if row.status != "done"] == []
    return [row.metrics for row in result.rows]


def metrics(**changes: Any) -> dict[str, int | float]:
    (row,) = rows(**changes)
    return row


def test_processes_are_a_trace_of_their_turns(folder: Path) -> None:
    one, other = (load_trace(folder / f"{name}.parquet") for name in ("one", "other"))
    with Writer(folder / "both.parquet") as out:
        for chunk in Turns([Process(one), Process(other, 100, 700)], 5000).chunks():
            out.append(chunk)
    turns = {"processes": {"noise": {"use": "other.parquet", "skip": "100", "limit": "700"}}, "quantum": "5k"}
    for asids in (True, False):
        changes = {"trace.warm_up": "10 %", "asids": asids}
        assert metrics(**turns, **changes) == metrics(**{"trace.use": "both.parquet"}, **changes)


def test_a_switch_without_asids_empties_tlbs() -> None:
    tagged, untagged = (metrics(**TURN, asids=asids) for asids in (True, False))
    executed = [load_trace(f"{name}.parquet").instructions for name in ("one", "other")]
    assert tagged["instructions"] == sum(executed)
    # each of them has a turn for each 5,000 instructions and at most one record more
    assert 2 * (min(executed) // 5060) - 1 <= tagged["switches"] == untagged["switches"] <= 2 * max(executed) // 5000
    assert "tlbs.l2.removed" not in tagged
    assert untagged["tlbs.dtlb.removed"] >= untagged["switches"]
    assert untagged["translation.missing"] > tagged["translation.missing"]
    small = {**TURN, "system.tlbs.l2.entries": 16, "policy": {"use": "victima", "predictor": "always"}}
    blocks = [metrics(**small, asids=asids) for asids in (True, False)]
    assert 0 < blocks[1]["blocks.hits"] < blocks[0]["blocks.hits"]


def test_shootdowns_come_at_their_rate_to_what_is_measured() -> None:
    none, some = metrics(), metrics(shootdowns="10k")
    assert some["shootdowns"] == some["instructions"] // 1000 * 10
    assert "shootdowns" not in none
    assert some["translation.missing"] > none["translation.missing"]
    assert some["tlbs.l2.removed"] > 0
    late = metrics(shootdowns="10k", **{"trace.warm_up": "50 %"})
    assert abs(late["shootdowns"] - some["shootdowns"] / 2) < 100


def test_pages_of_shootdowns_are_drawn_by_the_seed() -> None:
    first, second = rows(shootdowns="5k", repeat={"seeds": 2})
    assert first["shootdowns"] == second["shootdowns"]
    assert first["translation.missing"] != second["translation.missing"]
    assert metrics(shootdowns="5k") == first


@pytest.mark.parametrize("policy", ["radix", "victima", "pom-tlb", "hashed"])
def test_all_mechanisms_are_interrupted_alike(policy: str) -> None:
    changes = {**TURN, "asids": False, "shootdowns": "2k", "policy": policy}
    interrupted, alone = metrics(**changes), metrics(**changes | {"asids": True, "shootdowns": 0})
    assert interrupted["walks"] > alone["walks"]
    assert interrupted["shootdowns"] == 2 * (interrupted["instructions"] // 1000)


def test_queued_time_counts_the_same() -> None:
    changes = {**TURN, "asids": False, "shootdowns": "2k", "trace.warm_up": "10 %"}
    queued, additive = metrics(**changes, timing="queued"), metrics(**changes)
    alike = ("switches", "shootdowns", "walks", "translation.missing", "tlbs.l2.removed", "instructions")
    assert [queued[name] for name in alike] == [additive[name] for name in alike]


def test_guests_are_shot_too() -> None:
    guest = {"system.nested": {"entries": 4, "ways": 2, "latency": "3 cycles"}}
    assert metrics(**guest, shootdowns="10k")["walks"] > metrics(**guest)["walks"]


MESSAGES = {
    "a process that is no trace": (
        "processes: {noise: captured/sorted}",
        "captured/sorted",
        "there is no trace 'captured/sorted'",
    ),
    "a process of requests": (
        "processes: {noise: generated/zipf-objects}",
        "generated/zipf-objects",
        "this scenario replays access",
    ),
    "nothing left": ("processes: {noise: {use: one.parquet, skip: 1M}}", "1M", "nothing is left of a trace"),
    "a turn of nothing": ("processes: {noise: one.parquet}\nquantum: 0", "0", "must be at least 1"),
    "one space": ("asids: false", "false", "there is one address space, and no switch"),
    "a rate without end": ("shootdowns: 2M", "2M", "must be at most 1M"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_does_not_fit_is_told_with_its_place(folder: Path, name: str) -> None:
    text, place, message = MESSAGES[name]
    lines = f"study: wrong\nscenario: translation\ntrace: one.parquet\nsystem: victima-paper\n{text}\n"
    (folder / "wrong.yaml").write_text(lines, encoding="utf-8")
    with pytest.raises(TiersimError, match=message) as caught:
        make_plan("wrong.yaml")
    where = caught.value.place
    assert where is not None
    assert lines.splitlines()[where.line - 1][where.column - 1 :].startswith(place)


# pages of two sizes


def test_the_size_of_a_page_is_chosen_when_its_region_is_touched_first(folder: Path) -> None:
    regions = 40
    place = np.random.default_rng(1).permutation(regions * 20)
    address = place // 20 * REGION + place % 20 * PAGE
    ones = np.ones(len(address))
    with Writer(folder / "regions.parquet") as out:
        columns = {"size": ones.astype(np.uint16), "gap": ones.astype(np.uint32), "kind": np.zeros(len(ones), np.uint8)}
        out.append({"address": address.astype(np.uint64), **columns})
    shares = ["0 %", "50 %", "100 %"]
    own = {"trace.use": "regions.parquet", "repeat": {"seeds": 2}}
    small, *drawn, large = rows(**own, sweep={"large_pages": shares}, policy="victima")
    assert small["pages.touched"] == large["pages.touched"] == len(address)
    assert small["pages.tables"] == 3 + regions  # a table of 4 KiB pages for each region
    assert large["pages.tables"] == 3
    assert all(3 + regions // 5 < row["pages.tables"] < 3 + regions - regions // 5 for row in drawn)
    assert drawn[0]["pages.tables"] != drawn[1]["pages.tables"]
    again = rows(**own, large_pages="50 %")  # whatever the policy
    assert [row["pages.tables"] for row in again] == [row["pages.tables"] for row in drawn]
    # pages that no TLB has room for
    assert large["translation.missing"] < drawn[0]["translation.missing"] < small["translation.missing"]


def test_workers_open_traces_themselves() -> None:
    (run,) = make_plan(study(trace={"use": "generated/bfs", "scale": 6, "references": "1k"})[0]).runs
    assert run.scenario.size() == 1000
    next(iter(run.scenario._replayed.trace.chunks()))  # from now on the generator holds what cannot be sent
    assert pickle.loads(pickle.dumps(run.scenario)).trace_fingerprint() == run.scenario.trace_fingerprint()
