"""ChampSim's binary traces: by hand, against plain unpacking, changed bytes, and what is said of a wrong record."""

from __future__ import annotations

import io
import lzma
import random
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim.traces import load_trace, stream_trace
from tiersim.traces.foreign import configured
from tiersim.traces.readers import champsim
from tiersim.traces.readers.champsim import ChampSim
from tiersim.traces.readers.contract import HEAD, Records
from tiersim.traces.schema import ACCESS, FETCH, LOAD, STORE

Row = tuple[int, int, int, int]  # address, kind, gap, address space
Instruction = tuple[int, list[int], list[int]]  # ip, what it loads, what it stores
FORMS = {"standard": "<QBB2B4B2Q4Q", "cloudsuite": "<QBB4B4B6x4Q4Q2B6x"}
STORES = {"standard": 2, "cloudsuite": 4}


def packed(instructions: list[Instruction], variant: str = "standard", asid: int = 0) -> bytes:
    """The file of these instructions; every fifth is a branch, every tenth is taken."""
    made = b""
    width = STORES[variant]
    for number, (ip, loads, stores) in enumerate(instructions):
        branch = number % 5 == 0
        made += struct.pack(
            FORMS[variant],
            *(ip, branch, branch and number % 2, *range(width + 4)),
            *(stores + [0] * (width - len(stores))),
            *(loads + [0] * (4 - len(loads))),
            *([asid & 255, asid >> 8] if variant == "cloudsuite" else []),
        )
    return made


def program(count: int, seed: int = 0) -> list[Instruction]:
    draw = random.Random(seed)
    place = [0x7FFE_0000_0000 + 8 * draw.randrange(1 << 16) for _ in range(99)]
    return [
        (
            0x40_0000 + 4 * (i % 97),
            draw.sample(place, draw.choice([0, 0, 1, 2])),
            draw.sample(place, draw.choice([0, 1])),
        )
        for i in range(count)
    ]


def read(raw: bytes, **options: Any) -> tuple[list[Row], int]:
    records = Records(configured("reader", "champsim", options).read(io.BytesIO(raw), "t"))
    rows: list[Row] = []
    for chunk in records:
        ACCESS.check(chunk, "t")
        assert set(chunk["size"].tolist()) <= {options.get("size", 1)}
        space = chunk.get("asid", np.zeros(len(chunk["kind"]), np.uint16)).tolist()
        rows += zip(*(chunk[name].tolist() for name in ("address", "kind", "gap")), space, strict=True)
    return rows, records.tail


def plain(raw: bytes, variant: str, fetches: bool) -> tuple[list[Row], int]:
    rows: list[Row] = []
    since = 0
    for ip, *held in struct.iter_unpack(FORMS[variant], raw):
        width = STORES[variant]
        memory = held[2 + width + 4 :]
        stores, loads, space = memory[:width], memory[width : width + 4], memory[width + 4 :]
        asid = space[0] + 256 * space[1] if space else 0
        since += 1
        touched = [(ip, FETCH)] * fetches + [(place, LOAD) for place in loads] + [(place, STORE) for place in stores]
        for place, kind in touched:
            if place:
                rows.append((place, kind, since, asid))
                since = 0
    return rows, since


BY_HAND: list[Instruction] = [(0x400000, [], []), (0x400004, [0x1000, 0x2000], [0x1000]), (2**64 - 16, [], [])]


def test_by_hand() -> None:
    for variant, asid in (("standard", 0), ("cloudsuite", 0x1234)):
        raw = packed(BY_HAND, variant, asid)
        assert len(raw) == 3 * {"standard": 64, "cloudsuite": 96}[variant]
        assert read(raw) == ([(0x1000, LOAD, 2, asid), (0x2000, LOAD, 0, asid), (0x1000, STORE, 0, asid)], 1)
    rows, tail = read(raw, fetches=True, size=4)
    assert [row[:3] for row in rows] == [
        (0x400000, FETCH, 1),
        (0x400004, FETCH, 1),
        (0x1000, LOAD, 0),
        (0x2000, LOAD, 0),
        (0x1000, STORE, 0),
        (2**64 - 16, FETCH, 1),
    ]
    assert tail == 0


places = st.just(0) | st.integers(1, 2**56 - 1) | st.integers(2**64 - 2**56, 2**64 - 1)


