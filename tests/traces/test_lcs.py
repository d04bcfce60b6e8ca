"""libCacheSim's LCS files: by hand, against struct and libCacheSim itself, and what is said of a wrong one."""

from __future__ import annotations

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
from tiersim.traces.chunks import length
from tiersim.traces.readers import lcs
from tiersim.traces.readers.lcs import Lcs
from tiersim.traces.schema import DELETE, GET, OBJECT, SET

MAGIC = 0x123456789ABCDEF0
S = 10**9
Row = tuple[int, int, int, int, int, int]  # time, id, size, op, tenant, ttl


def header(version: int, count: int, size: int = 8192) -> bytes:
    made = struct.pack("<QQqq", MAGIC, version, 1, count)
    return made.ljust(size - 8, b"\0") + struct.pack("<Q", MAGIC)


def packed(rows: Sequence[Row], version: int, size: int = 8192, count: int | None = None) -> bytes:
    made = [header(version, len(rows) if count is None else count, size)]
    for number, (time, key, bytes_, op, tenant, ttl) in enumerate(rows):
        after = number + 1 if number % 2 else (-1, 2**63 - 1)[number // 2 % 2]
        if version == 1:
            made.append(struct.pack("<IQIq", time, key, bytes_, after))
        elif version == 2:
            made.append(struct.pack("<IQIIq", time, key, bytes_, op | tenant << 8, after))
        else:
            made.append(struct.pack("<IQqIIq", time, key, bytes_, op | tenant << 8, ttl, after))
            made.append(struct.pack("<I", 0xDEADBEEF) * (0 if version == 3 else 1 << (version - 4)))
    return b"".join(made)


def listed(codes: str, places: dict[str, int], rows: Sequence[Sequence[int]], count: int | None = None) -> bytes:
    """A file from before there were versions."""
    order = ("id", "size", "time", "last", "next", "op", "ttl", "tenant", "type")
    made = struct.pack("<Q", MAGIC) + b"<" + codes.encode().ljust(239, b"\0")
    made += bytes(places.get(role, 0) for role in order)
    made = made.ljust(488, b"\0") + struct.pack("<q", len(rows) if count is None else count)
    record = struct.Struct("<" + codes)
    made = made.ljust(1000, b"\0") + struct.pack("<IIQQ", len(codes), record.size, 77, MAGIC)
    return made + b"".join(record.pack(*row) for row in rows)


def read(raw: bytes, **options: Any) -> dict[str, list[int]]:
    chunks = list(build("reader", {"use": "lcs", **options}).read(io.BytesIO(raw), "t.lcs"))
    for chunk in chunks:
        OBJECT.check(chunk, "t")
    return {name: np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]}


def test_version_3_by_hand() -> None:
    raw = header(3, 2) + bytes.fromhex(
        "05000000 0700000000000000 0000000001000000 03 0a0b0c 3c000000 ffffffffffffffff"
        "09000000 ffffffffffffffff 0000000000000000 01 000000 ffffffff ffffffffffffff7f"
    )
    assert len(raw) == 8192 + 2 * 36
    assert read(raw) == {
        "id": [7, 2**64 - 1],
        "time": [0, 4 * S],
        "size": [2**32, 0],
        "op": [SET, GET],
        "ttl": [60 * S, 0],
        "tenant": [0x0C0B0A, 0],
    }
    assert read(raw, skip_empty=True)["id"] == [7]


def test_fields_listed_in_the_header() -> None:
    raw = listed("IQIq", {"time": 1, "id": 2, "size": 3, "next": 4}, [(5, 7, 100, 1), (6, 7, 100, -1)])
    assert read(raw) == {"id": [7, 7], "time": [0, S], "size": [100, 100]}
    raw = listed("BdHqhiQ", {"op": 1, "tenant": 3, "id": 4, "ttl": 5, "time": 7}, [(9, 0.5, 65535, -1, 60, 1, 8)], 0)
    assert read(raw) == {"id": [2**64 - 1], "time": [0], "op": [DELETE], "ttl": [60 * S], "tenant": [65535]}


def test_what_operations_are() -> None:
    kinds = [GET, GET, GET, *[SET] * 6, DELETE, SET, SET, GET, SET, SET]
    assert read(packed([(1, 1, 1, op, 0, 0) for op in [*range(15), 255]], 2))["op"] == [*kinds, GET]


rows_of = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 6) | st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1) | st.just(0),
        st.sampled_from([*range(15), 255]),
        st.integers(0, 2**24 - 1),
        st.integers(0, 9) | st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=80,
)


