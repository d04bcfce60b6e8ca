"""libCacheSim's text of keys: by hand, against a plain parser and libCacheSim, and what is said of a wrong line."""

from __future__ import annotations

import hashlib
import io
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces import stream_trace
from tiersim.traces.chunks import length
from tiersim.traces.readers import text
from tiersim.traces.readers.libcachesim_txt import LibcachesimTxt
from tiersim.traces.schema import OBJECT


def read(raw: bytes) -> list[int]:
    chunks = list(build("reader", "libcachesim-txt").read(io.BytesIO(raw), "t.txt"))
    assert all(OBJECT.check(chunk, "t").keys() == {"id"} for chunk in chunks)
    made: list[int] = np.concatenate([chunk["id"] for chunk in chunks]).tolist()
    return made


def key_of(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")


def plain(raw: bytes) -> list[int]:
    """The keys as one would read them without a thought for speed."""
    words = [word for line in raw.split(b"\n") if (word := line.strip(b" \t\r"))]
    return [
        int(word)
        if re.fullmatch(rb"0|[1-9][0-9]*", word) and int(word) < 2**64
        else int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")
        for word in words
    ]


def test_by_hand() -> None:
    raw = b"user:1\r\n7\n\n  a/b?c=d \n18446744073709551615\n18446744073709551616\n007\nuser:1\n\xc3\xa9\n0x10"
    named = [key_of(word) for word in (b"user:1", b"a/b?c=d", b"18446744073709551616", b"007", b"\xc3\xa9", b"0x10")]
    one, path, beyond, zeros, accent, hexadecimal = named
    assert one == 0x121A0CA4DD7A7BD4
    assert read(raw) == [one, 7, path, 2**64 - 1, beyond, zeros, one, accent, hexadecimal]


words_of = st.lists(
    st.binary(min_size=0, max_size=30).map(lambda raw: raw.translate(None, bytes({*range(33), ord(","), 127})))
    | st.integers(0, 2**65).map(lambda number: b"%d" % number)
    | st.sampled_from([b"", b" ", b"a", b"b ", b"\tb", b"00", b"0", b"7\r"]),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(words_of, st.sampled_from([40, 1 << 20]), st.booleans())
def test_against_a_plain_parser(words: list[bytes], block: int, newline: bool) -> None:
    raw = b"1\n" + b"\n".join(words) + b"\n" * newline
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        assert read(raw) == plain(raw)


def test_libcachesim_reads_the_same_numbers(tmp_path: Path) -> None:
    other = pytest.importorskip("libcachesim", reason="libcachesim is not installed")
    draw = random.Random(0)
    path = tmp_path / "t.txt"
    path.write_text("".join(f"{draw.randrange(2 ** draw.randrange(1, 65))}\n" for _ in range(2000)))
    params = other.ReaderInitParam(obj_id_is_num=True, obj_id_is_num_set=True)
    theirs = other.TraceReader(str(path), other.TraceType.PLAIN_TXT_TRACE, params)
    assert read(path.read_bytes()) == [item.obj_id for item in theirs]


def test_libcachesim_tells_the_same_words_apart(tmp_path: Path) -> None:
    other = pytest.importorskip("libcachesim", reason="libcachesim is not installed")
    draw = random.Random(0)
    path = tmp_path / "t.txt"
    path.write_text("".join(f"user:{draw.randrange(300):x}\n" for _ in range(2000)))
    params = other.ReaderInitParam(obj_id_is_num=False, obj_id_is_num_set=True)
    theirs = other.TraceReader(str(path), other.TraceType.PLAIN_TXT_TRACE, params)
    pairs = set(zip(read(path.read_bytes()), [item.obj_id for item in theirs], strict=True))
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({key for _, key in pairs}) > 250


@pytest.mark.parametrize("block", [8, 1 << 20])
@pytest.mark.parametrize("bad", [b"a b", b"1\t2", b"a,b", b"a\x00b", b"a\rb", b"\x7f", b"1 128 192"])
def test_a_wrong_line(bad: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    with pytest.raises(TraceError, match=r"^t\.txt: line 4 \(byte 8\) is not a key: ") as caught:
        read(b"a\n\nbcde\n" + bad + b"\nb\n")
    assert "format='object-csv' and id_column=" in caught.value.remedy


def test_a_file_that_ends_inside_a_line() -> None:
    with pytest.raises(TraceError, match=r"line 2 \(byte 2\) is not a key: 'b c'; the file ends inside this line"):
        read(b"a\nb c")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_changed_bytes(seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(b"user:1\n77\nuser:2\r\n" * 4)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        raw[at : at + draw.randrange(3)] = draw.choice([bytes([draw.randrange(256)]), b"\n", b" ", b"", b"\r", b","])
    made = outcome(bytes(raw))
    if isinstance(made, TraceError):
        assert re.match(r"t: line \d+ \(byte \d+\) is not a key", made.message)
        assert made.remedy
    else:
        assert made == len(plain(bytes(raw)))


def outcome(raw: bytes) -> TraceError | int:
    """The error, or how many records there are."""
    try:
        return sum(length(chunk) for chunk in LibcachesimTxt().read(io.BytesIO(raw), "t"))
    except TraceError as error:
        return error


@pytest.mark.parametrize(
    ("head", "right", "told"),
    [
        (b"k1\nk2\nk1\n", True, True),
        (b"k1\r\n\r\n1\r\nk1\r\nb", True, True),
        (b"user:1\n7\n7\nuser:2", True, True),  # the last line may go on
        (b"k1\nk2\nk3\n", False, True),
        (b"k1\nk2\nk1", False, True),
        (b"k1\n" * 9, False, True),
        (b"hello\n" * 50, False, True),  # prose in lines of a word
        (b"the\ncat\nsat\non\nthe\nmat\nin\n1999\n", False, True),
        (b"a\nb\na\n1\n", False, True),
        (b"0x10\n0x20\n", False, True),
        (b"1\n2\n1\n", False, False),
        (b"*\n1\n*\n", False, False),
        (b"a1\n*\na1\n", True, True),
        (b"a b\na b\n", False, False),
        (b"a,b\na,b\n", False, False),
        (b'{"a":1}\n{"a":1}\n', False, False),
        (b"[\n[\n", False, False),
        (b"a\n\x00\na\n", False, False),
        (b"\n\n\n", False, False),
        (b"", False, False),
    ],
)
def test_recognition(head: bytes, right: bool, told: bool) -> None:
    assert LibcachesimTxt.recognise(head, "t.txt") is right
    assert bool(LibcachesimTxt.suggest(head)) is told


def test_what_is_not_known_is_suggested(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_bytes(b"a\nb\nc\n")
    with pytest.raises(TraceError) as caught:
        stream_trace(path)
    assert "format='libcachesim-txt'" in caught.value.remedy
    assert length(next(stream_trace(path, format="libcachesim-txt").chunks())) == 3


def test_numbers_are_the_same_keys_as_in_lirs(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_bytes(b"5\n6\n5\n")
    found = stream_trace(path)
    assert found.provenance["reader"] == "lirs"
    named = stream_trace(path, format="libcachesim-txt")
    assert next(found.chunks())["id"].tolist() == next(named.chunks())["id"].tolist() == [5, 6, 5]
