"""JSON arrays element by element: against the whole array at once, in little memory, and what is said of a wrong."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim.traces.readers import arrays
from tiersim.traces.readers.arrays import Element, elements

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('ab\\"[]{},: \n\ud800é😀'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a"]\\', max_size=3), inner, max_size=3),
    max_leaves=12,
)


class Drip:
    """A stream that gives a few bytes at a time, and remembers how many were taken."""

    def __init__(self, raw: bytes, most: int) -> None:
        self._file = io.BytesIO(raw)
        self._most = most

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._most))

    @property
    def taken(self) -> int:
        return self._file.tell()


def read(raw: bytes, most: int = 1 << 20) -> list[Element]:
    return list(elements(Drip(raw, most), "t.json"))


def test_by_hand() -> None:
    raw = ' [ {"a": "],["} ,\n[1, [2]],"é\\"", 3 ]\n'.encode()
    found = read(raw)
    assert [each.value for each in found] == [{"a": "],["}, [1, [2]], 'é"', 3]
    assert [each.number for each in found] == [1, 2, 3, 4]
    assert [each.offset for each in found] == [3, 18, 27, 35]
    assert str(found[1].wrong("a puzzle", "cut it").message) == (
        "t.json: element 2 (byte 18) is not a puzzle: '[1, [2]]'"
    )


def test_none() -> None:
    assert read(b"[]") == read(b" [ \n] ") == []


@given(st.lists(JSON, max_size=6), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_as_the_whole_array(held: list[Any], most: int, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(held, indent=indent, ensure_ascii=ascii_only)
    raw = text.encode("utf-8", "replace")
    found = read(raw, most)
    assert [each.value for each in found] == json.loads(raw)
    assert [json.loads(raw[each.offset : each.offset + len(each.text)]) for each in found] == json.loads(raw)


@given(st.binary(max_size=30) | st.text('[]{}",:1e \\', max_size=30).map(str.encode), st.integers(1, 9))
def test_right_exactly_where_json_is(raw: bytes, most: int) -> None:
    try:
        whole = json.loads(raw.decode())
    except ValueError:
        whole = None
    if isinstance(whole, list):
        assert repr([each.value for each in read(raw, most)]) == repr(whole)  # by its text: a NaN is not itself
        return
    with pytest.raises(TraceError, match=r"^t\.json: .*byte \d") as caught:
        read(raw, most)
    assert caught.value.remedy


def test_what_was_read_is_let_go() -> None:
    element = json.dumps({"text": "x" * 1000}).encode()
    drip = Drip(b"[" + b",".join([element] * 5000) + b"]", 1 << 30)
    for each in elements(drip, "t.json"):
        assert drip.taken - each.offset <= 2 * arrays.STEP


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "t.json: byte 0 does not begin a JSON array: ''"),
        (b'{"a": 1}', "t.json: byte 0 does not begin a JSON array: "),
        (b"\n\n5", "t.json: byte 2 does not begin a JSON array: '5'"),
        (b"[", "t.json: element 1 (byte 1) breaks off"),
        (b"[1", "t.json: element 1 (byte 1) breaks off"),
        (b"[1, ", "t.json: element 2 (byte 4) breaks off"),
        (b'[1, {"a": "b', "t.json: element 2 (byte 4) breaks off"),
        (b"[1, {}", "t.json: element 2 (byte 4) breaks off"),
        (b"[1,]", "t.json: element 2 (byte 3) is not JSON (Expecting value at byte 3): ']'"),
        (b"[1}", "t.json: element 1 (byte 1) "),
        (b"[1, 2 3]", "t.json: element 2 (byte 4) is not JSON (Extra data at byte 6): '2 3]'"),
        ('["é" 3]'.encode(), "t.json: element 1 (byte 1) is not JSON (Extra data at byte 6)"),
        (b'[1, "\xff"]', "t.json: element 2 (byte 4) is not UTF-8 at byte 5: "),
        (b"[1] [2]", "t.json: byte 4 is after the end of the array: '[2"),
        (b"[1, " + b"[" * 100_000 + b"]" * 100_000 + b"]", "t.json: element 2 (byte 4) has lists in lists"),
        (b"[1, " + b"9" * 5000 + b"]", "t.json: element 2 (byte 4) cannot be read (Exceeds the limit"),
    ],
)
def test_a_wrong_file(raw: bytes, message: str) -> None:
    for most in (3, 1 << 20):
        with pytest.raises(TraceError) as caught:
            read(raw, most)
        assert caught.value.message.startswith(message)
        assert "one JSON array" in caught.value.remedy


@pytest.mark.parametrize("endless", [b'"' + b"x" * 99, b"[" * 99, b"7" * 99])
def test_an_endless_element_is_not_held(endless: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LONGEST", 1 << 18)
    drip = Drip(b"[1," + endless * 50_000, 1 << 30)
    with pytest.raises(TraceError, match=r"t\.json: element 2 \(byte 3\) has more than 262,144 bytes"):
        list(elements(drip, "t.json"))
    assert drip.taken < 1 << 20
