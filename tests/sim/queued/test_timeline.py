"""Timelines: what the format demands, budgets, files that were cut."""

from __future__ import annotations

import gzip
import json
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.link import Link
from tiersim.sim.queued.server import Server
from tiersim.sim.queued.timeline import FLUSH, Timeline

NEEDED = {  # of Chrome's trace event format, by phase
    "X": {"name", "ph", "ts", "dur", "pid", "tid"},
    "b": {"name", "ph", "ts", "cat", "id", "pid", "tid"},
    "e": {"name", "ph", "ts", "cat", "id", "pid", "tid"},
    "C": {"name", "ph", "ts", "pid", "tid", "args"},
    "i": {"name", "ph", "ts", "s", "pid", "tid"},
    "M": {"name", "ph", "pid", "tid", "args"},
}


def read(path: Path) -> list[dict[str, Any]]:
    """The events of a file, each checked against what the format demands."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    events: list[dict[str, Any]] = json.loads(raw)
    named: set[tuple[str, int, int]] = set()
    open_: dict[tuple[str, int], dict[str, Any]] = {}
    for event in events:
        assert NEEDED[event["ph"]] <= set(event)
        assert all(isinstance(event[key], int) for key in ("pid", "tid"))
        assert event["ph"] == "M" or event["ts"] >= 0
        assert event.get("dur", 0) >= 0
        if event["ph"] == "M":
            named.add((event["name"], event["pid"], event["tid"]))
        elif event["tid"]:
            assert ("thread_name", event["pid"], event["tid"]) in named
            assert ("process_name", event["pid"], 0) in named
        if event["ph"] == "b":
            open_[event["cat"], event["id"]] = event
        if event["ph"] == "e":
            begun = open_.pop((event["cat"], event["id"]))
            assert (begun["name"], begun["pid"], begun["tid"]) == (event["name"], event["pid"], event["tid"])
            assert begun["ts"] <= event["ts"]
    assert not open_
    return events


def contended(path: Path, budget: int = 1000) -> None:
    clock = Clock()
    with Timeline(path, budget) as timeline:
        blocked = Blocked()
        link = Link(clock, "node0/pcie/up", 10**9, timeline=timeline, blocked=blocked)
        engine = Server(clock, "node0/gpu0/copy", 2, timeline=timeline)
        for k in range(6):
            clock.after(100_000 * k, lambda _, k=k: (link.send(400, owner="ab"[k % 2]), engine.serve(250_000, "job")))
        clock.after(150_000, lambda _: timeline.counter("node0/queue", clock.now, 3))
        clock.after(160_001, lambda _: timeline.instant("node0/queue", 'a "name"\n', clock.now, {"why": "é"}))
        clock.run()


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_run_is_a_valid_file(tmp_path: Path, name: str) -> None:
    contended(tmp_path / name)
    events = read(tmp_path / name)
    by = {phase: [event for event in events if event["ph"] == phase] for phase in NEEDED}
    assert {phase: len(found) for phase, found in by.items()} == {"X": 6, "b": 6, "e": 6, "C": 1, "i": 1, "M": 7}
    assert by["i"][0]["name"] == 'a "name"\n'
    assert by["i"][0]["ts"] == 0.160001
    assert by["C"][0]["args"] == {"value": 3}
    names = {(event["name"], event["args"]["name"]) for event in by["M"]}
    assert {("process_name", "node0/gpu0"), ("thread_name", "copy 0"), ("thread_name", "copy 1")} <= names
    for tid in {event["tid"] for event in by["X"]}:  # slices of a track do not overlap
        slices = sorted((event["ts"], event["dur"]) for event in by["X"] if event["tid"] == tid)
        assert all(a + dur <= b + 1e-9 for (a, dur), (b, _) in pairwise(slices))


def test_same_run_same_bytes(tmp_path: Path) -> None:
    for name in ("one.json.gz", "two.json.gz"):
        contended(tmp_path / name)
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()


@given(st.integers(0, 25))
def test_the_budget_is_kept_and_told(tmp_path_factory: pytest.TempPathFactory, budget: int) -> None:
    path = tmp_path_factory.mktemp("budget") / "t.json"
    contended(path, budget)
    events = [event for event in read(path) if event["ph"] != "M"]
    total = 20
    said = [event for event in events if event["tid"] == 0]
    assert len(events) - len(said) <= budget
    if budget < total:
        (last,) = said
        assert last["name"] == f"{total - (len(events) - 1):,} events left out: the budget is {budget:,}"
    else:
        assert not said


def test_a_file_that_was_cut_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    timeline = Timeline(path)
    for k in range(3 * FLUSH):
        timeline.slice("cpu", "work", 10 * k, 10 * k + 5)
    timeline._raw.flush()  # the process is killed here: what follows never comes
    text = zlib.decompressobj(31).decompress(path.read_bytes()).decode()
    kept = json.loads(text[: text.rindex("},") + 1] + "]")
    assert len(kept) >= 2 * FLUSH
    timeline.close()
    assert len(read(path)) == 3 * FLUSH + 2


def test_times_are_exact(tmp_path: Path) -> None:
    with Timeline(tmp_path / "t.json") as timeline:
        timeline.slice("cpu", "work", 123_456_789_012_345_678, 123_456_789_012_345_679)
    text = (tmp_path / "t.json").read_text()
    assert '"ts":123456789012.345678,"dur":0.000001' in text