@settings(deadline=None, max_examples=150)
@given(rows_of, st.integers(1, 8), st.sampled_from([1024, 8192]), st.sampled_from([1, 7, 1 << 15]), st.booleans())
def test_against_struct(drawn: list[Row], version: int, size: int, records: int, skip: bool) -> None:
    start = 1_600_000_000
    rows: list[Row] = []
    for gap, *others in drawn:
        rows.append(((rows[-1][0] if rows else start) + gap, *others))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lcs, "RECORDS", records)
        made = build("reader", {"use": "lcs", "skip_empty": skip}).read(io.BytesIO(packed(rows, version, size)), "t")
        chunks = [OBJECT.check(chunk, "t") for chunk in made]
    found = {name: [value for chunk in chunks for value in chunk[name].tolist()] for name in chunks[0]}
    kept = [row for row in rows if row[2] or not skip]
    kinds = {**dict.fromkeys((0, 1, 2, 12, 255), GET), 9: DELETE}
    wanted = {
        "id": [row[1] for row in kept],
        "time": [(row[0] - rows[0][0]) * S for row in kept],
        "size": [row[2] for row in kept],
    }
    if version > 1:
        wanted |= {"op": [kinds.get(row[3], SET) for row in kept], "tenant": [row[4] for row in kept]}
    if version > 2:
        wanted["ttl"] = [row[5] * S if row[5] < 2**32 - 1 else 0 for row in kept]
    assert found == wanted


