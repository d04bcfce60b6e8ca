"""A little of the fuzzing of every reader (`tests.traces.fuzz`), what it once found, and that it finds faults."""

from __future__ import annotations

import gzip
import os
import signal
import time
from collections.abc import Generator, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traces import fuzz
from tests.traces.fuzz import FaultError, Input, Outcome, check
from tests.traces.mutations import CHANGES
from tests.traces.test_recognition import OPTIONS, put_beside
from tiersim._base.errors import TraceError
from tiersim._base.registry import load
from tiersim.traces.readers import text


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where samples find what belongs to them."""
    made = tmp_path_factory.mktemp("fuzz")
    put_beside(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIERSIM_TRACE_MIRROR", str(made))
        yield made


def test_some_thousand_inputs() -> None:
    made = fuzz.run(fuzz.READERS, seed=20_000, inputs=5000)
    assert sum(tally.inputs for tally in made.values()) == 5000
    faults = [fuzz.shown(reader, 20_000, *fault) for reader, tally in made.items() for fault in tally.faults]
    assert not faults, "\n\n".join(faults[:5])
    assert sum(tally.accepted for tally in made.values()) > 250


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(fuzz.READERS),
    st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 2**32 - 1)), min_size=1, max_size=6),
    st.booleans(),
)
def test_any_changes(reader: str, changes: list[tuple[Any, int]], named: bool) -> None:
    """The same changes as hypothesis picks them, which then looks for the fewest that do harm."""
    raw = fuzz.valid(reader)[-1]
    for change, seed in changes:
        raw = change(Random(seed), raw)[: 1 << 16]
    format = reader if named and reader != fuzz.STORED else None
    options = OPTIONS.get(reader, {}) if format else {}
    check(Input(raw, None, format, options, changes[0][1]), fuzz_file())


def fuzz_file() -> Path:
    """The file that inputs are written to."""
    return Path(os.environ["TIERSIM_TRACE_MIRROR"]) / "input"


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_what_is_valid_is_read(reader: str) -> None:
    for raw in fuzz.valid(reader):
        format = None if reader == fuzz.STORED else reader
        assert check(Input(raw, None, format, OPTIONS.get(reader, {}), 0), fuzz_file()).records > 0


# what once ended otherwise than in a record or one clear message
FOUND: list[tuple[str, bytes, int]] = [
    ("lirs", b"7\n\r*\n8\n", 2),
    ("mooncake", b'{"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": ' + b"[" * 60_000, 0),
    ("mooncake", b'{"timestamp": -1e400, "input_length": 2, "output_length": 3, "hash_ids": [4]}\n', 0),
    (
        "mooncake",
        b"".join(
            b'{"timestamp": %s, "input_length": 2, "output_length": 3, "hash_ids": [4]}\n' % time
            for time in (b"0", b"9.5e12")
        ),
        0,
    ),
    ("mooncake", b"null\n\n", 0),
    ("mooncake", b'{"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": [4]}' * 2 + b"\n", 0),
    ("mooncake", b'\n{"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": [4]}\n', 1),
    ("object-csv", b"time,id\n1e99999999,a\n", 0),
    ("object-csv", b'time,key,op\n1,"a: 2\n1\t2\n2\t3\n"c",get\n', 0),
    ("object-csv", b'key,op\n"a\n2,b",get\n', 0),
    ("object-csv", b'time,key,op\n1,"a\x07b","a,read\n', 0),
    ("object-csv", b"time,id\n1e-2147483647,a\n1E-3,b\n", 2),
    ("object-csv", b"key,op\na,get\n" + b" \n" * 90, 0),
]


@pytest.mark.parametrize(("reader", "raw", "records"), FOUND)
def test_what_was_found(reader: str, raw: bytes, records: int) -> None:
    found = check(Input(raw, None, reader, {}, 0), fuzz_file())
    assert found.records == records
    assert bool(found.error) == (not records)


@pytest.mark.parametrize("old", [b'"records": ', b'"kinds": {"', b'"version": 1', b'"access"'])
@pytest.mark.parametrize("new", [b"\x80", b"[", b"{}"])
def test_a_stored_trace_that_says_wrong_things_of_itself(old: bytes, new: bytes) -> None:
    raw = fuzz.valid(fuzz.STORED)[0]
    changed = raw.replace(old, new + old[len(new) :])
    if changed != raw:
        assert check(Input(changed, None, None, {}, 0), fuzz_file()).error


# Faults are found


def lirs(made: Any) -> Any:
    """A reader of lirs whose chunks, or error, are these."""

    def read(self: Any, stream: Any, source: str) -> Generator[Any, None, int]:
        if isinstance(made, BaseException):
            raise made
        yield from made
        return 0

    return read


IDS = np.arange(3, dtype=np.uint64)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([{"id": np.arange(3, dtype=np.uint32)}], "uint32, not uint64"),
        ([{"id": IDS}, {"id": IDS, "time": np.zeros(3, np.int64)}], "columns .* become"),
        (TraceError("it is wrong", None, "mend it"), "does not name the file"),
        (TraceError("input is wrong"), "no remedy"),
        (TraceError("input\nis wrong", None, "mend it"), "not one line"),
        (TraceError("input " + "is wrong" * 999, None, "mend it"), "not one line"),
    ],
)
def test_the_check_finds(made: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("reader", "lirs"), "read", lirs(made))
    with pytest.raises(FaultError, match=said):
        check(Input(b"1\n", None, "lirs", {}, 1), fuzz_file())


def test_the_check_finds_what_blocks_and_packing_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: Any, stream: Any, source: str) -> Generator[Any, None, int]:
        yield {"id": IDS[: 1 + ("_Members" in str(stream._file) or stream.packing == "gzip")]}
        return 0

    monkeypatch.setattr(load("reader", "lirs"), "read", read)
    raw = b"1\n"
    with pytest.raises(FaultError, match="unpacked it gives another outcome"):
        check(Input(gzip.compress(raw), raw, "lirs", {}, 1), fuzz_file())

    def by_block(self: Any, stream: Any, source: str) -> Generator[Any, None, int]:
        yield {"id": IDS[: 1 + (text.BLOCK > 1000)]}
        return 0

    monkeypatch.setattr(load("reader", "lirs"), "read", by_block)
    with pytest.raises(FaultError, match="in small blocks it gives another outcome"):
        check(Input(raw, None, "lirs", {}, 0), fuzz_file())


def test_a_plain_parser_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz.PLAIN, "gap", lambda raw: ([], 0))
    with pytest.raises(FaultError, match="a plain parser reads 0 records"):
        check(Input(b"s 0x10 1\n", None, "gap", {}, 1), fuzz_file())


def deadly(seed: int, pipe: Connection, now: Any, folder: str) -> None:
    """What a process does whose input 2 ends it, and whose input 5 hangs."""
    while True:
        _, first, end = pipe.recv()
        for number in range(first, end):
            now.value = number
            if number == 2:
                os.kill(os.getpid(), signal.SIGSEGV)
            if number == 5:
                time.sleep(1000)
        pipe.send(fuzz.Tally(end - first, accepted=end - first))


def test_crashes_and_hangs_are_found_with_their_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    made = fuzz.run(["lirs"], seed=0, inputs=8, work=deadly)["lirs"]
    assert sorted(made.faults) == [(2, "ends the process with -11"), (5, "hangs")]
    assert (made.inputs, made.accepted) == (8, 6)


def test_a_slow_input_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: Any, stream: Any, source: str) -> Generator[Any, None, int]:
        while time.process_time():
            pass
        yield {}
        return 0

    monkeypatch.setattr(load("reader", "lirs"), "read", read)
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    monkeypatch.setattr(fuzz, "make", lambda *_: Input(b"1\n", None, "lirs", {}, 1))
    held = signal.signal(signal.SIGPROF, fuzz._too_slow)
    try:
        found = fuzz.run_one("lirs", 0, 0, fuzz_file())
    finally:
        signal.signal(signal.SIGPROF, held)
    assert "SlowError" in str(found)
    assert not isinstance(found, Outcome)
