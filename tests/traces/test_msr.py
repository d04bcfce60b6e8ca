"""MSR Cambridge's traces of disks: by hand, against a plain parser, and what is said of a wrong line."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.registry import build
from tiersim.traces import stream_trace
from tiersim.traces.chunks import length
from tiersim.traces.readers import disk, text
from tiersim.traces.readers.msr import Msr
from tiersim.traces.schema import GET, OBJECT, SET

START = 128166372003061629
HEADER = b"Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime\r\n"


def read(raw: bytes, **options: Any) -> dict[str, list[int]]:
    chunks = list(build("reader", {"use": "msr", **options}).read(io.BytesIO(raw), "t.csv"))
    for chunk in chunks:
        OBJECT.check(chunk, "t")
    return {name: np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]}


def plain(raw: bytes, split: int | None) -> list[tuple[int, int, int, int, int]]:
    """The records as (id, time, size, op, tenant), as one would read them without a thought for speed."""
    made = []
    first: int | None = None
    volumes: dict[tuple[str, str], int] = {}
    for line in raw.decode("latin-1").replace("\r\n", "\n").split("\n"):
        if not line or line.startswith("Timestamp"):
            continue
        ticks, host, number, kind, begin, count, _ = line.split(",")
        first = int(ticks) if first is None else first
        base = volumes.setdefault((host, str(int(number))), len(volumes)) * 2**56
        op = GET if kind.lower() == "read" else SET
        offset, size = int(begin), int(count)
        if split is None:
            blocks = [(offset, size)]
        else:  # every block that holds one of the bytes
            blocks = [(at, split) for at in range(offset // split, (offset + size) // split + 1)]
            blocks = [(at, split) for at, _ in blocks if max(at * split, offset) < min((at + 1) * split, offset + size)]
        made += [(base + at, (int(ticks) - first) * 100, bytes_, op, int(number)) for at, bytes_ in blocks]
    return made


BY_HAND = b"""128166372003061629,hm,1,Read,383496192,32768,1331\r
128166372016382155,hm,1,Write,4096,512,2326
128166372016382155,src1,1,Write,4096,0,0

