"""Tables of requests: by hand, against a plain parser, and what is said of a wrong field."""

from __future__ import annotations

import csv
import hashlib
import io
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.registry import build
from tiersim.traces.readers import text
from tiersim.traces.readers.object_csv import ObjectCsv
from tiersim.traces.schema import DELETE, GET, OBJECT, PIN, SET, UNPIN


def read(raw: bytes, **options: Any) -> dict[str, list[Any]]:
    chunks = list(build("reader", {"use": "object-csv", **options}).read(io.BytesIO(raw), "t.csv"))
    for chunk in chunks:
        OBJECT.check(chunk, "t")
    return {name: np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]}


def key_of(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")


SCSI = b"""version,time,op,size,lbn
1,5633898,2a,512,42932745
1,5633898,28,4096,42932746
1,5633899,8A,0,18446744073709551615
"""


def test_scsi_by_hand() -> None:
    assert read(SCSI) == {
        "id": [42932745, 42932746, 2**64 - 1],
        "time": [0, 0, 10**9],
        "size": [512, 4096, 0],
        "op": [SET, GET, SET],
    }


def test_every_column_by_hand() -> None:
    raw = (
        b"Timestamp,Obj-ID,obj_size,Operation,TTL,tenant_id,cost,extra\r\n"
        b'10.5,user:1,5, get ,60,7,1.5,"a, b"\r\n'
        b'11,"a ""key"", quoted",6,DELETE,0,0,2e3,\r\n'
        b"\r\n"
        b"1.25e1,007,7,pin,0.5,4294967295,0.001,x\r\n"
        b"12.0000000015,7,8,unpin,3,1,3,x\r\n"
    )
    assert read(raw) == {
        "id": [key_of(b"user:1"), key_of(b'a "key", quoted'), key_of(b"007"), 7],
        "time": [0, 5 * 10**8, 2 * 10**9, 1_500_000_002],
        "size": [5, 6, 7, 8],
        "op": [GET, DELETE, PIN, UNPIN],
        "ttl": [60 * 10**9, 0, 5 * 10**8, 3 * 10**9],
        "tenant": [7, 0, 2**32 - 1, 1],
        "cost": [1.5, 2000.0, 0.001, 3.0],
    }


def test_the_hash_is_the_one_that_is_documented() -> None:
    assert read(b"id,size\nuser:1,1\n")["id"] == [0x121A0CA4DD7A7BD4]
    assert read(b"id,size\n\xff\xfe,1\n")["id"] == [key_of(b"\xff\xfe")]


def test_columns_by_number() -> None:
    raw = b"9,100,a\n9,200,b\n"
    assert read(raw, id_column=1, size_column=2) == {"id": [9, 9], "size": [100, 200]}
    assert read(raw, id_column=3) == {"id": [key_of(b"a"), key_of(b"b")]}
    assert read(b"x,y\n" + raw.replace(b",a", b"").replace(b",b", b""), id_column=2, header=True)["id"] == [100, 200]
    assert read(b"id,key,size\n1,2,3\n", id_column=2) == {"id": [2], "size": [3]}
    assert read(b"id,size\n1,3\n", id_column=1, header=False)["id"] == [key_of(b"id"), 1]
    assert read(b"5\n\n6\n", id_column=1)["id"] == [5, 6]
    assert read(b"3|5\n4|6\n", id_column=2, time_column=1, delimiter="bar") == {"id": [5, 6], "time": [0, 10**9]}
    assert read(b"3\t5\n", id_column=2, tenant_column=1, delimiter="tab") == {"id": [5], "tenant": [3]}


@pytest.mark.parametrize(("unit", "ns"), [("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)])
def test_units_of_time(unit: str, ns: int) -> None:
    found = read(b"time,id,ttl\n100,1,7\n103,1,0\n", time_unit=unit)
    assert (found["time"], found["ttl"]) == ([0, 3 * ns], [7 * ns, 0])


fields = st.tuples(
    st.integers(0, 2**64 - 1).map(str)
    | st.integers(0, 9).map(str)
    | st.text(st.characters(codec="ascii", exclude_characters="\r\n"), min_size=1, max_size=9).filter(
        lambda word: word.strip(" \t")
    ),
    st.integers(0, 10**6).map(str) | st.decimals(0, 10**6, places=9).map(str),
    st.integers(0, 2**63 - 1) | st.integers(0, 99),
    st.sampled_from(["get", "SET", "2a", "read", "w"]),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(fields, min_size=1, max_size=40), st.sampled_from([50, 1 << 20]), st.booleans())
def test_against_a_plain_parser(rows: list[tuple[str, str, int, str]], block: int, newline: bool) -> None:
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(["id", "time", "size", "op"])
    write.writerows([("1", "0", 1, "get"), *rows])
    raw = out.getvalue().encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        found = read(raw if newline else raw[:-1])
    words = ["1", *(row[0].strip(" \t") for row in rows)]
    for key, word in zip(found["id"], words, strict=True):
        plain = word.isdigit() and str(int(word)) == word and int(word) < 2**64
        assert key == (int(word) if plain else key_of(word.encode()))
    assert found["time"] == [0, *(round(Decimal(row[1]) * 10**9) for row in rows)]
    assert found["size"] == [1, *(row[2] for row in rows)]
    assert found["op"] == [GET, *({"get": GET, "read": GET}.get(row[3], SET) for row in rows)]


HEAD = b"time,id,size,op,ttl,tenant,cost\n"
GOOD = b"5,a,1,get,1,1,1\n\n"
BAD = [
    (b"x,a,1,get,1,1,1", 1, "'x'", "a time"),
    (b"-6,a,1,get,1,1,1", 1, "'-6'", "a time"),
    (b"4,a,1,get,1,1,1", 1, "'4'", "no earlier than the first"),
    (b"99999999999,a,1,get,1,1,1", 1, "'99999999999'", "less than 2**63 ns"),
    (b"1e99,a,1,get,1,1,1", 1, "'1e99'", "a time"),
    (b"inf,a,1,get,1,1,1", 1, "'inf'", "a time"),
    (b"nan,a,1,get,1,1,1", 1, "'nan'", "a time"),
    (b"5_0,a,1,get,1,1,1", 1, "'5_0'", "a time"),
    (b"\xff,a,1,get,1,1,1", 1, repr("\\xff"), "a time"),
    (b",a,1,get,1,1,1", 1, "''", "a time"),
    (b"5,,1,get,1,1,1", 2, "''", "a key"),
    (b"5,a,-1,get,1,1,1", 3, "'-1'", "bytes under 2**63"),
    (b"5,a,1.5,get,1,1,1", 3, "'1.5'", "whole number"),
    (b"5,a,9223372036854775808,get,1,1,1", 3, "'9223372036854775808'", "under 2**63"),
    (b"5,a,,get,1,1,1", 3, "''", "bytes"),
    (b"5,a,1,got,1,1,1", 4, "'got'", "a get, set, delete"),
    (b"5,a,1,,1,1,1", 4, "''", "a get"),
    (b"5,a,1,get,-1,1,1", 5, "'-1'", "at least 0"),
    (b"5,a,1,get,1,4294967296,1", 6, "'4294967296'", "under 2**32"),
    (b"5,a,1,get,1,1,0", 7, "'0'", "above 0"),
    (b"5,a,1,get,1,1,nan", 7, "'nan'", "finite"),
    (b"5,a,1,get,1,1,inf", 7, "'inf'", "finite"),
    (b"5,a,1,get,1,1,dear", 7, "'dear'", "number"),
    (b"5,a,1,get,1,1,1_0", 7, "'1_0'", "number"),
]


@pytest.mark.parametrize("block", [40, 1 << 20])
@pytest.mark.parametrize(("bad", "column", "shown", "expected"), BAD)
def test_a_wrong_field(
    bad: bytes, column: int, shown: str, expected: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    before = HEAD + GOOD
    with pytest.raises(TraceError) as caught:
        read(before + bad + b"\n" + GOOD)
    assert caught.value.message.startswith(f"t.csv: line 4, column {column} (byte {len(before)}): {shown} is not ")
    assert expected in caught.value.message
    assert "_column=" in caught.value.remedy


@pytest.mark.parametrize("block", [40, 1 << 20])
@pytest.mark.parametrize("bad", [b"5,a,1,get,1,1", b"5,a,1,get,1,1,1,1", b"what", b'5,"a,1,get,1,1,1'])
def test_a_line_of_another_width(bad: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    before = HEAD + GOOD
    with pytest.raises(TraceError, match=rf"t\.csv: line 4 \(byte {len(before)}\) has \d columns, and line 1 has 7"):
        read(before + bad + b"\n" + GOOD)


@pytest.mark.parametrize("bad", [b"5,a\r1", b"5,a\r5,b", b'5,"a\rb"', b"\r\r"])
def test_a_carriage_return_inside_a_line(bad: bytes) -> None:
    with pytest.raises(TraceError, match=r"t\.csv: line 3 \(byte 12\) has a carriage return inside"):
        read(b"id,size\n5,1\n" + bad + b"\n6,1\n")
    assert read(b"id,size\r\n5,1\r\n\r\n6,1\r\n")["id"] == [5, 6]


def test_a_file_that_ends_inside_a_line() -> None:
    with pytest.raises(TraceError, match=r"line 5 \(byte \d+\) has 3 columns.*; the file ends inside this line"):
        read(HEAD + GOOD * 1 + GOOD[:-1] + b"5,a,1")
    with pytest.raises(
        TraceError, match=r"line 2, column 2 .* is not a whole number.*; the file ends inside this line"
    ):
        read(b"id,size\n5,")


@pytest.mark.parametrize(
    ("raw", "options", "message"),
    [
        (b"1,2\n", {}, r"line 1 \(byte 0\) names no column as the key: '1,2'"),
        (b"id_1,id_2\n", {}, "names no column as the key"),
        (b"id,key\n", {}, "line 1 names columns 1 and 2 as the id"),
        (b"1,2\n", {"id_column": 3}, "line 1 has 2 columns, and id_column is 3"),
        (b"\x00\x01\r\r\x02", {}, "names no column as the key"),
    ],
)
def test_columns_that_are_not_there(raw: bytes, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        read(raw, **options)
    assert caught.value.remedy


@pytest.mark.parametrize("options", [{"id_column": 0}, {"delimiter": ";"}, {"time_unit": "min"}, {"column": 1}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(StudyError):
        read(b"id\n1\n", **options)


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (SCSI, True),
        (b"id,size\n", True),
        (b"Time,Key\r\n1,2\r\n", True),
        (b"id\n1\n", False),
        (b"id_1,id_2\n0,1\n", False),
        (b"id,key,size\n", False),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n", False),
        (b"1,2,3\n", False),
        (b"", False),
        (b"\x00\r\r\x00", False),
        (b" L 00602260,4\n", False),
        (b'"id,size', False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert ObjectCsv.recognise(head, "t.csv") is right
    assert bool(ObjectCsv.suggest(b"1,2\n3,4\n5"))
    assert not any(map(ObjectCsv.suggest, (b"", b"1\n2\n", b"1,2\n3\n", b'{"a": 1, "b": 2}\n{"a": 1, "b": 2}\n')))
