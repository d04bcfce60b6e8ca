"""CloudPhysics' traces of disks: by hand, against struct and libCacheSim, and what is said of a wrong record."""

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

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.registry import build
from tiersim.traces import load_trace, stream_trace
from tiersim.traces.chunks import length
from tiersim.traces.readers import disk, vscsi
from tiersim.traces.readers.vscsi import Vscsi
from tiersim.traces.schema import GET, OBJECT, SET

Row = tuple[int, int, int, int]  # time in us, command, bytes, block
READS = (0x08, 0x28, 0x88, 0xA8)
WRITES = (0x0A, 0x2A, 0x8A, 0xAA, 0x2E, 0x8E, 0xAE)
US = 1000


def packed(rows: Sequence[Row], version: int) -> bytes:
    if version == 1:
        return b"".join(
            struct.pack("<IIIHHQQ", 2**31 + i, size, 1, op, 0x100, block, time)
            for i, (time, op, size, block) in enumerate(rows)
        )
    return b"".join(
        struct.pack("<HHIIIQQQ", op, 0x201, 2**31 + i, size, 1, block, time, 77)
        for i, (time, op, size, block) in enumerate(rows)
    )


def requests(count: int, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [
        (5_633_898_368_802 + i * 999, draw.choice(READS + WRITES), draw.randrange(64) * 512, draw.randrange(2000))
        for i in range(count)
    ]


def read(raw: bytes, **options: Any) -> dict[str, list[int]]:
    chunks = list(build("reader", {"use": "vscsi", **options}).read(io.BytesIO(raw), "t.vscsi"))
    for chunk in chunks:
        OBJECT.check(chunk, "t")
    return {name: np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]}


def test_by_hand() -> None:
    raw = bytes.fromhex(
        "f4000080 00020000 01000000 2a00 0001 c9188f0200000000 e2ecbfbf1f050000"
        "61000080 00100000 01000000 2800 0001 ffffffffffffffff e4ecbfbf1f050000"
    )
    wanted = {"id": [0x28F18C9, 2**64 - 1], "time": [0, 2 * US], "size": [512, 4096], "op": [SET, GET]}
    assert read(raw) == wanted
    raw = bytes.fromhex(
        "2a00 0002 f4000080 00020000 01000000 c9188f0200000000 e2ecbfbf1f050000 5000000000000000"
        "2800 0002 61000080 00100000 01000000 ffffffffffffffff e4ecbfbf1f050000 5000000000000000"
    )
    assert read(raw) == wanted


def test_split_by_hand() -> None:
    raw = packed([(5, 0x28, 8192, 8), (6, 0x2A, 512, 15), (7, 0x28, 1024, 15), (8, 0x28, 0, 3)], 1)
    assert read(raw, block_bytes="4 KiB") == {
        "id": [1, 2, 1, 1, 2],
        "time": [0, 0, US, 2 * US, 2 * US],
        "size": [4096] * 5,
        "op": [GET, GET, SET, GET, GET],
    }


rows_of = st.lists(
    st.tuples(
        st.integers(0, 10**7),
        st.sampled_from(READS + WRITES + (0x2F, 0x42)),
        st.integers(0, 20_000) | st.integers(0, 2**20),
        st.integers(0, 40) | st.integers(0, 2**54 - 1),
    ),
    min_size=1,
    max_size=50,
)