128166372026382245,hm,0,read,4608,4096,1331"""


@pytest.mark.parametrize("header", [b"", HEADER])
def test_by_hand(header: bytes) -> None:
    assert read(header + BY_HAND) == {
        "id": [383496192, 4096, 2**56 + 4096, 2 * 2**56 + 4608],
        "time": [0, 1_332_052_600, 1_332_052_600, 2_332_061_600],
        "size": [32768, 512, 0, 4096],
        "op": [GET, SET, SET, GET],
        "tenant": [1, 1, 1, 0],
    }
    assert read(header + BY_HAND, block_bytes="4 KiB") == {
        "id": [*range(93627, 93635), 1, 2 * 2**56 + 1, 2 * 2**56 + 2],
        "time": [*[0] * 8, 1_332_052_600, 2_332_061_600, 2_332_061_600],
        "size": [4096] * 11,
        "op": [*[GET] * 8, SET, GET, GET],
        "tenant": [*[1] * 9, 0, 0],
    }


lines_of = st.lists(
    st.tuples(
        st.integers(0, 10**7),
        st.sampled_from(["hm", "src1", "web no", "é"]),
        st.integers(0, 2) | st.integers(0, 2**32 - 1),
        st.sampled_from(["Read", "Write", "read", "WRITE"]),
        st.integers(0, 50_000) | st.integers(0, 2**56 - 2**20),
        st.integers(0, 30_000) | st.integers(0, 2**20),
        st.sampled_from(["0", "1331", "-5"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=80)
@given(lines_of, st.sampled_from([90, 1 << 20]), st.sampled_from([3, disk.PIECE]), st.sampled_from([b"\n", b"\r\n"]))
@pytest.mark.parametrize("split", [None, 512, 4096, 5000])
def test_against_a_plain_parser(split: int | None, drawn: list[Any], block: int, piece: int, end: bytes) -> None:
    ticks = START
    lines = []
    for gap, *others in drawn:
        ticks += gap
        lines.append(",".join(map(str, (ticks, *others))).encode())
    raw = f"{START},hm,1,Read,0,512,7\n".encode() + end.join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        patch.setattr(disk, "PIECE", piece)
        found = read(raw, **({"block_bytes": f"{split} B"} if split else {}))
    assert list(zip(*(found[name] for name in ("id", "time", "size", "op", "tenant")), strict=True)) == plain(
        raw, split
    )


GOOD = b"500,hm,1,Read,0,512,9\n\n"
BAD = [
    b"499,hm,1,Read,0,512,9",
    b"x,hm,1,Read,0,512,9",
    b"-6,hm,1,Read,0,512,9",
    b"92233720368547759000,hm,1,Read,0,512,9",
    b"92233720368548259,hm,1,Read,0,512,9",
    b"500,,1,Read,0,512,9",
    b"500,hm,a,Read,0,512,9",
    b"500,hm,4294967296,Read,0,512,9",
    b"500,hm,1,Trim,0,512,9",
    b"500,hm,1,,0,512,9",
    b"500,hm,1,Read,-1,512,9",
    b"500,hm,1,Read,72057594037927936,0,9",
    b"500,hm,1,Read,72057594037927935,2,9",
    b"500,hm,1,Read,0,4294967296,9",
    b"500,hm,1,Read,0,,9",
    b"500,hm,1,Read,0,512,",
    b"500,hm,1,Read,0,512",
    b"500,hm,1,Read,0,512,9,9",
    b"Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime",
    b"what",
    b" ",
    b"\r",
    b"\xff\x00",
]


@pytest.mark.parametrize("block", [40, 1 << 20])
@pytest.mark.parametrize("header", [b"", HEADER])
@pytest.mark.parametrize("bad", BAD)
def test_a_wrong_line(bad: bytes, header: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    raw = header + GOOD + bad + b"\r\n" + GOOD
    number, byte = 3 + (header != b""), 23 + len(header)
    with pytest.raises(
        TraceError, match=rf"^t\.csv: line {number} \(byte {byte}\) is not a request to a disk: "
    ) as caught:
        read(raw)
    assert "expected 'time,host,disk,Read or Write" in caught.value.remedy
    assert not Msr.recognise(raw, "t.csv")
    assert "format='msr'" in Msr.suggest(raw)


@pytest.mark.parametrize("block", [60, 1 << 20])
def test_too_many_volumes(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    lines = [b"500,hm,%d,Read,0,512,9\n" % number for number in range(257)]
    found = read(b"".join(lines[:256]) + lines[3])
    assert found["id"] == [*(number * 2**56 for number in range(256)), 3 * 2**56]
    with pytest.raises(TraceError, match=r"line 258 \(byte [\d,]+\) is not a request to a disk") as caught:
        read(b"".join(lines[:256]) + lines[3] + lines[256])
    assert "at most 256 volumes" in caught.value.remedy


def test_a_file_that_ends_inside_a_line() -> None:
    with pytest.raises(TraceError, match=r"line 3 \(byte 23\) .*: '500,hm,1,Re'; the file ends inside this line"):
        read(GOOD + b"500,hm,1,Re")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 8), st.booleans())
def test_changed_bytes(seed: int, changes: int, header: bool) -> None:
    draw = random.Random(seed)
    raw = bytearray(HEADER * header + GOOD * 3 + b"600,src,2,Write,4096,512,9\r\n" * 3)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice([bytes([draw.randrange(256)]), b"9", b",", b"-", b"\n", b"\r", b"", b"99999999999"])
        raw[at : at + draw.randrange(3)] = new
    made = outcome(bytes(raw))
    if isinstance(made, TraceError):
        assert re.match(r"t: line \d+ \(byte \d+\) is not a request to a disk", made.message)
        assert made.remedy
    else:
        assert made <= 6 + changes


def outcome(raw: bytes) -> TraceError | int:
    """The error, or how many records there are."""
    try:
        return sum(length(OBJECT.check(chunk, "t")) for chunk in Msr().read(io.BytesIO(raw), "t"))
    except TraceError as error:
        return error


def test_wrong_options() -> None:
    for wrong in ({"block_bytes": "100 B"}, {"block_bytes": 512}, {"blocks": 1}):
        with pytest.raises(StudyError):
            read(GOOD, **wrong)


def test_wrong_options_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "disk.csv"
    path.write_bytes(GOOD)
    with pytest.raises(StudyError, match=r"^disk\.csv: msr: block_bytes: must be at least 512 B"):
        stream_trace(path, block_bytes=77)


def test_recognition() -> None:
    assert Msr.recognise(BY_HAND, "t")
    assert Msr.recognise(HEADER + BY_HAND, "t")
    assert Msr.recognise(HEADER, "t")
    assert Msr.recognise(GOOD + b"500,hm", "t")  # the last line may go on
    for head in (b"", b"\n\n", b"500,hm,1,Read,0,512\n", b"time,id,size\n1,a,3\n", b"1 3 0 0\n", b"1\n2\n"):
        assert not Msr.recognise(head, "hm_0.csv")
        assert not Msr.suggest(head)


def test_read_through_the_front_door(tmp_path: Any) -> None:
    path = tmp_path / "hm_1.csv"
    path.write_bytes(HEADER + BY_HAND)
    trace = stream_trace(path, block_bytes="4 KiB")
    assert sum(length(chunk) for chunk in trace.chunks()) == trace.records == 11
    assert (trace.provenance["reader"], trace.kinds["get"], trace.kinds["set"]) == ("msr", 10, 1)
