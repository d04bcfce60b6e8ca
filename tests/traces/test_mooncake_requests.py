"""Mooncake's requests: by hand, both clocks, and what is said of a wrong line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces.ragged import joined
from tiersim.traces.readers import mooncake_requests, requests
from tiersim.traces.schema import REQUEST


def line(timestamp: Any, ids: Any = (), size: Any = 1000, made: Any = 5) -> bytes:
    held = {"timestamp": timestamp, "input_length": size, "output_length": made, "hash_ids": ids}
    return json.dumps(held).encode() + b"\n"


def read(raw: bytes, **options: Any) -> dict[str, Any]:
    chunks = list(build("reader", {"use": "mooncake-requests", **options}).read(io.BytesIO(raw), "t.jsonl"))
    for chunk in chunks:
        REQUEST.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: [each.tolist() for each in held] for name, held in columns.items()}


def test_by_hand() -> None:
    raw = line(27000, [0, 1, 2]) + line(27000, []) + b"\n" + line(30500.5, [0, 2**64 - 1], 7, 0)
    assert read(raw) == {
        "input": [1000, 1000, 7],
        "output": [5, 5, 0],
        "arrival": [0, 0, 3_500_500_000],
        "blocks": [[0, 1, 2], [], [0, 2**64 - 1]],
    }


def test_spread() -> None:
    raw = b"".join(line(stamp) for stamp in (5, 5, 5, 9, 12, 12))
    assert read(raw, clock="dequantised")["arrival"] == [0, 1_333_333, 2_666_666, 4_000_000, 7_000_000, 7_000_000]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 9))
def test_spreading_keeps_order_and_ticks(steps: list[int], records: int) -> None:
    stamps = [sum(steps[: end + 1]) for end in range(len(steps))]
    raw = b"".join(line(stamp, size=place) for place, stamp in enumerate(stamps))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "RECORDS", records)
        found = read(raw, clock="dequantised")
        recorded = read(raw)
    assert found["input"] == list(range(len(stamps)))
    assert found["arrival"] == sorted(found["arrival"])
    assert recorded["arrival"] == [(stamp - stamps[0]) * 10**6 for stamp in stamps]
    for tick in set(recorded["arrival"]):
        group = [new for new, old in zip(found["arrival"], recorded["arrival"], strict=True) if old == tick]
        end = min((other for other in recorded["arrival"] if other > tick), default=tick)
        assert group == [tick + (end - tick) * place // len(group) for place in range(len(group))]


BAD = [
    b"{",
    b"[1]",
    b"[" * 100_000,
    b'{"timestamp": 1}',
    b'{"timestamp": %s}' % (b"9" * 5000),
    line("1", [1]).rstrip(),
    line(True, [1]).rstrip(),
    line(float("nan"), [1]).rstrip(),
    line(1e300, [1]).rstrip(),
    line(-1, [1]).rstrip(),
    line(1, None).rstrip(),
    line(1, [-1]).rstrip(),
    line(1, [2**64]).rstrip(),
    line(1, [1.5]).rstrip(),
    line(1, [True]).rstrip(),
    line(1, [1], size=2**32).rstrip(),
    line(1, [1], size=-1).rstrip(),
    line(1, [1], made=1.5).rstrip(),
    line(1, [1], made=None).rstrip(),
    b"\xff\xfe",
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("clock", ["recorded", "dequantised"])
def test_a_wrong_line(bad: bytes, clock: str) -> None:
    good = line(0, [1, 2]) * 3
    with pytest.raises(TraceError) as caught:
        read(good + bad + b"\n" + good, clock=clock)
    assert caught.value.message.startswith(f"t.jsonl: line 4 (byte {len(good)}) is not a request to a model: ")
    assert '"hash_ids": [numbers]' in caught.value.remedy


def test_times_that_fall_back() -> None:
    raw = line(0) + line(9) + line(3)
    assert read(raw)["arrival"] == [0, 9_000_000, 3_000_000]
    with pytest.raises(TraceError, match=r"line 3 \(byte \d+\) is not later than the line before"):
        read(raw, clock="dequantised")
    with pytest.raises(TraceError, match=r"line 2 "):
        read(line(9) + line(3))


def test_a_crowd_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mooncake_requests, "AT_ONCE", 4)
    assert len(read(line(1) * 4, clock="dequantised")["arrival"]) == 4
    with pytest.raises(TraceError, match=r"line 5 .* more than 4 requests have the same timestamp"):
        read(line(1) * 5, clock="dequantised")


def test_a_file_that_ends_inside_a_line() -> None:
    good = line(0, [1, 2])
    with pytest.raises(TraceError, match=rf"line 2 \(byte {len(good)}\) .*; the file ends inside this line"):
        read(good + good[:30])


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LONGEST", 1000)
    with pytest.raises(TraceError, match=r"line 2 \(byte \d+\) has more than 2,000 bytes"):
        read(line(0) + b" " * 5000)


def test_chunks_are_cut_by_their_numbers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "NUMBERS", 10)
    reader = build("reader", {"use": "mooncake-requests"})
    sizes = [len(chunk["input"]) for chunk in reader.read(io.BytesIO(line(0, [1, 2, 3, 4]) * 7), "t")]
    assert sizes == [3, 3, 1]