def requests(count: int, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [
        (1000 + i // 7, draw.randrange(50), draw.randrange(4) * 99, draw.randrange(15), draw.randrange(9), i % 5)
        for i in range(count)
    ]


@pytest.mark.parametrize("version", range(1, 9))
@pytest.mark.parametrize("skip", [True, False])
def test_libcachesim_reads_the_same(version: int, skip: bool, tmp_path: Path) -> None:
    other = pytest.importorskip("libcachesim", reason="libcachesim is not installed")
    path = tmp_path / "t.lcs"
    path.write_bytes(packed(requests(3000), version))
    params = other.ReaderInitParam(ignore_size_zero_req=skip)
    theirs = list(other.TraceReader(str(path), other.TraceType.LCS_TRACE, params))
    found = read(path.read_bytes(), skip_empty=skip)
    assert found["id"] == [item.obj_id for item in theirs]
    assert found["time"] == [(item.clock_time - 1000) * S for item in theirs]
    assert found["size"] == [item.obj_size for item in theirs]
    assert (len(theirs) < 3000) == skip
    if version > 1:
        assert found["op"] == [lcs.OPS[item.op.value] for item in theirs]
    if version > 2:
        assert found["ttl"] == [item.ttl * S for item in theirs]


@pytest.mark.parametrize("version", range(1, 9))
def test_what_libcachesim_writes(version: int, tmp_path: Path) -> None:
    other = pytest.importorskip("libcachesim", reason="libcachesim is not installed")
    rows = requests(500)
    source, path = tmp_path / "t.oracleGeneral", tmp_path / "t.lcs"
    source.write_bytes(b"".join(struct.pack("<IQIq", time, key, size + 1, -1) for time, key, size, _, _, _ in rows))
    theirs = other.TraceReader(str(source), other.TraceType.ORACLE_GENERAL_TRACE)
    other.Util.convert_to_lcs(theirs._reader, str(path), lcs_ver=version)
    trace = stream_trace(path)
    (chunk,) = trace.chunks()
    assert trace.provenance["reader"] == "lcs"
    assert chunk["id"].tolist() == [row[1] for row in rows]
    assert chunk["time"].tolist() == [(row[0] - 1000) * S for row in rows]
    assert chunk["size"].tolist() == [row[2] + 1 for row in rows]
    assert "op" not in chunk or not chunk["op"].any()
    assert "ttl" not in chunk or not chunk["ttl"].any()


RAW = packed(requests(1000), 3)


def changed(record: int, form: str, place: int, value: int) -> bytes:
    at = 8192 + record * 36 + place
    new = struct.pack(form, value)
    return RAW[:at] + new + RAW[at + len(new) :]


@pytest.mark.parametrize("records", [1, 1 << 15])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(700, "<q", 28, -2), r"record 701 \(byte 33,392\) is not a request: its next access is -2$"),
        (changed(700, "<q", 28, 2**41), r"record 701 .*: its next access is 2199023255552$"),
        (changed(700, "<q", 12, -5), r"record 701 .*: its size is -5$"),
        (changed(700, "<B", 20, 15), r"record 701 .*: its operation is 15$"),
        (changed(700, "<I", 0, 999), r"record 701 .*: its time, in s, is 999, and that of record 1 is 1000$"),
        (changed(0, "<q", 28, -9), r"record 1 \(byte 8,192\) is not a request"),
        (RAW[:-1], r"record 1,000 \(byte 44,156\) breaks off after 35 of 36 bytes$"),
        (RAW + b"x", r"record 1,001 \(byte 44,192\) breaks off after 1 of 36 bytes$"),
        (RAW[:-36], r"record 999 is the last one \(byte 44,156 is the end\), and the header counts 1,000$"),
        (RAW + RAW[-36:], r"record 1,001 is the last one .*, and the header counts 1,000$"),
        (RAW[:8000], r"the header \(byte 0\) breaks off after 8,000 bytes$"),
        (RAW[:7], r"the header \(byte 0\) begins with f0 de bc 9a 78 56 34 and not with f0 de bc 9a 78 56 34 12$"),
        (b"time,id,size\n" * 900, r"the header \(byte 0\) begins with 74 69 6d 65 2c 69 64 2c and not"),
        (RAW[:8184] + bytes(36 * 9), r"the header \(byte 0\) has no end: .* neither at byte 8,184 nor at 1,016$"),
        (header(9, 0), r"the header \(byte 0\) has version 9, and known are 1 to 8$"),
        (header(0, 0, 1024), r"the header \(byte 0\) has version 0, and known are 1 to 8$"),
        (header(1, -1), r"the header \(byte 0\) counts -1 requests$"),
        (listed("IQ", {"time": 1}, []), r"names no field as the id$"),
        (listed("IQ", {"id": 1}, []), r"names no field as the time$"),
        (listed("IQ", {"time": 1, "id": 3}, []), r"has the id in field 3 of 'IQ'$"),
        (listed("fQ", {"time": 1, "id": 2}, []), r"has the time in field 1 of 'fQ'$"),
        (listed("IQx", {"time": 1, "id": 2}, []), r"has unknown fields: 'IQx'$"),
        (
            listed("IQ", {"time": 1, "id": 2}, [])[:1004] + b"\x0b" + listed("IQ", {}, [])[1005:],
            r"says that a record has 11 bytes, and its fields 'IQ' have 12$",
        ),
        (listed("qQ", {"time": 1, "id": 2}, [(-1, 1)]), r"record 1 \(byte 1,024\) .* time, in s, is -1, and that of"),
        (listed("IQq", {"time": 1, "id": 2, "tenant": 3}, [(1, 1, 2**32)]), r"record 1 .*: its tenant is 4294967296$"),
        (listed("IQq", {"time": 1, "id": 2, "ttl": 3}, [(1, 1, -2)]), r"record 1 .*: its ttl, in s, is -2$"),
        (listed("IQb", {"time": 1, "id": 2, "op": 3}, [(1, 1, -2)]), r"record 1 .*: its operation is -2$"),
    ],
)
def test_a_wrong_file(raw: bytes, message: str, records: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lcs, "RECORDS", records)
    with pytest.raises(TraceError) as caught:
        read(raw)
    assert re.search("^t.lcs: .*" + message, caught.value.message), caught.value.message
    assert caught.value.remedy


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([1, 2, 3, 6]), st.booleans())
def test_changed_bytes(seed: int, changes: int, version: int, cut: bool) -> None:
    draw = random.Random(seed)
    raw = bytearray(packed(requests(40), version, 1024))
    for _ in range(changes):
        raw[draw.choice([draw.randrange(64), draw.randrange(1000, len(raw))])] = draw.randrange(256)
    made = outcome(bytes(raw[: draw.randrange(len(raw))] if cut else raw))
    if isinstance(made, TraceError):
        assert re.match(r"t: (record [\d,]+|the header) ", made.message)
        assert "byte" in made.message
        assert made.remedy
    else:
        assert made <= 40


def outcome(raw: bytes) -> TraceError | int:
    """The error, or how many records there are."""
    try:
        return sum(length(OBJECT.check(chunk, "t")) for chunk in Lcs().read(io.BytesIO(raw), "t"))
    except TraceError as error:
        return error


def test_known_by_its_magic_number() -> None:
    assert Lcs.recognise(RAW[: 1 << 16], "trace.bin")
    assert Lcs.recognise(listed("IQ", {}, []), "")
    assert not Lcs.recognise(RAW[8192:], "t.lcs")
    assert not Lcs.recognise(b"", "t.lcs")


def test_stored_or_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "trace.bin"
    path.write_bytes(RAW)
    stored, direct = load_trace(path), stream_trace(path)
    assert (stored.schema, stored.records, direct.records) == ("object", 1000, None)
    for one, other in zip(stored.chunks(300), direct.chunks(300), strict=True):
        assert {name: held.tolist() for name, held in one.items()} == {
            name: held.tolist() for name, held in other.items()
        }
    assert direct.kinds == stored.kinds
