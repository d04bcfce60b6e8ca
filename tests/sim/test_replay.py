"""The compiled loop against the plain one, cuts, disk cache, policies that cannot be compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, PolicyError, TraceError
from tiersim._base.registry import build
from tiersim.sim import cache_loop, kernels
from tiersim.sim import events as events_module
from tiersim.sim import replay as module
from tiersim.sim.cache_loop import COUNTERS, FIRST_COUNTER, Level, make_loop
from tiersim.sim.events import Counts, begin_events, counts_of, events_from, prefix, prepare
from tiersim.sim.replay import replay
from tiersim.traces.store import StoredTrace, Writer

PROGRAM = frozenset({"data", "instructions"})
FILLS = FIRST_COUNTER + COUNTERS.index("fills")  # of the first cache, in the state


def chain(policy: Any = "lru", **more: Any) -> list[Level]:
    made = build("way-replacement", policy)
    return [
        Level("l1", 2, made, 1, PROGRAM, **more),
        Level("l2", 4, made, 2, **more),
        Level("l3", 4, made, None, inclusion="inclusive", **more),
    ]


def stream(count: int, seed: int, lines: int = 200) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.integers(-3, 4, count)) % lines
    return walk.astype(np.uint64) * np.uint64(16), rng.choice([0, 0, 1, 2, 3], count).astype(np.uint8)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 3000))
def test_compiled_equals_plain(seed: int, count: int) -> None:
    address, kind = stream(count, seed)
    events = events_from(address, kind, 64, size=24)
    compiled = replay(chain(), [2, 4, 8], events, contents=True)
    plain = replay(chain(), [2, 4, 8], events, contents=True, compiled=False)
    assert compiled.counters() == plain.counters()
    assert compiled.memory() == plain.memory()
    assert compiled.contents == plain.contents


@pytest.mark.parametrize("policy", ["fifo", "random", "clock", "tree-plru", "srrip"])
def test_compiled_equals_plain_for_each_policy(policy: str) -> None:
    address, kind = stream(20_000, 7)
    events = events_from(address, kind, 64)
    levels = [Level("only", 4, build("way-replacement", policy), None, PROGRAM)]
    compiled = replay(levels, [8], events, seed=3, contents=True)
    plain = replay(levels, [8], events, seed=3, contents=True, compiled=False)
    assert compiled.counters() == plain.counters()
    assert compiled.contents == plain.contents


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(-5, 2500), max_size=8))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    address, kind = stream(2000, 1)
    events = events_from(address, kind, 64)
    whole = replay(chain(), [2, 4, 8], events)
    cut = replay(chain(), [2, 4, 8], events, cuts=cuts)
    assert cut.counters() == whole.counters()
    assert [part.end for part in cut.cuts] == sorted(
        {*(c for c in cuts if 0 < c < events.counts.events), events.counts.events}
    )


def test_counters_since_a_cut_leave_out_the_warm_up() -> None:
    address, kind = stream(2000, 2)
    events = events_from(address, kind, 64)
    cut = replay(chain(), [2, 4, 8], events, cuts=[500])
    early = dict(zip(COUNTERS, map(int, cut.cuts[0].caches[0]), strict=True))
    whole, late = cut.counters()[0], cut.counters(since=500)[0]
    assert early["reads"] + early["writes"] == 500
    assert all(whole[name] == early[name] + late[name] for name in COUNTERS)


def test_random_depends_on_the_seed_and_zero_is_one() -> None:
    address, kind = stream(20_000, 5, lines=4000)
    events = events_from(address, kind, 64)
    levels = [Level("only", 4, build("way-replacement", "random"), None, PROGRAM)]
    found = [replay(levels, [4], events, seed=seed, contents=True).contents for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_random_draws_every_way_equally_often() -> None:
    words = build("way-replacement", "random").state(1, 8, 0).reshape(-1).tolist()
    policy = type(build("way-replacement", "random"))
    drawn = np.bincount([policy.victim(words, 0, -1, 8) for _ in range(16_000)], minlength=8)
    chi_square = float(((drawn - 2000) ** 2 / 2000).sum())
    assert chi_square < 24.3  # 99.9 % of 7 degrees of freedom
    assert set(np.unique([policy.victim(words, 0, 0b1010, 8) for _ in range(100)])) == {1, 3}


SECOND = """
import json, numpy as np
from tiersim._base.registry import build
from tiersim.sim.cache_loop import Level, make_loop
from tiersim.sim.events import events_from
from tiersim.sim.replay import replay
from tiersim.traces.store import StoredTrace, Writer
levels = [Level("only", 2, build("way-replacement", "lru"), None, frozenset({"data"}), classify=False)]
replay(levels, [4], events_from(np.arange(100, dtype=np.uint64) * np.uint64(64), np.zeros(100, np.uint8), 64))
stats = make_loop(levels).run.stats
print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""


