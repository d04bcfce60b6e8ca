"""Every knob of address translation changes something: each key of a study is turned, and a metric must move."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.models.test_knobs import POLICY
from tiersim._base.errors import StudyError
from tiersim.experiments.catalogue import keys_of
from tiersim.experiments.plan import make_plan
from tiersim.experiments.scenarios.translation import Translation
from tiersim.sim.translation import translate
from tiersim.traces.store import Writer

RECORDS = 3000
VICTIMA = {"policy": {"use": "victima", "predictor": "at-least-once"}}

GUEST = {"system.nested": {"entries": 4, "ways": 2, "latency": "3 cycles", "policy": "plain.py:Plain"}}
VIRTUAL = {"system.nested": {**GUEST["system.nested"], "lookup": "virtual"}}
TURNS: dict[str, dict[str, Any]] = {
    "trace.use": {"trace.use": "other.parquet"},
    "trace.skip": {"trace.skip": "100"},
    "trace.limit": {"trace.limit": "2000"},
    "trace.warm_up": {"trace.warm_up": "10 %"},
    "policy": VICTIMA,
    "large_pages": {"large_pages": "50 %"},
    "shootdowns": {"shootdowns": "10k"},
    "processes.NAME.use": {"processes": {"noise": "other.parquet"}},
    "system.caches.NAME.capacity": {"system.caches.l2.capacity": "8 KiB"},
    "system.caches.NAME.ways": {"system.caches.l2.ways": "full"},
    "system.caches.NAME.latency": {"system.caches.l2.latency": "11 cycles"},
    "system.caches.NAME.policy": {"system.caches.l2.policy": "plain.py:Newest"},
    "system.caches.NAME.below": {"system.caches.l1i.below": "l3"},
    "system.caches.NAME.serves": {"system.caches.l1i.serves": "data", "system.caches.l1d.serves": "instructions"},
    "system.caches.NAME.write": {"system.caches.l1d.write": "through"},
    "system.caches.NAME.write_allocate": {"system.caches.l1d.write_allocate": False},
    "system.caches.NAME.inclusion": {"system.caches.l2.inclusion": "inclusive"},
    "system.memory.latency": {"system.memory.latency": "91 ns"},
    "system.core.frequency": {"system.core.frequency": "3 GHz"},
    "system.core.base_cpi": {"system.core.base_cpi": 0.75},
    "system.core.exposed": {"system.core.exposed": "99 %"},
    "system.core.stall_factor": {"system.core.stall_factor": "99 %"},
    "system.tlbs.NAME.entries": {"system.tlbs.l2.entries": 32},
    "system.tlbs.NAME.ways": {"system.tlbs.l2.ways": "full"},
    "system.tlbs.NAME.latency": {"system.tlbs.l2.latency": "11 cycles"},
    "system.tlbs.NAME.policy": {"system.tlbs.l2.policy": "plain.py:Newest"},
    "system.tlbs.NAME.serves": {"system.tlbs.itlb.serves": "data", "system.tlbs.dtlb.serves": "instructions"},
    "system.tlbs.NAME.pages": {"system.tlbs.l2.pages": "2 MiB"},
    "system.tlbs.NAME.fill": {"system.tlbs.l2.fill": "walks"},
    "system.tlbs.NAME.reach": {"system.tlbs.l2.reach": 8},
    "system.nested": GUEST,
    "system.caches.NAME.prefetch": {"system.caches.l2.prefetch": {}},
    "system.walker.miss": {"system.walker.miss": "1 cycle"},
    "system.walker.caches.NAME.entries": {"system.walker.caches.pd.entries": 2},
    "system.walker.caches.NAME.ways": {"system.walker.caches.pd.ways": "full"},
    "system.walker.caches.NAME.latency": {"system.walker.caches.pd.latency": "5 cycles"},
    "system.walker.caches.NAME.policy": {"system.walker.caches.pd.policy": "plain.py:Newest"},
}
TURN = {"processes": {"noise": "other.parquet"}, "quantum": "2k"}
# what is turned, and what is there before
OF_PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "host_large_pages": ({"host_large_pages": "50 %"}, GUEST),
    "system.nested.entries": ({"system.nested.entries": 8}, GUEST),
    "system.nested.ways": ({"system.nested.ways": "full"}, GUEST),
    "system.nested.latency": ({"system.nested.latency": "4 cycles"}, GUEST),
    "system.nested.policy": ({"system.nested.policy": "plain.py:Newest"}, GUEST),
    "system.nested.lookup": ({"system.nested.lookup": "virtual"}, GUEST),
    "processes.NAME.skip": ({"processes": {"noise": {"use": "other.parquet", "skip": "100"}}}, TURN),
    "processes.NAME.limit": ({"processes": {"noise": {"use": "other.parquet", "limit": "300"}}}, TURN),
    "quantum": ({"quantum": "3k"}, TURN),
    "asids": ({"asids": False}, TURN),
    "contiguity": ({"contiguity": "30 %"}, {"system.tlbs.l2.reach": 8}),
    "system.caches.NAME.prefetch.steps": (
        {"system.caches.l2.prefetch.steps": "one"},
        {"system.caches.l2.prefetch": {"degree": 2}, "trace.use": "strides.parquet"},
    ),
    "system.caches.NAME.prefetch.streams": (
        {"system.caches.l2.prefetch.streams": 8},
        {"system.caches.l2.prefetch": {"streams": 4}, "trace.use": "strides.parquet"},
    ),
    "system.caches.NAME.prefetch.degree": (
        {"system.caches.l2.prefetch.degree": 3},
        {"system.caches.l2.prefetch": {"degree": 2}, "trace.use": "strides.parquet"},
    ),
}
POM = {"use": "pom-tlb", "entries": 64}
POLICIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pom-tlb entries": ({**POM, "entries": 16}, POM),
    "pom-tlb ways": ({**POM, "ways": 1}, POM),
    "pom-tlb read": ({**POM, "read": "set"}, POM),
    "pom-tlb store": ({**POM, "store": False}, POM),
    "hashed load": ({"use": "hashed", "load": "90 %"}, {"use": "hashed"}),
}
VICTIMA_TURNS: dict[str, dict[str, Any]] = {
    "cache": {"policy": {"use": "victima", "cache": "l3"}},
    "predictor": {"policy": {"use": "victima", "predictor": "always"}},
    "on_miss": {"policy": {"use": "victima", "on_miss": False}},
    "on_eviction": {"policy": {"use": "victima", "on_eviction": False}},
    "translation_pressure": {"policy": {"use": "victima", "translation_pressure": 1000}},
    "data_pressure": {"policy": {"use": "victima", "data_pressure": 1000}},
    "nested_blocks": {"policy": {"use": "victima", "nested_blocks": False}},
    "profile": {"policy": {"use": "victima", "profile": "artifact"}},
}
GROUPS = {"trace", "system", *(f"system.{part}" for part in ("caches", "memory", "core", "tlbs", "walker"))}
GROUPS |= {"system.walker.caches", *(f"system.memory.dram{part}" for part in ("", ".timing", ".controller"))}
GROUPS |= {"processes", "beside"}
# told apart by what they hold (test_object_knobs.py), and refused
ELSEWHERE = {"trace.format"}
ELSEWHERE |= {f"{key}.NAME.{name}" for key in ("processes", "beside") for name in ("format", "warm_up")}
REFUSED = {"system.line": {"system.line": "32 B"}}  # lines of page tables have 64 B
# two cores on DRAM, whose own knobs are turned in test_knobs.py and test_dram.py
TIMED = {"timing": "queued", "copies": 2, "trace.limit": 400, "system.memory.dram": "ddr4-3200"}
QUEUED_TURNS: dict[str, dict[str, Any]] = {
    "timing": {"timing": "additive", "copies": 1},
    "copies": {"copies": 3},
    "beside.NAME.use": {"beside": {"noise": "other.parquet"}},
    "beside.NAME.skip": {"beside": {"noise": {"use": "other.parquet", "skip": "100"}}},
    "beside.NAME.limit": {"beside": {"noise": {"use": "other.parquet", "limit": "200"}}},
    "system.caches.NAME.shared": {"system.caches.l3.shared": True},
    "system.memory.page": {"system.memory.page": "0 B"},
    "system.core.outstanding": {"system.core.outstanding": 2},
    "system.core.window": {"system.core.window": 3},
    "system.core.walkers": {"system.core.walkers": 1},
}


def write_trace(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    near = rng.integers(0, 16 << 12, RECORDS)
    far = rng.integers(0, 64 << 21, RECORDS)
    kind = rng.integers(0, 4, RECORDS).astype(np.uint8)
    address = np.where(rng.random(RECORDS) < 0.7, near, far) + ((kind == 3).astype(np.int64) << 30)
    with Writer(path) as out:
        columns = {"size": np.full(RECORDS, 8, np.uint16), "gap": rng.integers(20, 60, RECORDS).astype(np.uint32)}
        out.append({"address": address.astype(np.uint64), "kind": kind, **columns})


def write_strides(path: Path) -> None:
    """Eight pages in turn, each at its own step of one to three lines."""
    step, page = np.meshgrid(np.arange(20), np.arange(8), indexing="ij")
    address = ((page % 3 + 1) * step * 64 + page * 4096).ravel()
    shape = np.ones(len(address))
    columns = {"size": shape.astype(np.uint16), "gap": shape.astype(np.uint32), "kind": np.zeros(len(shape), np.uint8)}
    with Writer(path) as out:
        out.append({"address": address.astype(np.uint64), **columns})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translation")
    (folder / "plain.py").write_text(POLICY, encoding="utf-8")
    write_trace(folder / "one.parquet", 1)
    write_trace(folder / "other.parquet", 2)
    write_strides(folder / "strides.parquet")
    return folder


def study(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    def cache(capacity: str, ways: int, latency: str, **more: Any) -> dict[str, Any]:
        return {"capacity": capacity, "ways": ways, "latency": latency, "policy": "plain.py:Plain", **more}

    def tlb(entries: int, ways: int, latency: str, **more: Any) -> dict[str, Any]:
        return {"entries": entries, "ways": ways, "latency": latency, "policy": "plain.py:Plain", **more}

    made: dict[str, Any] = {
        "study": "knobs",
        "scenario": "translation",
        "trace": {"use": "one.parquet"},
        "system": {
            "caches": {
                "l1i": cache("1 KiB", 2, "1 cycle", serves="instructions", below="l2"),
                "l1d": cache("2 KiB", 2, "2 cycles", serves="data", below="l2"),
                "l2": cache("4 KiB", 4, "10 cycles"),
                "l3": cache("16 KiB", 8, "30 cycles"),
            },
            "memory": {"latency": "90 ns"},
            "core": {"frequency": "2 GHz", "base_cpi": 0.5, "exposed": "50 %"},
            "tlbs": {
                "itlb": tlb(4, 2, "1 cycle", serves="instructions"),
                "dtlb": tlb(8, 2, "1 cycle", serves="data"),
                "l2": tlb(16, 4, "7 cycles"),
            },
            "walker": {"caches": {name: tlb(4, 2, "2 cycles") for name in ("pml4", "pdpt", "pd")}},
        },
        "report": {"metrics": ["cycles"]},
    }
    for key, value in deepcopy(changes).items():
        *path, last = key.split(".")
        at = made
        for step in path:
            at = at.setdefault(step, {})
        at[last] = value
    return made, []


def metrics(folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> dict[str, int | float]:
    monkeypatch.chdir(folder)
    made, _ = study(**changes)
    (row,) = tiersim.run(made, keep=False).rows
    assert row.status == "done", row.error
    return row.metrics


@pytest.mark.parametrize("knob", TURNS)
def test_every_knob_changes_something(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics(folder, monkeypatch, TURNS[knob]) != metrics(folder, monkeypatch, {})


@pytest.mark.parametrize("knob", QUEUED_TURNS)
def test_every_knob_of_queued_time_changes_something(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = TIMED | (QUEUED_TURNS["beside.NAME.use"] if knob in ("beside.NAME.skip", "beside.NAME.limit") else {})
    still = metrics(folder, monkeypatch, there)
    turned = metrics(folder, monkeypatch, there | QUEUED_TURNS[knob])
    assert turned != still
    if knob == "timing":
        assert turned["cycles_per_instruction"] != still["cycles_per_instruction"]


@pytest.mark.parametrize("knob", OF_PARTS)
def test_every_knob_of_a_part_changes_something(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned, there = OF_PARTS[knob]
    assert metrics(folder, monkeypatch, there | turned) != metrics(folder, monkeypatch, there)


@pytest.mark.parametrize("knob", POLICIES)
def test_every_knob_of_a_policy_changes_something(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned, there = POLICIES[knob]
    made = [run_engine(folder, monkeypatch, policy) for policy in (turned, there)]
    assert made[0] != made[1]


def run_engine(folder: Path, monkeypatch: pytest.MonkeyPatch, policy: dict[str, Any]) -> Any:
    """Books of a run as plain Python, though its policy could be compiled: that takes long."""
    monkeypatch.chdir(folder)
    (run,) = make_plan(study(policy=policy)[0]).runs
    scenario = run.scenario
    wired, events = scenario.wired, scenario._events()
    books = translate(wired.loop, wired.sets, events, scenario._tables(events, 0), wired.timing, compiled=False)
    return books.caches, books.own, books.structures


@pytest.mark.parametrize("knob", VICTIMA_TURNS)
def test_every_knob_of_victima_changes_something(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a policy that spares blocks, so that the pressure of translation means something
    l2 = {"system.caches.l2.policy": "tlb-aware-srrip", "system.caches.l2.capacity": "32 KiB"}
    l2 |= GUEST if knob == "nested_blocks" else {}
    turned = metrics(folder, monkeypatch, l2 | VICTIMA_TURNS[knob])
    assert turned != metrics(folder, monkeypatch, l2 | VICTIMA)


@pytest.mark.parametrize("knob", REFUSED)
def test_what_would_change_nothing_is_refused(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(StudyError, match=knob.split(".")[-1]):
        make_plan(study(**REFUSED[knob])[0])


def test_all_knobs_are_turned() -> None:
    there = {key.key for key in keys_of(Translation)} - GROUPS - ELSEWHERE
    there -= {key for key in there if key.startswith("system.memory.dram.")}
    assert there == {*TURNS, *OF_PARTS, *REFUSED, *QUEUED_TURNS}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system.tlbs.dtlb.serves": None}, "no TLB serves data"),
        ({"system.tlbs.l2.serves": "data"}, "dtlb serves data on pages of 4 KiB already"),
        ({"system.tlbs.dtlb.pages": "4 KiB"}, "no TLB serves data on pages of 2 MiB"),
        ({"system.tlbs.dtlb.fill": "walks"}, "a first TLB takes what is missing"),
        ({"system.tlbs.l2.ways": 3}, "16 entries are no multiple of 3 ways"),
        ({"system.tlbs.l2.policy": "belady"}, "belady needs references to come"),
        ({"system.caches.l2.policy": "belady"}, "belady cannot know"),
        ({"system.walker.caches": {}}, "not 0"),
        (
            {"system.walker.caches.l2": {"entries": 4, "ways": 1, "latency": "1 cycle"}},
            "two parts are called 'l2'",
        ),
        ({"system.caches.l2.prefetch": {"streams": 12}}, "12 streams are not 4, 8, 16"),
        ({"system.tlbs.dtlb.reach": 2, "system.tlbs.l2.reach": 4}, "have one reach, and another has 2"),
        ({**GUEST, "policy": "hashed"}, "hashed page tables of guests are not modelled"),
        ({"policy": {"use": "pom-tlb", "entries": 100}}, "100 entries are no multiple of 16 ways"),
        ({"system.caches.l3.inclusion": "exclusive", "system.caches.l3.prefetch": {}}, "l3 is exclusive"),
        ({**GUEST, "policy": {"use": "victima", "profile": "artifact"}}, "write `lookup: virtual`"),
        ({**VIRTUAL, "policy": "victima"}, "write `nested_blocks: false`"),
        ({"policy": {"use": "victima", "profile": "artifact", "data_pressure": 6}}, "nothing predicts"),
        ({"policy": {"use": "victima", "profile": "artifact", "predictor": "always"}}, "nothing predicts"),
        ({"policy": {"use": "victima", "cache": "l4"}}, "there is no cache 'l4'"),
        ({"asids": False}, "there is one address space"),
        ({**TURN, **GUEST, "asids": False}, "address spaces are guests"),
        (
            {"processes": {"noise": {"use": "other.parquet", "warm_up": "1 %"}}},
            "what is measured begins with the `warm_up` of the trace",
        ),
        ({"shootdowns": "2M"}, "must be at most 1M"),
        ({"policy": {"use": "victima", "cache": "l1d"}}, "takes no TLB blocks"),
        ({"policy": {"use": "victima", "cache": "l1i"}}, "does not stand below"),
    ],
)
def test_parts_that_do_not_fit_are_one_message(
    changes: dict[str, Any], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(StudyError, match=message):
        make_plan(study(**changes)[0])
