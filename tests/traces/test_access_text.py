"""Accesses in text: by hand, against plain parsers, changed bytes, and what is said of a wrong line."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import load
from tiersim.traces.foreign import configured
from tiersim.traces.readers import text
from tiersim.traces.readers.contract import Records
from tiersim.traces.readers.text import Block
from tiersim.traces.readers.words import Lines
from tiersim.traces.schema import ACCESS, FETCH, LOAD, STORE

Row = tuple[int, int, int, int]  # address, size, kind, gap
Read = tuple[list[Row], int]
NAMES = ["dinero", "dramsim", "dramsys", "gap", "ramulator"]


def read(use: str, raw: bytes, **options: Any) -> Read:
    records = Records(configured("reader", use, options).read(io.BytesIO(raw), "t"))
    rows: list[Row] = []
    for chunk in records:
        ACCESS.check(chunk, "t")
        rows += zip(*(chunk[name].tolist() for name in ("address", "size", "kind", "gap")), strict=True)
    return rows, records.tail


DINERO = b"2 0\n2 401ab73\n0 7fffe8\r\n 1\t0x7fffF0  10\n2 4\n\nw ffffffffffffffff 1\ni 8 4\n2 c\n"


def test_dinero_by_hand() -> None:
    assert read("dinero", DINERO) == (
        [(0x7FFFE8, 4, LOAD, 2), (0x7FFFF0, 16, STORE, 0), (2**64 - 1, 1, STORE, 1)],
        2,
    )
    rows, tail = read("dinero", DINERO, fetches=True, size=8)
    assert tail == 0
    assert rows == [
        (0, 8, FETCH, 1),
        (0x401AB73, 8, FETCH, 1),
        (0x7FFFE8, 8, LOAD, 0),
        (0x7FFFF0, 16, STORE, 0),
        (4, 8, FETCH, 1),
        (2**64 - 1, 1, STORE, 0),
        (8, 4, FETCH, 1),
        (12, 8, FETCH, 1),
    ]


def test_gap_by_hand() -> None:
    assert read("gap", b"s 0x1fffff50 1\nl 0X1FFFFF58 0\r\nl fffffffffffffff0 4294967295", size=4) == (
        [(0x1FFFFF50, 4, STORE, 1), (0x1FFFFF58, 4, LOAD, 0), (2**64 - 16, 4, LOAD, 2**32 - 1)],
        0,
    )


def test_ramulator_by_hand() -> None:
    assert read("ramulator", b"9 64\n0 128 192\n4294967294 0x100\n", size=32) == (
        [(64, 32, LOAD, 10), (128, 32, LOAD, 1), (192, 32, STORE, 0), (256, 32, LOAD, 2**32 - 1)],
        0,
    )
    assert read("ramulator", b"9 64\n0 128 192\n", writebacks=False) == ([(64, 64, LOAD, 10), (128, 64, LOAD, 1)], 0)
    assert read("ramulator", b"\n\nLD 0x40\nST 64\n") == ([(64, 64, LOAD, 0), (64, 64, STORE, 0)], 0)
    assert read("ramulator", b"0x12345680 R\n4cbd56c0 W\n") == (
        [(0x12345680, 64, LOAD, 0), (0x4CBD56C0, 64, STORE, 0)],
        0,
    )


def test_dramsim_by_hand() -> None:
    raw = b"0x2000D5C0 IFETCH  30\n0x1FF96FC0 WRITE   160\n1FF97000 READ 160\n"
    raw += b"0 P_MEM_RD 161\n1 P_MEM_WR 162\n2 P_FETCH 900"
    kinds = [FETCH, STORE, LOAD, LOAD, STORE, FETCH]
    places = [0x2000D5C0, 0x1FF96FC0, 0x1FF97000, 0, 1, 2]
    assert read("dramsim", raw) == ([(place, 64, kind, 0) for place, kind in zip(places, kinds)], 0)
    assert [row[3] for row in read("dramsim", raw, cycles=True)[0]] == [30, 130, 0, 1, 1, 738]
    assert read("dramsim", raw, size=32)[0][0][1] == 32


def test_dramsys_by_hand() -> None:
    raw = b"31:\tread\t0x400140\n33:\twrite\t0x400160\t\n33: read 10\n"
    assert read("dramsys", raw) == ([(0x400140, 32, LOAD, 0), (0x400160, 32, STORE, 0), (16, 32, LOAD, 0)], 0)
    assert [row[3] for row in read("dramsys", raw, cycles=True, size=64)[0]] == [31, 2, 0]
    assert read("dramsys", raw, size=64)[0][0][1] == 64


# A plain parser of each: the rows of a line, or an exception where the line is wrong.
HEX = re.compile(r"(?:0[xX])?[0-9a-fA-F]{1,16}")
DECIMAL = re.compile(r"[0-9]{1,20}")


def hexadecimal(word: str, most: int = 2**64 - 1) -> int:
    assert HEX.fullmatch(word)
    assert int(word, 16) <= most
    return int(word, 16)


def decimal(word: str, most: int = 2**64 - 1) -> int:
    assert DECIMAL.fullmatch(word)
    assert int(word) <= most
    return int(word)


def either(word: str) -> int:
    return hexadecimal(word) if word[:2] in ("0x", "0X") else decimal(word)


def plain_dinero(lines: list[list[str]]) -> Read:
    rows: list[Row] = []
    since = 0
    for name, place, *rest in lines:
        assert len(rest) < 2
        kind = {"0": LOAD, "r": LOAD, "1": STORE, "w": STORE, "2": FETCH, "i": FETCH}[name]
        address, size = hexadecimal(place), hexadecimal(rest[0], 65535) if rest else 4
        assert size
        if kind == FETCH:
            since += 1
        else:
            rows.append((address, size, kind, since))
            since = 0
    return rows, since


def plain_gap(lines: list[list[str]]) -> Read:
    return [
        (hexadecimal(place), 1, {"l": LOAD, "s": STORE}[name], decimal(gap, 2**32 - 1)) for name, place, gap in lines
    ], 0


def plain_ramulator(lines: list[list[str]]) -> Read:
    rows: list[Row] = []
    if lines[0][0] in ("LD", "ST"):
        rows = [(either(place), 64, {"LD": LOAD, "ST": STORE}[name], 0) for name, place in lines]
    elif len(lines[0]) == 2 and lines[0][1] in ("R", "W"):
        rows = [(hexadecimal(place), 64, {"R": LOAD, "W": STORE}[name], 0) for place, name in lines]
    else:
        for bubble, place, *rest in lines:
            assert len(rest) < 2
            rows.append((either(place), 64, LOAD, decimal(bubble, 2**32 - 2) + 1))
            rows += [(either(word), 64, STORE, 0) for word in rest]
    return rows, 0


def in_order(cycles: list[int]) -> list[int]:
    gaps = [after - before for before, after in zip([0, *cycles], cycles)]
    assert all(0 <= gap < 2**32 for gap in gaps)
    return gaps


def plain_dramsim(lines: list[list[str]]) -> Read:
    kinds = {"READ": LOAD, "WRITE": STORE, "IFETCH": FETCH, "P_MEM_RD": LOAD, "P_MEM_WR": STORE, "P_FETCH": FETCH}
    gaps = in_order([decimal(cycle) for _, _, cycle in lines])
    return [(hexadecimal(line[0]), 64, kinds[line[1]], gap) for line, gap in zip(lines, gaps)], 0


def plain_dramsys(lines: list[list[str]]) -> Read:
    assert all(line[0].endswith(":") for line in lines)
    gaps = in_order([decimal(stamp[:-1]) for stamp, _, _ in lines])
    return [
        (hexadecimal(line[2]), 32, {"read": LOAD, "write": STORE}[line[1]], gap) for line, gap in zip(lines, gaps)
    ], 0


PLAIN: dict[str, Callable[[list[list[str]]], Read]] = {
    "dinero": plain_dinero,
    "gap": plain_gap,
    "ramulator": plain_ramulator,
    "dramsim": plain_dramsim,
    "dramsys": plain_dramsys,
}
OPTIONS: dict[str, dict[str, Any]] = {"dramsim": {"cycles": True}, "dramsys": {"cycles": True}}


def plain(use: str, raw: bytes) -> Read | None:
    """What a plain parser makes of it, None where it is wrong."""
    words = [[word for word in re.split("[ \t\r]+", line) if word] for line in raw.decode("latin-1").split("\n")]
    lines = [line for line in words if line]
    try:
        return PLAIN[use](lines) if lines else ([], 0)
    except (AssertionError, KeyError, ValueError):
        return None


places = st.integers(0, 2**64 - 1) | st.integers(0, 2**20)
hexes = st.builds(lambda place, form: format(place, form), places, st.sampled_from(["x", "X", "#x", "016x"]))
gaps = st.integers(0, 9) | st.integers(0, 2**32 - 2)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda blank, words: blank.join(words), st.sampled_from([" ", "\t", "  "]), st.tuples(*parts))


def one_of(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


LINES: dict[str, list[st.SearchStrategy[str]]] = {
    "dinero": [
        joined(one_of(*"012rwi"), hexes) | joined(one_of(*"012rwi"), hexes, st.integers(1, 65535).map("{:x}".format))
    ],
    "gap": [joined(one_of("l", "s"), hexes, gaps.map(str))],
    "ramulator": [
        joined(gaps.map(str), places.map(str) | places.map(hex))
        | joined(gaps.map(str), places.map(str), places.map(str)),
        joined(one_of("LD", "ST"), places.map(str) | places.map(hex)),
        joined(hexes, one_of("R", "W")),
    ],
    "dramsim": [joined(hexes, one_of("READ", "WRITE", "IFETCH", "P_MEM_RD", "P_MEM_WR", "P_FETCH"), st.just("@"))],
    "dramsys": [joined(st.just("@:"), one_of("read", "write"), hexes)],
}


@st.composite
def written(draw: Any, use: str) -> bytes:
    lines = draw(st.lists(draw(one_of_lists(use)), min_size=1, max_size=30))
    cycle = 0
    for number, line in enumerate(lines):
        if "@" in line:
            cycle += draw(gaps)
            lines[number] = line.replace("@", str(cycle))
    ends = draw(st.sampled_from(["\n", "\r\n", " \n", "\n\n"]))
    made: str = ends.join(lines) + draw(st.sampled_from(["", "\n"]))
    return made.encode()


def one_of_lists(use: str) -> st.SearchStrategy[st.SearchStrategy[str]]:
    return st.sampled_from(LINES[use])


@pytest.mark.parametrize("use", NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data(), block=st.sampled_from([60, 200, 1 << 20]))
def test_against_a_plain_parser(use: str, data: Any, block: int) -> None:
    raw = data.draw(written(use))
    wanted = plain(use, raw)
    assert wanted is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        assert read(use, raw, **OPTIONS.get(use, {})) == wanted


@pytest.mark.parametrize("use", NAMES)
@settings(deadline=None, max_examples=120)
@given(data=st.data(), block=st.sampled_from([60, 1 << 20]))
def test_changed_bytes_are_refused_or_read_as_they_stand(use: str, data: Any, block: int) -> None:
    raw = bytearray(data.draw(written(use)))
    byte = st.integers(0, 255) | st.sampled_from(list(b"0123456789abcdefxX \t\r\n:lsrwLDST"))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 2))] = bytes(data.draw(st.lists(byte, max_size=2)))
        if not raw:
            return
    wanted = plain(use, bytes(raw))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        if wanted is not None:
            assert read(use, bytes(raw), **OPTIONS.get(use, {})) == wanted
        else:
            with pytest.raises(TraceError, match=r"^t: line [\d,]+ \(byte [\d,]+\) ") as caught:
                read(use, bytes(raw))
            assert caught.value.remedy


@pytest.mark.parametrize("use", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_noise_is_one_error(use: str, seed: int) -> None:
    draw = random.Random(seed)
    with pytest.raises(TraceError):
        read(use, draw.randbytes(3000))


@pytest.mark.parametrize("word", [b"1", b"1234567", b"12345678", b"123456789", b"1234567890123456"])
def test_each_byte_at_each_place(word: bytes) -> None:
    for place in range(len(word)):
        for byte in set(range(256)) - set(b" \t\r\n"):
            changed = word[:place] + bytes([byte]) + word[place + 1 :]
            lines = Lines(Block(changed + b" x\n", 0, 0))
            (value,), (right,) = lines.decimals(lines.word(0))
            assert right == (byte in b"0123456789")
            assert not right or value == int(changed)
            (value,), (right,) = lines.hexadecimals(lines.word(0))
            prefixed = place == 1 and byte in b"xX" and changed[0] == ord("0")
            assert right == (prefixed or byte in b"0123456789abcdefABCDEF")
            assert not right or value == int(changed, 16)


GOOD = {
    "dinero": b"0 1f\n\n2 40\n",
    "gap": b"l 0x10 1\n\ns 0x18 0\n",
    "ramulator": b"9 64\n\n0 128 192\n",
    "dramsim": b"0x10 READ 5\n\n0x20 WRITE 7\n",
    "dramsys": b"5: read 0x10\n\n7: write 0x20\n",
}
BAD = {
    "dinero": ["0", "3 1f", "0 1g", "0 0x", "0 1f 0", "0 1f 10000", "0 1f 4 4", "00 1f", "0 11112222333344445", "R 1f"],
    "gap": ["l 0x10", "L 0x10 1", "l 0x10 4294967296", "l 0x10 -1", "l 0x10 1 1", "l 0x1g 1", "ll 0x10 1", "\x00"],
    "ramulator": ["9", "LD 64", "4294967295 64", "9 6a", "9 64 6a", "9 64 64 64", "9 18446744073709551616", "64 R"],
    "dramsim": ["0x10 READ", "0x10 read 9", "0x10 READ 6", "0x10 READ 4294967303", "x READ 9", "0x10 P_MEM_RDX 9"],
    "dramsys": ["9 read 0x10", "9: READ 0x10", "6: read 0x10", ": read 0x10", "9: read", "9:: read 0x10", "9: read -1"],
}


@pytest.mark.parametrize(("use", "bad"), [(use, bad) for use, lines in BAD.items() for bad in lines])
@pytest.mark.parametrize("block", [40, 1 << 20])
def test_a_wrong_line(use: str, bad: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    for raw, more in ((bad.encode() + b"\n" + GOOD[use], ""), (bad.encode(), "; the file ends inside this line")):
        with pytest.raises(TraceError) as caught:
            read(use, GOOD[use] + raw)
        message = caught.value.message
        assert message.startswith(f"t: line 4 (byte {len(GOOD[use])}) is not a")
        assert message.endswith(repr(bad.encode().decode("ascii", "backslashreplace")) + more)
        assert "expected" in caught.value.remedy


@pytest.mark.parametrize(
    ("use", "head", "name", "known"),
    [
        ("dinero", DINERO, "t", True),
        ("dinero", b"0 1f\n1 20\n", "t", True),
        ("dinero", b"r 10 4\n", "t", True),
        ("dinero", b"0 10\n1 20\n", "t", False),  # as it could be the edges of a graph
        ("dinero", b"0 10\n1 20\n", "t.din.gz", True),
        ("dinero", b"0 10\n3 20\n", "t.din", False),
        ("dinero", b"", "t.din", False),
        ("gap", b"l 0x10 1\ns 0x", "t", True),
        ("gap", b"l 0x10 1\nx\n", "t", False),
        ("ramulator", b"1 64\n2 128 192\n", "t", True),
        ("ramulator", b"1 64\n2 129\n", "t", False),
        ("ramulator", b"LD 1\nST 2\n", "t", True),
        ("ramulator", b"1f R\n", "t", True),
        ("dramsim", b"0x10 READ 1\n0x10 READ 0\n", "t", False),
        ("dramsim", b"10 READ 1\n", "t", True),
        ("dramsys", b"1: read 0x10\n", "t", True),
        ("dramsys", b"\n\n", "t", False),
    ],
)
def test_recognition(use: str, head: bytes, name: str, known: bool) -> None:
    assert load("reader", use).recognise(head, name) is known