@pytest.mark.parametrize("variant", FORMS)
@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            places.filter(bool),
            st.lists(places, max_size=4),
            st.lists(places, max_size=2),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 65535),
    st.sampled_from([192, 1920, 1 << 20]),
    st.booleans(),
)
def test_against_plain_unpacking(
    variant: str, instructions: list[Instruction], asid: int, block: int, fetches: bool
) -> None:
    raw = packed(instructions, variant, asid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(champsim, "BLOCK", block)
        assert read(raw, variant=variant, fetches=fetches) == plain(raw, variant, fetches)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(["auto", "standard", "cloudsuite"]), st.sampled_from(sorted(FORMS)))
def test_changed_bytes_give_an_error_or_a_result(data: Any, variant: str, of: str) -> None:
    raw = bytearray(packed(program(data.draw(st.integers(1, 20))), of))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    made: TraceError | None = None
    try:
        read(bytes(raw), variant=variant)
    except TraceError as error:
        made = error
    assert made is None or (made.message.startswith("t: ") and made.remedy)


RAW = packed(program(1000))


def changed(record: int, form: str, place: int, value: int) -> bytes:
    at = record * 64 + place
    new = struct.pack(form, value)
    return RAW[:at] + new + RAW[at + len(new) :]


@pytest.mark.parametrize("block", [192, 192 << 10])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(700, "B", 8, 2), r"record 701 \(byte 44,800\) is not an instruction: its branch is 2$"),
        (changed(700, "B", 9, 255), r"record 701 .*: its taken is 255$"),
        (changed(700, "<Q", 0, 0), r"record 701 .*: its ip is 0$"),
        (changed(700, "<Q", 0, 2**60), r"record 701 .*: one of its ip is 0x1000000000000000$"),
        (changed(700, "<Q", 24, 2**56), r"record 701 .*: one of its stores is 0x100000000000000$"),
        (changed(700, "<Q", 56, 2**63), r"record 701 .*: one of its loads is 0x8000000000000000$"),
        (RAW[:-1], r"record 1,000 \(byte 63,936\) breaks off after 63 of 64 bytes$"),
        (RAW + b"x", r"record 1,001 \(byte 64,000\) breaks off after 1 of 64 bytes$"),
        (b" L 00602260,4\n" * 99, r"record 1 \(byte 0\) is not an instruction: its branch is 50$"),
        (bytes(640), r"record 1 \(byte 0\) is not an instruction: its ip is 0$"),
    ],
)
def test_a_wrong_record(raw: bytes, message: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champsim, "BLOCK", block)
    with pytest.raises(TraceError) as caught:
        read(raw, variant="standard")
    assert re.search("^t: " + message, caught.value.message)
    assert "variant=" in caught.value.remedy


def test_a_short_file_that_could_be_either() -> None:
    one = packed([(1, [1, 1, 1, 1], [1, 1])])
    raw = (one[:10] + bytes(6) + one[16:]) * 3  # with other registers than 0 there would be no doubt
    assert not ChampSim.recognise(raw, "t")
    with pytest.raises(
        TraceError, match="records of 64 bytes and of 96 both make sense of the first 192 bytes"
    ) as told:
        read(raw)
    assert "variant='standard'" in told.value.remedy
    assert len(read(raw, variant="standard")[0]) == 18


@pytest.mark.parametrize("variant", FORMS)
def test_known_by_content(variant: str) -> None:
    for count in (10, 1000, 5000):
        assert ChampSim.recognise(packed(program(count), variant)[:HEAD], "trace.bin")


def test_not_known_by_content() -> None:
    for raw in (
        b"",
        RAW[:63],
        RAW[:-1],
        bytes(6400),
        changed(3, "B", 9, 1),  # taken, and no branch
        packed([(1 << 20, [], [])] * 100),
        np.arange(9000, dtype=np.uint32).tobytes(),
        np.arange(9000, dtype=np.uint64).tobytes(),
        b" L 00602260,4\n" * 2000,
        random.Random(1).randbytes(64_000),
    ):
        assert not ChampSim.recognise(raw[:HEAD], "t.champsimtrace")


@pytest.mark.parametrize("variant", FORMS)
def test_stored_or_streamed(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "t.champsimtrace.xz"
    path.write_bytes(lzma.compress(packed(program(3000), variant, 7)))
    stored, direct = load_trace(path), stream_trace(path)
    for one, other in zip(stored.chunks(300), direct.chunks(300), strict=True):
        assert {name: held.tolist() for name, held in one.items()} == {
            name: held.tolist() for name, held in other.items()
        }
    assert stored.instructions == direct.instructions == 3000
    assert stored.kinds == direct.kinds


def test_nothing_but_instructions(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(packed([(1 << 20, [], [])] * 10))
    with pytest.raises(TraceError, match="holds not one memory access in 640 bytes") as caught:
        list(stream_trace(path, format="champsim", variant="standard").chunks())
    assert "fetches=True" in caught.value.remedy
