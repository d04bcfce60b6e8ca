"""libCacheSim's binary traces: by hand, against libCacheSim itself, and what is said of a wrong record."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces import load_trace, stream_trace
from tiersim.traces.readers import oracle_general
from tiersim.traces.readers.oracle_general import OracleGeneral
from tiersim.traces.schema import OBJECT

Row = tuple[int, int, int]
NEVER = 2**63 - 1


def packed(rows: Sequence[Row], never: int = -1, shift: int = 0) -> bytes:
    """The file of (time, id, size) with the next accesses worked out from the back."""
    coming: dict[int, int] = {}
    made: list[bytes] = []
    for number in range(len(rows) - 1, -1, -1):
        time, key, size = rows[number]
        made.append(struct.pack("<IQIq", time, key, size, coming.get(key, never - shift) + shift))
        coming[key] = number
    return b"".join(reversed(made))


def requests(count: int, keys: int = 50, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [(1000 + i // 7, draw.randrange(keys) * 2**56 // 3, draw.randrange(1, 2**32)) for i in range(count)]


def read(raw: bytes, **options: Any) -> dict[str, list[int]]:
    chunks = list(build("reader", {"use": "oracle-general", **options}).read(io.BytesIO(raw), "t.oracleGeneral"))
    for chunk in chunks:
        OBJECT.check(chunk, "t")
    return {name: np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]}


BY_HAND = [(5, 7, 100), (5, 2**64 - 1, 0), (9, 7, 2**32 - 1)]


def test_by_hand() -> None:
    raw = bytes.fromhex(
        "05000000 0700000000000000 64000000 0200000000000000"
        "05000000 ffffffffffffffff 00000000 ffffffffffffffff"
        "09000000 0700000000000000 ffffffff ffffffffffffff7f"
    )
    assert len(raw) == 3 * 24
    assert read(raw) == {"id": [7, 2**64 - 1, 7], "time": [0, 0, 4 * 10**9], "size": [100, 0, 2**32 - 1]}
    assert read(raw, skip_empty=True) == {"id": [7, 7], "time": [0, 4 * 10**9], "size": [100, 2**32 - 1]}
    assert read(packed(BY_HAND)) == read(raw)


rows_of = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 6) | st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)),
    min_size=1,
    max_size=80,
)


@settings(deadline=None, max_examples=100)
@given(rows_of, st.sampled_from([24, 240, 24 << 15]), st.booleans())
def test_against_struct(rows: list[Row], block: int, skip: bool) -> None:
    time = np.cumsum([row[0] for row in rows]).tolist()
    raw = packed([(at, key, size) for at, (_, key, size) in zip(time, rows)])
    wanted = [(key, (at - time[0]) * 10**9, size) for at, (_, key, size) in zip(time, rows) if size or not skip]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle_general, "BLOCK", block)
        found = read(raw, skip_empty=skip)
    assert list(zip(found["id"], found["time"], found["size"], strict=True)) == wanted


@pytest.mark.parametrize("skip", [True, False])
def test_against_libcachesim(tmp_path: Path, skip: bool) -> None:
    other = pytest.importorskip("libcachesim", reason="libcachesim is not installed")
    path = tmp_path / "t.oracleGeneral"
    rows = [(time, key, size * (key % 3 > 0)) for time, key, size in requests(5000)]
    path.write_bytes(packed(rows))
    params = other.ReaderInitParam(ignore_size_zero_req=skip)
    theirs = other.TraceReader(str(path), other.TraceType.ORACLE_GENERAL_TRACE, params)
    wanted = [(item.obj_id, (item.clock_time - 1000) * 10**9, item.obj_size) for item in theirs]
    trace = stream_trace(path, skip_empty=skip)
    assert trace.records == (None if skip else 5000)
    chunk = next(trace.chunks())
    assert list(zip(*(chunk[name].tolist() for name in ("id", "time", "size")), strict=True)) == wanted
    assert (len(wanted) < 5000) == skip


RAW = packed(requests(1000))


def changed(record: int, form: str, place: int, value: int) -> bytes:
    at = record * 24 + place
    new = struct.pack(form, value)
    return RAW[:at] + new + RAW[at + len(new) :]


@pytest.mark.parametrize("block", [24, 24 << 15])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(700, "<q", 16, -2), r"record 701 \(byte 16,800\) is not a request: its next access is -2$"),
        (changed(700, "<q", 16, 2**41), r"record 701 .*: its next access is 2199023255552$"),
        (changed(700, "<I", 0, 999), r"record 701 .*: its time, 999 s, is before that of record 1, 1000 s$"),
        (changed(0, "<q", 16, -9), r"record 1 \(byte 0\) is not a request"),
        (RAW[:-1], r"record 1,000 \(byte 23,976\) breaks off after 23 of 24 bytes$"),
        (RAW + b"x", r"record 1,001 \(byte 24,000\) breaks off after 1 of 24 bytes$"),
        (b"time,id,size,next\n" * 50, r"record 1 \(byte 0\) is not a request"),
        (random.Random(1).randbytes(2400), r"record \d \(byte \d+\) is not a request"),
        (b"PK", r"record 1 \(byte 0\) breaks off after 2 of 24 bytes$"),
    ],
)
def test_a_wrong_record(raw: bytes, message: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle_general, "BLOCK", block)
    with pytest.raises(TraceError) as caught:
        read(raw)
    assert re.search("^t.oracleGeneral: " + message, caught.value.message)
    assert caught.value.remedy


def test_packing_that_breaks_off_is_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.oracleGeneral.gz"
    path.write_bytes(gzip.compress(RAW)[:-4000])
    with pytest.raises(
        TraceError, match=r"the gzip stream breaks off at byte [\d,]+ of what it holds, after record \d+"
    ):
        list(stream_trace(path).chunks())


@pytest.mark.parametrize("name", ["t.oracleGeneral.zst", "trace.bin"])
@pytest.mark.parametrize("never", [-1, NEVER])
def test_known_by_its_next_accesses(name: str, never: int) -> None:
    for count in (1, 2, 100, 10_000):
        assert OracleGeneral.recognise(packed(requests(count), never)[: 1 << 16], name)
    assert OracleGeneral.recognise(RAW[:-5], name)


def test_not_known_by_content() -> None:
    for raw in (
        b"",
        RAW[:23],
        bytes(4800),
        packed(requests(1000), shift=7),  # cut out of the middle of another file
        RAW[24:],
        changed(30, "<I", 0, 1),
        np.arange(9000, dtype=np.uint32).tobytes(),
        np.arange(9000, dtype=np.uint64).tobytes(),
        b" L 00602260,4\n" * 2000,
        random.Random(1).randbytes(48_000),
    ):
        assert not OracleGeneral.recognise(raw, "trace.bin")


def test_the_name_is_enough_for_what_can_be_one() -> None:
    assert OracleGeneral.recognise(packed(requests(1000), shift=7), "w.oracleGeneral.bin")
    assert not OracleGeneral.recognise(packed(requests(1000), shift=7), "moracleGeneral")
    assert not OracleGeneral.recognise(b"time,id,size,next_access_vtime\n", "w.oracleGeneral.csv")


def test_stored_or_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "trace.bin"
    path.write_bytes(RAW)
    stored, direct = load_trace(path), stream_trace(path)
    assert (stored.schema, stored.records, direct.records) == ("object", 1000, 1000)
    assert stored.kinds == {"get": 1000, "set": 0, "delete": 0, "pin": 0, "unpin": 0}
    for one, other in zip(stored.chunks(300), direct.chunks(300), strict=True):
        assert {name: held.tolist() for name, held in one.items()} == {
            name: held.tolist() for name, held in other.items()
        }