@settings(deadline=None, max_examples=150)
@given(rows_of, st.sampled_from([1, 2]), st.sampled_from([160, vscsi.BLOCK]), st.sampled_from([3, disk.PIECE]))
@pytest.mark.parametrize("split", [None, 512, 4096, 5000])
def test_against_struct(split: int | None, drawn: list[Row], version: int, block: int, piece: int) -> None:
    time = 123_456
    rows: list[Row] = [(time, 0x28, 512, 1)]
    for gap, op, size, at in drawn:
        time += gap
        rows.append((time, op, size, at))
    wanted = []
    for time, op, size, at in rows:
        if op not in READS + WRITES:
            continue
        if split is None:
            blocks = [(at, size)]
        else:
            blocks = [(number, split) for number in range(at * 512 // split, -(-(at * 512 + size) // split))] * (
                size > 0
            )
        wanted += [(number, (time - 123_456) * US, bytes_, GET if op in READS else SET) for number, bytes_ in blocks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vscsi, "BLOCK", block)
        patch.setattr(disk, "PIECE", piece)
        found = read(packed(rows, version), skip_other=True, **({"block_bytes": f"{split} B"} if split else {}))
    assert list(zip(found["id"], found["time"], found["size"], found["op"], strict=True)) == wanted


@pytest.mark.parametrize("version", [1, 2])
def test_libcachesim_reads_the_same(version: int, tmp_path: Path) -> None:
    other = pytest.importorskip("libcachesim", reason="libcachesim is not installed")
    path = tmp_path / "t.vscsi"
    path.write_bytes(packed([row for row in requests(5000) if row[1] not in (0x0A, 0x2E)], version))
    theirs = list(other.TraceReader(str(path), other.TraceType.VSCSI_TRACE))
    found = read(path.read_bytes())
    assert found["id"] == [item.obj_id for item in theirs]
    assert found["size"] == [item.obj_size for item in theirs]  # those of 0 bytes too
    start = 5_633_898_368_802 * US
    assert [(time + start) // 10**9 for time in found["time"]] == [item.clock_time for item in theirs]
    assert found["op"] == [GET if item.op == other.ReqOp.OP_READ else SET for item in theirs]
    assert {item.op for item in theirs} == {other.ReqOp.OP_READ, other.ReqOp.OP_WRITE}


def test_what_neither_reads_nor_writes() -> None:
    raw = packed([(5, 0x28, 512, 1), (6, 0x42, 0, 2**60), (7, 0x2A, 512, 3)], 1)
    with pytest.raises(
        TraceError, match=r"record 2 \(byte 32\) is not a request: its command, 0x42, neither"
    ) as caught:
        read(raw)
    assert "skip_other=True" in caught.value.remedy
    assert read(raw, skip_other=True)["id"] == [1, 3]
    assert read(raw, skip_other=True, block_bytes="512 B")["id"] == [1, 3]


RAW = packed(requests(1000), 1)
RAW2 = packed(requests(1000), 2)


def changed(record: int, form: str, place: int, value: int) -> bytes:
    at = record * 32 + place
    new = struct.pack(form, value)
    return RAW[:at] + new + RAW[at + len(new) :]


FIRST = r"5633898368802 us"


@pytest.mark.parametrize("block", [160, vscsi.BLOCK])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(700, "<H", 14, 0x200), r"record 701 \(byte 22,400\) .* its version is 2, and that of record 1 is 1$"),
        (changed(700, "<Q", 24, 9), rf"record 701 .*: its time, 9 us, is before that of record 1, {FIRST}$"),
        (
            changed(700, "<Q", 24, 2**63),
            r"record 701 .*: its time, 9223372036854775808 us, is 2\*\*63 ns or more after",
        ),
        (changed(700, "<H", 12, 0x12), r"record 701 .*: its command, 0x12, neither reads nor writes$"),
        (
            changed(700, "<Q", 16, 2**54),
            r"record 701 .*: its block, 18014398509481984, is beyond 2\*\*54 blocks of 512",
        ),
        (changed(0, "<H", 14, 0x300), r"record 1 \(byte 0\) is of no known version: "),
        (RAW[:-1], r"record 1,000 \(byte 31,968\) breaks off after 31 of 32 bytes$"),
        (RAW2[:-1], r"record 1,000 \(byte 39,960\) breaks off after 39 of 40 bytes$"),
        (RAW + b"x", r"record 1,001 \(byte 32,000\) breaks off after 1 of 32 bytes$"),
        (RAW[:31], r"record 1 \(byte 0\) breaks off after 31 of 32 bytes$"),
        (b"1 128 192\n" * 40, r"record 1 \(byte 0\) is of no known version"),
    ],
)
def test_a_wrong_record(raw: bytes, message: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vscsi, "BLOCK", block)
    with pytest.raises(TraceError) as caught:
        read(raw, block_bytes="8 KiB")
    assert re.search("^t.vscsi: " + message, caught.value.message), caught.value.message
    assert caught.value.remedy


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([1, 2]), st.booleans())
def test_changed_bytes(seed: int, changes: int, version: int, split: bool) -> None:
    draw = random.Random(seed)
    raw = bytearray(packed(requests(40), version))
    for _ in range(changes):
        raw[draw.randrange(len(raw))] = draw.randrange(256)
    made = outcome(bytes(raw[: draw.randrange(len(raw))] if seed % 2 else raw), 1 << 32 if split else None)
    if isinstance(made, TraceError):
        assert re.match(r"t: record [\d,]+ \(byte [\d,]+\) ", made.message)
        assert made.remedy
    else:
        assert made <= 40 * 2


def outcome(raw: bytes, split: int | None) -> TraceError | int:
    """The error, or how many records there are."""
    reader = Vscsi(block_bytes=split)
    try:
        return sum(length(OBJECT.check(chunk, "t")) for chunk in reader.read(io.BytesIO(raw), "t"))
    except TraceError as error:
        return error


def test_packing_that_breaks_off_is_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.vscsi.gz"
    path.write_bytes(gzip.compress(RAW)[:-400])
    with pytest.raises(TraceError, match=r"the gzip stream breaks off at byte [\d,]+ of what it holds"):
        list(stream_trace(path).chunks())


def test_wrong_options() -> None:
    for wrong in ({"block_bytes": "100 B"}, {"block_bytes": 512}, {"block_bytes": "4 s"}, {"blocks": 1}):
        with pytest.raises(StudyError):
            read(RAW, **wrong)


def test_recognition() -> None:
    for count in (1, 2, 1000):
        for version in (1, 2):
            assert Vscsi.recognise(packed(requests(count), version)[: 1 << 16], "trace")
    assert Vscsi.recognise(RAW[:-5], "trace")
    assert Vscsi.recognise(changed(700, "<H", 12, 0x42), "trace")
    for raw in (
        b"",
        RAW[:31],
        bytes(4800),
        RAW[1:],
        changed(700, "<H", 14, 0x200),
        changed(700, "<Q", 24, 9),
        packed([(5, 0x42, 0, 0), (6, 0x42, 0, 0)], 1),
        np.arange(9000, dtype=np.uint32).tobytes(),
        random.Random(1).randbytes(48_000),
        b"1 128 192\n" * 2000,
    ):
        assert not Vscsi.recognise(raw, "t.vscsi")
    assert "format='vscsi'" in Vscsi.suggest(changed(700, "<Q", 24, 9))
    assert not any(map(Vscsi.suggest, (b"", RAW[1:], bytes(4800), b"1 128 192\n" * 2000)))


def test_stored_or_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "trace"
    for raw in (RAW, RAW2):
        path.write_bytes(raw)
        stored, direct = load_trace(path), stream_trace(path)
        assert (stored.schema, stored.records, direct.records) == ("object", 1000, 1000)
        assert {name: held.tolist() for name, held in next(stored.chunks()).items()} == read(raw)
    split = load_trace(path, block_bytes="4 KiB")
    assert next(split.chunks())["id"].tolist() == read(RAW2, block_bytes="4 KiB")["id"]
    assert stream_trace(path, block_bytes="4 KiB").records is None