def test_a_second_process_starts_from_the_disk_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "TIERSIM_CACHE": str(tmp_path)}
    found = [
        json.loads(
            subprocess.run([sys.executable, "-c", SECOND], env=environment, capture_output=True, check=True).stdout
        )
        for _ in range(2)
    ]
    assert found[0] == [0, 1], "the first process compiles"
    assert found[1] == [1, 0], "the second takes it from the disk"


class Stubborn:
    """Uses what numba does not have."""

    hit_is_idempotent = False

    def state(self, sets: int, ways: int, seed: int) -> NDArray[np.int64]:
        return np.zeros((sets, 1), np.int64)

    @staticmethod
    def hit(s: Any, at: int) -> None:
        return

    @staticmethod
    def fill(s: Any, at: int) -> None:
        return

    @staticmethod
    def victim(s: Any, at: int, ways: int) -> int:
        return int(str(ways - 1))


class Slow(Stubborn):
    """The same, and says so."""

    compiled = False


def test_a_policy_that_cannot_be_compiled_is_named() -> None:
    events = events_from(*stream(50, 0), 64)
    with pytest.raises(PolicyError, match=r"(?s)Stubborn.*compiled = False"):
        replay([Level("only", 2, Stubborn(), None, PROGRAM)], [2], events)


def test_a_policy_that_asks_for_plain_python_gets_it() -> None:
    events = events_from(*stream(500, 0), 64)
    result = replay([Level("only", 2, Slow(), None, PROGRAM)], [2], events)
    assert result.counters()[0]["evictions"] > 0


def test_a_policy_without_a_verb_is_told_which() -> None:
    class Half:
        @staticmethod
        def hit(s: Any, at: int) -> None:
            return

    with pytest.raises(PolicyError, match="fill"):
        make_loop([Level("only", 2, Half(), None, PROGRAM)])


def test_belady_refuses_a_stream_that_it_would_change() -> None:
    events = events_from(*stream(50, 0), 64)
    with pytest.raises(PolicyError, match="inclusive"):
        replay(chain("belady"), [2, 4, 8], events)


def test_an_unbalanced_run_fails_loudly() -> None:
    class Liar(Slow):
        """Writes where the engine counts fills."""

        @staticmethod
        def fill(s: Any, at: int) -> None:
            s[FILLS] += 1

    events = events_from(np.arange(64, dtype=np.uint64) * np.uint64(64), np.zeros(64, np.uint8), 64)
    with pytest.raises(AuditError, match="fills"):
        replay([Level("only", 2, Liar(), None, PROGRAM)], [4], events)


