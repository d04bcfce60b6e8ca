"""Twitter's cache traces: by hand, against a plain parser, and what is said of a wrong line."""

from __future__ import annotations

import hashlib
import io
import random
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces.chunks import length
from tiersim.traces.readers import text
from tiersim.traces.readers.twitter import Twitter
from tiersim.traces.schema import DELETE, GET, OBJECT, SET

S = 10**9
READS = ("get", "gets")
OPS = [*READS, "set", "add", "replace", "cas", "append", "prepend", "delete", "incr", "decr"]


def read(raw: bytes, **options: Any) -> dict[str, list[int]]:
    chunks = list(build("reader", {"use": "twitter", **options}).read(io.BytesIO(raw), "t.csv"))
    for chunk in chunks:
        OBJECT.check(chunk, "t")
    return {name: np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]}


def key_of(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")


def plain(raw: bytes, skip_empty: bool) -> dict[str, list[int]]:
    """The records as one would read them without a thought for speed."""
    made: dict[str, list[int]] = {name: [] for name in ("id", "time", "size", "op", "ttl", "tenant")}
    first: int | None = None
    for line in raw.replace(b"\r\n", b"\n").split(b"\n"):
        if not line:
            continue
        time, _, rest = line.partition(b",")
        key, key_size, value_size, client, op, ttl = rest.rsplit(b",", 5)
        first = int(time) if first is None else first
        if skip_empty and op.decode() in READS and int(value_size) == 0:
            continue
        made["id"].append(int(key) if key.isdigit() and str(int(key)) == key.decode() else key_of(key))
        made["time"].append((int(time) - first) * S)
        made["size"].append(int(key_size) + int(value_size))
        made["op"].append(GET if op.decode() in READS else DELETE if op == b"delete" else SET)
        made["ttl"].append(int(ttl) * S)
        made["tenant"].append(int(client))
    return made


BY_HAND = b"""100,nz:u:eeW511W3dcH3de3d15ec,25,190,4,get,0\r
100,"a,b,c,7,0,4,gets,0\r
\r
103,7,1,5,4294967295,set,3600
104,007,3,5,0,delete,0"""


def test_by_hand() -> None:
    first, comma, zeros = key_of(b"nz:u:eeW511W3dcH3de3d15ec"), key_of(b'"a,b,c'), key_of(b"007")
    assert read(BY_HAND) == {
        "id": [first, comma, 7, zeros],
        "time": [0, 0, 3 * S, 4 * S],
        "size": [215, 7, 6, 8],
        "op": [GET, GET, SET, DELETE],
        "ttl": [0, 0, 3600 * S, 0],
        "tenant": [4, 4, 2**32 - 1, 0],
    }
    assert read(BY_HAND, skip_empty=True)["id"] == [first, 7, zeros]


sizes = st.integers(0, 3) | st.integers(0, 2**32 - 1)
lines_of = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1, max_size=20).map(str.encode)
        | st.sampled_from([b"a", b"a,b", b",", b"0", b"00", b"18446744073709551615"]),
        sizes,
        sizes,
        sizes,
        st.sampled_from(OPS),
        st.integers(0, 9) | st.integers(0, 9_223_372_036),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(lines_of, st.sampled_from([60, 1 << 20]), st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_against_a_plain_parser(drawn: list[Any], block: int, skip: bool, end: bytes) -> None:
    time = 0
    lines = []
    for gap, key, *others in drawn:
        time += gap
        lines.append(b"%d,%b,%b" % (time, key, ",".join(map(str, others)).encode()))
    raw = end.join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        assert read(raw, skip_empty=skip) == plain(raw, skip)


GOOD = b"5,a,1,2,3,get,0\n\n"
BAD = [
    b"4,a,1,2,3,get,0",
    b"x,a,1,2,3,get,0",
    b"-6,a,1,2,3,get,0",
    b"5.5,a,1,2,3,get,0",
    b"9223372037,a,1,2,3,get,0",
    b"5,,1,2,3,get,0",
    b"5,a,-1,2,3,get,0",
    b"5,a,4294967296,2,3,get,0",
    b"5,a,1,4294967296,3,get,0",
    b"5,a,1,,3,get,0",
    b"5,a,1,2,4294967296,get,0",
    b"5,a,1,2,3,got,0",
    b"5,a,1,2,3,,0",
    b"5,a,1,2,3,get,",
    b"5,a,1,2,3,get,-1",
    b"5,a,1,2,3,get,9223372037",
    b"5,a,1,2,3,get",
    b"5,a,1,2,3,get,0,0",
    b" 5,a,1,2,3,get,0",
    b"what",
    b" ",
    b"\r",
    b"\xff\x00",
]


@pytest.mark.parametrize("block", [20, 1 << 20])
@pytest.mark.parametrize("bad", BAD)
def test_a_wrong_line(bad: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    raw = GOOD + bad + b"\r\n" + GOOD
    with pytest.raises(TraceError, match=r"^t\.csv: line 3 \(byte 17\) is not a request: ") as caught:
        read(raw)
    assert "expected 'time,key,key size," in caught.value.remedy
    assert not Twitter.recognise(raw, "t.csv")
    assert "format='twitter'" in Twitter.suggest(raw)


def test_a_file_that_ends_inside_a_line() -> None:
    with pytest.raises(TraceError, match=r"line 3 \(byte 17\) is not a request: '5,a,1,2'; the file ends inside this"):
        read(GOOD + b"5,a,1,2")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_changed_bytes(seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(GOOD * 3 + b"6,b,c,10,20,7,set,99\r\n" * 3)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice([bytes([draw.randrange(256)]), b"9", b",", b"-", b"\n", b"\r", b"", b"99999999999"])
        raw[at : at + draw.randrange(3)] = new
    made = outcome(bytes(raw))
    if isinstance(made, TraceError):
        assert re.match(r"t: line \d+ \(byte \d+\) is not a request", made.message)
        assert made.remedy
    else:
        assert made == len(plain(bytes(raw), False)["id"])


def outcome(raw: bytes) -> TraceError | int:
    """The error, or how many records there are."""
    try:
        return sum(length(OBJECT.check(chunk, "t")) for chunk in Twitter().read(io.BytesIO(raw), "t"))
    except TraceError as error:
        return error


def test_recognition() -> None:
    assert Twitter.recognise(BY_HAND, "t")
    assert Twitter.recognise(GOOD + b"5,a,1", "t")  # the last line may go on
    for head in (b"", b"\n\n", b"1,a,2\n", b"time,key,key size,value size,client,op,ttl\n", b"1 3 0 0\n", b"1\n2\n"):
        assert not Twitter.recognise(head, "twitter.csv")
        assert not Twitter.suggest(head)
