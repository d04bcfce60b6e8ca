"""Queued time in a study of translation: the counts of additive time, walkers and neighbours, tables and JSON."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

import tiersim
from tests.models.test_knobs import POLICY
from tests.sim.queued.test_timeline import read
from tiersim._base.errors import TiersimError
from tiersim.cli import main
from tiersim.experiments.plan import make_plan
from tiersim.experiments.time_parts import ADDITIVE
from tiersim.traces.store import Writer

RECORDS = 2000
PART = "plain.py:Plain"  # which runs without a compiler


def cache(capacity: str, ways: int, latency: str, **more: Any) -> dict[str, Any]:
    return {"capacity": capacity, "ways": ways, "latency": latency, "policy": PART, **more}


def tlb(entries: int, ways: int, latency: str, **more: Any) -> dict[str, Any]:
    return {"entries": entries, "ways": ways, "latency": latency, "policy": PART, **more}


STUDY: dict[str, Any] = {
    "study": "walks that overlap",
    "scenario": "translation",
    "trace": {"use": "one.parquet", "warm_up": "10 %"},
    "system": {
        "caches": {
            "l1": cache("2 KiB", 2, "2 cycles"),
            "l2": cache("4 KiB", 4, "10 cycles"),
            "l3": cache("16 KiB", 8, "30 cycles", shared=True),
        },
        "memory": {"latency": "90 ns"},
        "core": {"frequency": "2 GHz", "base_cpi": 0.5},
        "tlbs": {"dtlb": tlb(8, 2, "1 cycle", serves="all"), "l2tlb": tlb(16, 4, "7 cycles")},
        "walker": {"caches": {name: tlb(4, 2, "2 cycles") for name in ("pml4", "pdpt", "pd")}},
    },
    "timing": "queued",
}
GUESTS = {"system.nested": {"entries": 4, "ways": 2, "latency": "3 cycles", "policy": PART}}
COUNTS = (
    "accesses", "instructions", "walks", "walks_per_kiloinstruction", "walks_that_read_memory", "background_walks",
    "memory.reads", "memory.writes", "memory.walk_reads", "host_walks", "probes", "pages.touched", "pages.tables",
    "shootdowns", "switches",
)  # fmt: skip


def write_trace(path: Path, seed: int, kinds: int = 4, spaces: int = 0) -> None:
    rng = np.random.default_rng(seed)
    near, far = rng.integers(0, 16 << 12, RECORDS), rng.integers(0, 64 << 21, RECORDS)
    columns = {
        "address": np.where(rng.random(RECORDS) < 0.6, near, far).astype(np.uint64) & ~np.uint64(7),
        "size": np.full(RECORDS, 8, np.uint16),
        "kind": rng.integers(0, kinds, RECORDS).astype(np.uint8),
        "gap": rng.integers(1, 20, RECORDS).astype(np.uint32),
    }
    if spaces:
        columns["asid"] = rng.integers(0, spaces, RECORDS).astype(np.uint16)
    with Writer(path) as out:
        out.append(columns)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text(POLICY, encoding="utf-8")
    write_trace(tmp_path / "one.parquet", 1)
    write_trace(tmp_path / "other.parquet", 2)
    write_trace(tmp_path / "loads.parquet", 3, kinds=1)
    write_trace(tmp_path / "spaces.parquet", 4, spaces=30)
    return tmp_path


def metrics(changes: dict[str, dict[str, Any]], **given: Any) -> list[dict[str, int | float]]:
    rows = tiersim.run(STUDY | given | {"what_if": changes}, keep=False).rows
    assert all(row.status == "done" for row in rows), [row.error for row in rows]
    return [row.metrics for row in rows]


def counted(held: dict[str, int | float]) -> dict[str, int | float]:
    kept = ("caches.", "tlbs.", "blocks.", "pom.hit")
    told = ("translation.miss", "translation.mpki", "translation.walk", "translation_reach")
    return {
        name: value
        for name, value in held.items()
        if name in COUNTS or (name.startswith((*kept, *told)) and not name.endswith(ADDITIVE))
    }


POLICIES: dict[str, dict[str, Any]] = {
    "radix": {"policy": "radix"},
    "victima": {"policy": "victima"},
    "guests": {"policy": "victima", **GUESTS},
    "pom-tlb": {"policy": {"use": "pom-tlb", "entries": 64}},
    "hashed": {"policy": "hashed", "large_pages": "30 %"},
    "shootdowns": {"shootdowns": "2k", "large_pages": "30 %"},
    "prefetch": {"system.caches.l2.prefetch": {}},
    "reach": {"system.tlbs.l2tlb.reach": 8},
    "processes": {"processes": {"noise": "other.parquet"}, "quantum": "2k", "asids": False},
}


@pytest.mark.parametrize("name", POLICIES)
def test_additive_and_queued_count_alike(name: str, folder: Path) -> None:
    there = POLICIES[name]
    _, queued, additive, chips = metrics(
        {
            "queued": there,
            "additive": there | {"timing": "additive"},
            "chips": there | {"system.memory.dram": "ddr4-3200"},
        }
    )
    assert counted(queued) == counted(additive) == counted(chips)
    assert queued["memory.latency"] == 90
    assert queued["cycles"] != chips["cycles"]
    assert queued["walk_latency"] > 0
    if name == "victima":
        assert queued["background_walks"] > 0
    if name == "shootdowns":
        assert queued["shootdowns"] > 10


def test_walkers(folder: Path) -> None:
    core = STUDY["system"]["core"] | {"walkers": 1}
    one, two, many = metrics(
        {"two": {"system.core.walkers": 2}, "many": {"system.core.walkers": 50}},
        system=STUDY["system"] | {"core": core},
    )
    assert one["cycles"] > two["cycles"] > many["cycles"]
    assert one["walker.waiting"] > two["walker.waiting"] > many["walker.waiting"] == 0
    assert one["walk_latency"] > two["walk_latency"] > many["walk_latency"]
    assert one["translation.share"] > many["translation.share"] > 0
    assert one["translation.share"] <= one["stalled.window"] + one["stalled.outstanding"] + 1e-9
    assert counted(one) == counted(two) == counted(many)


def test_a_core_that_waits_for_all_takes_the_additive_time(folder: Path) -> None:
    """One reference at a time, and nothing runs ahead: what is exposed is all that is paid."""
    core = STUDY["system"]["core"] | {"outstanding": 1, "window": 0}
    queued, additive = metrics(
        {"additive": {"timing": "additive"}}, system=STUDY["system"] | {"core": core}, trace={"use": "loads.parquet"}
    )
    assert queued["cycles"] == pytest.approx(additive["cycles"], rel=1e-9)
    assert queued["walk_latency"] == pytest.approx(additive["walk_latency"])
    assert queued["translation.latency"] == pytest.approx(additive["translation.latency"])


def test_copies_and_neighbours(folder: Path) -> None:
    chips = {"system.memory.dram": "ddr4-3200"}
    _, one, three, beside = metrics(
        {"one": chips, "three": chips | {"copies": 3}, "beside": chips | {"beside": {"noise": "other.parquet"}}}
    )
    for name in ("caches.l1.data_misses", "tlbs.l2tlb.misses", "walks"):
        assert one[name] == three[name] == beside[name]
    assert three["caches.l3.walk_reads"] > 2 * one["caches.l3.walk_reads"]
    assert one["cycles"] < beside["cycles"] < three["cycles"]
    assert one["memory.load"] < three["memory.load"] < 1
    assert beside["beside.noise.cycles_per_instruction"] > 0
    assert one["memory.row_hit_ratio"] > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timing": "additive", "copies": 2}, "with additive time cores do not meet"),
        ({"timing": "additive", "beside": {"noise": "other.parquet"}}, "with additive time cores do not meet"),
        ({"beside": {"noise": {"use": "other.parquet", "warm_up": "1 %"}}}, "`warm_up` of the trace"),
        (
            {"system": STUDY["system"] | {"caches": {"l1": cache("2 KiB", 2, "1 cycle", shared=True)}}},
            "serves a",
        ),
        ({"copies": 40, "beside": {"many": "spaces.parquet"}}, "have 70 address spaces, and no more than 64"),
    ],
)
def test_what_cannot_be_is_one_message(changes: dict[str, Any], said: str, folder: Path) -> None:
    assert said in complaint(STUDY | changes)


def complaint(study: dict[str, Any]) -> str:
    try:
        (row,) = tiersim.run(study, keep=False).rows
    except TiersimError as error:
        return str(error)
    return str(row.error)


def test_a_study_from_its_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = STUDY | {
        "what_if": {"Victima": {"policy": "victima"}, "two": {"copies": 2}},
        "report": {"metrics": ["cycles_per_instruction", "translation.share", "walk_latency", "walker.waiting"]},
    }
    YAML().dump(study, Path("s.yaml"))
    with pytest.raises(SystemExit) as caught:
        main(["run", "s.yaml", "--quiet", "--json", "--out", "first"])
    assert caught.value.code in (0, None)
    said = json.loads(capsys.readouterr().out)
    assert [run["label"] for run in said["runs"]] == ["base", "Victima", "two"]
    base, victima, two = (run["metrics"] for run in said["runs"])
    assert victima["blocks.hits"] > 0
    assert base["walks"] == two["walks"] > victima["walks"]
    assert two["walk_latency"] > 0
    assert {"stalled.window", "stalled.outstanding", "memory.latency", "walk_latency.longest"} <= base.keys()
    again = tiersim.run("s.yaml", out="again")
    assert again.folder is not None
    parts = [
        {path.name: path.read_bytes() for path in sorted((Path(name) / "runs").glob("*.parquet"))}
        for name in ("first", again.folder)
    ]
    assert parts[0]
    assert parts[0] == parts[1]


@pytest.mark.parametrize("chips", [None, "ddr4-3200"])
def test_a_timeline_shows_walks_and_who_reads(
    chips: str | None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = STUDY | {"trace": {"use": "one.parquet", "limit": 400}, "policy": "victima", "copies": 2}
    study["system"] = study["system"] | {"memory": {"latency": "90 ns", "dram": chips}}
    YAML().dump(study, Path("s.yaml"))
    with pytest.raises(SystemExit) as caught:
        main(["timeline", "s.yaml", "--quiet", "--json", "--out", "t.json.gz"])
    assert caught.value.code in (0, None)
    assert json.loads(capsys.readouterr().out)["left_out"] == 0
    events = read(Path("t.json.gz"))
    tracks = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert tracks == {"core 0", "core 1", *(["memory"] if chips else [])}
    begun = Counter(event["name"].rpartition(": ")[2] for event in events if event["ph"] == "b")
    scenario = make_plan("s.yaml").runs[0].scenario
    made = scenario.simulate(0, lambda _: None).cores
    assert begun["walk in the background"] == sum(own.own["background_walks"] for own in made.own) > 0
    for who in ("program", "background"):
        assert begun[who] == made.own[0].memory[f"{who}_reads"]
    walks = sum(own.own["walks"] for own in made.own)
    assert begun["walk"] == walks + made.own[0].memory["walk_reads"]
    assert {"load", "store", "fetch"} <= begun.keys()