@pytest.mark.parametrize("policy", ["lru", "srrip"])
def test_looking_ahead_changes_nothing(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks in which almost all references miss, and blocks in which few do, ending in the middle of a block."""
    rng = np.random.default_rng(4)
    rare, often = rng.integers(0, 1 << 20, 10_000), rng.integers(0, 8, 10_000)
    lines = np.concatenate([rare, often, rare[:5_000]]).astype(np.uint64)
    events = events_from(lines * np.uint64(64), rng.integers(0, 2, len(lines)).astype(np.uint8), 64)
    ahead = replay(chain(policy), [2, 4, 8], events, contents=True)
    monkeypatch.setattr(cache_loop, "WORTH_IT", 0)  # never worth it
    never = replay(chain(policy), [2, 4, 8], events, contents=True)
    assert ahead.counters() == never.counters()
    assert ahead.contents == never.contents


def test_a_store_that_goes_by_is_no_fetch() -> None:
    """A fetch misses, then a store that its cache does not take: memory is read for both, and fetched from once."""
    levels = [
        Level("l1i", 1, build("way-replacement", "lru"), 2, frozenset({"instructions"})),
        Level("l1d", 1, build("way-replacement", "lru"), 2, frozenset({"data"}), write_allocate=False),
        Level("l2", 2, build("way-replacement", "lru"), None),
    ]
    events = events_from(np.array([0, 64], np.uint64), np.array([3, 1], np.uint8), 64)
    for compiled in (True, False):
        assert replay(levels, [1, 1, 4], events, compiled=compiled).memory() == {"reads": 2, "writes": 0, "fetches": 1}


@settings(deadline=None, max_examples=100)
@given(
    records=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 300), st.integers(0, 3)), min_size=1, max_size=60),
    shift=st.integers(0, 8),
    fetches=st.booleans(),
)
def test_events_by_hand(records: list[tuple[int, int, int]], shift: int, fetches: bool) -> None:
    chunk: dict[str, NDArray[Any]] = {
        "address": np.array([r[0] for r in records], np.uint64),
        "size": np.array([r[1] for r in records], np.uint16),
        "kind": np.array([r[2] for r in records], np.uint8),
        "gap": np.ones(len(records), np.uint32),
    }
    expected = []
    for address, size, kind in records:
        lines = range(address >> shift, (address + size - 1 >> shift) + 1)
        if kind == 3:
            expected += [(line, 2) for line in lines] if fetches else []
        else:
            expected += [(line, 1 if kind == 1 else 0) for line in lines]
            expected += [(line, 1) for line in lines] if kind == 2 else []
    counts = counts_of(chunk, shift, fetches)
    assert counts.events == len(expected)
    trace = _Held(chunk)
    events = prepare(trace, 1 << shift, fetches) if expected else None
    if events is not None:
        found = [
            (int(events.lines[event >> 2]), int(event & 3))
            for part in events.chunks(0, len(expected))
            for event in part
        ]
        assert found == expected
        assert len(set(events.lines.tolist())) == len(events.lines)
        assert events.counts == counts
        half = len(records) // 2
        first = prefix(trace, half, shift, fetches, 0)
        assert first.records == half


class _Held:
    """A trace in memory."""

    name = "held"

    def __init__(self, chunk: dict[str, NDArray[Any]]) -> None:
        self.chunk, self.records = chunk, len(chunk["kind"])
        self.fingerprint = str([column.tolist() for column in chunk.values()])

    def chunks(self, records: int = 7, skip: int = 0, limit: int | None = None) -> Any:
        end = self.records if limit is None else min(self.records, skip + limit)
        for begin in range(skip, end, 7):
            yield {name: column[begin : min(begin + 7, end)] for name, column in self.chunk.items()}


def test_the_dictionary_grows() -> None:
    address = np.random.default_rng(0).permutation(200_000).astype(np.uint64) * np.uint64(64)
    trace = _Held(
        {
            "address": address,
            "size": np.ones(len(address), np.uint16),
            "kind": np.zeros(len(address), np.uint8),
            "gap": np.ones(len(address), np.uint32),
        }
    )
    trace.fingerprint = "permutation"
    events = prepare(trace, 64, False)
    assert np.array_equal(events.lines, (address >> np.uint64(6)).astype(np.int64))
    assert events.counts == Counts(200_000, 200_000, 200_000, 0, 0, 200_000)


def program(count: int, seed: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {
        "address": (40 * rng.integers(0, 100, count) + np.arange(count)).astype(np.uint64),
        "size": rng.integers(1, 200, count).astype(np.uint16),
        "kind": rng.integers(0, 4, count).astype(np.uint8),
        "gap": rng.integers(0, 5, count).astype(np.uint32),
    }


def stored(path: Path, chunk: dict[str, NDArray[Any]]) -> StoredTrace:
    with Writer(path) as out:
        out.append(chunk)
    return StoredTrace(path)


@pytest.mark.parametrize("fetches", [True, False])
@pytest.mark.parametrize("policy", ["lru", "belady"])
def test_events_are_made_while_they_are_replayed(
    tmp_path: Path, fetches: bool, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 1 << 12)
    monkeypatch.setattr(events_module, "BATCH", 1000)
    trace = stored(tmp_path / "t.parquet", program(30_000, len(policy)))
    levels = [
        Level(
            "l1", 2, build("way-replacement", "lru"), 1, frozenset({"data", "instructions"} if fetches else {"data"})
        ),
        Level("l2", 4, build("way-replacement", policy), None),
    ]
    cuts = [1, 5000, 20_000]
    begun = begin_events(trace, 64, fetches)
    assert begun is not None
    assert not begun.path.parent.joinpath("counts.json").exists()
    draft = begun.path.parent
    first = replay(levels, [8, 32], begun, cuts=cuts, contents=True)
    assert not draft.exists()
    whole = prepare(trace, 64, fetches)
    assert begun.counts == whole.counts
    assert np.array_equal(begun.lines, whole.lines)
    # which was just kept; made from nothing it is the same
    monkeypatch.setattr(events_module, "_version", lambda: "another")
    again = prepare(trace, 64, fetches)
    assert again.path != whole.path
    assert again.path.read_bytes() == whole.path.read_bytes()
    plain = replay(levels, [8, 32], again, cuts=cuts, contents=True)
    for made, wanted in zip(first.cuts, plain.cuts, strict=True):
        assert made.end == wanted.end
        assert np.array_equal(made.caches, wanted.caches)
        assert np.array_equal(made.memory, wanted.memory)
    assert first.contents == plain.contents
    kept = begin_events(trace, 64, fetches)
    assert kept is not None
    assert kept.distinct == len(again.lines)


def test_a_replay_begins_before_the_trace_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 1 << 12)
    monkeypatch.setattr(events_module, "BATCH", 1000)
    trace = stored(tmp_path / "t.parquet", program(30_000, 4))
    begun = begin_events(trace, 64, True)
    assert begun is not None
    known: list[int] = []
    replay(
        [Level("l1", 2, build("way-replacement", "lru"), None, PROGRAM)],
        [8],
        begun,
        progress=lambda _: known.append(len(begun.lines)),
    )
    assert known[0] < known[-1] / 2
    assert known == sorted(known)


def test_a_replay_that_fails_leaves_nothing(tmp_path: Path) -> None:
    trace = stored(tmp_path / "t.parquet", program(3000, 5))
    begun = begin_events(trace, 64, False)
    assert begun is not None
    draft = begun.path.parent
    next(begun.chunks(0, 100))
    assert draft.exists()
    del begun
    assert not draft.exists()


@pytest.mark.parametrize("change", [-1000, -1, 1, 9000])
def test_a_description_that_is_wrong_is_found(tmp_path: Path, change: int) -> None:
    trace = stored(tmp_path / "t.parquet", program(3000, 5))
    data, fetches = trace.outline["references"]["64"]
    trace.outline = {"references": {"64": [data + change, fetches]}}
    begun = begin_events(trace, 64, False)
    assert begun is not None
    with pytest.raises(TraceError, match=f"tells of {data + change:,} references"):
        replay([Level("l1", 2, build("way-replacement", "lru"), None, frozenset({"data"}))], [8], begun)


def test_what_no_description_tells_is_made_before(tmp_path: Path) -> None:
    trace = stored(tmp_path / "t.parquet", program(3000, 5))
    assert begin_events(trace, 8192, False) is None
    fetched = stored(tmp_path / "u.parquet", program(30, 5) | {"kind": np.full(30, 3, np.uint8)})
    assert begin_events(fetched, 64, False) is None  # nothing is left: `prepare` says so
    assert begin_events(fetched, 64, True) is not None


@given(stream=st.lists(st.integers(0, 9), max_size=40))
def test_next_uses(stream: list[int]) -> None:
    out = np.empty(len(stream), np.int64)
    kernels.next_uses(np.array(stream, np.int32), np.full(10, 99, np.int64), 99, out)
    assert out.tolist() == [
        next((later for later in range(i + 1, len(stream)) if stream[later] == line), 99)
        for i, line in enumerate(stream)
    ]
