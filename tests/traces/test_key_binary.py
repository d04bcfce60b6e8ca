"""Bare keys: every width and order, found out only where the keys leave no doubt."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.registry import build
from tiersim.traces import load_trace, stream_trace
from tiersim.traces.readers import key_binary
from tiersim.traces.readers.key_binary import KeyBinary

FORMS = [(32, "little", "<u4"), (32, "big", ">u4"), (64, "little", "<u8"), (64, "big", ">u8")]


def read(raw: bytes, **options: Any) -> list[int]:
    chunks = list(build("reader", {"use": "key-binary", **options}).read(io.BytesIO(raw), "t.bin"))
    assert all(list(chunk) == ["id"] and chunk["id"].dtype == np.uint64 for chunk in chunks)
    return [key for chunk in chunks for key in chunk["id"].tolist()]


def popular(count: int = 20_000, seed: int = 0) -> NDArray[np.uint64]:
    """Small numbers that come again."""
    return np.random.default_rng(seed).zipf(1.2, count).astype(np.uint64) % np.uint64(100_000)


@pytest.mark.parametrize(("bits", "order", "form"), FORMS)
def test_by_hand(bits: int, order: str, form: str) -> None:
    keys = [0, 1, 2**bits - 1, 0x01020304, 7]
    raw = b"".join(key.to_bytes(bits // 8, order) for key in keys)
    assert raw == np.array(keys, form).tobytes()
    assert read(raw, bits=bits, order=order) == keys


@pytest.mark.parametrize(("bits", "order", "form"), FORMS)
def test_found_out(bits: int, order: str, form: str, tmp_path: Path) -> None:
    keys = popular()
    raw = keys.astype(form).tobytes()
    assert KeyBinary.recognise(raw[: 1 << 16], "x")
    assert read(raw) == read(raw, bits=bits) == read(raw, order=order) == keys.tolist()
    (tmp_path / "t").write_bytes(raw)
    trace = stream_trace(tmp_path / "t")
    assert trace.records == 20_000
    assert next(trace.chunks())["id"].tolist() == keys.tolist()


def hashed(count: int = 20_000) -> NDArray[np.uint64]:
    return popular(count) * np.uint64(0x9E3779B97F4A7C15)


DOUBTFUL: dict[str, bytes] = {
    "empty": b"",
    "few": popular(900).astype("<u4").tobytes(),
    "hashes": hashed().astype(">u8").tobytes(),
    "short hashes": (hashed() >> np.uint64(32)).astype(">u4").tobytes(),
    "a scan": np.arange(20_000, dtype="<u4").tobytes(),
    "one key": bytes(80_000),
    "small at both ends": (popular() % np.uint64(200) * np.uint64(256)).astype("<u4").tobytes(),
    "noise": random.Random(1).randbytes(1 << 16),
    "time and key": np.stack([np.arange(9000) // 5, popular(9000).astype(np.int64)], axis=1).astype("<u4").tobytes(),
    "key and size": np.stack([popular(9000), popular(9000, 1) * np.uint64(512) + np.uint64(10**6)], axis=1)
    .astype("<u4")
    .tobytes(),
    "requests of small numbers": b"".join(struct.pack("<IQIq", i // 3, i % 50, i, i + 50) for i in range(2700)),
    "text": b"12345678\n" * 5000,
    "text of the world": "wörter über wörter\n".encode() * 3000,
    "program": Path(sys.executable).read_bytes()[: 1 << 16],
    "python": gzip.compress(Path(__file__).read_bytes()),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_in_doubt(name: str, tmp_path: Path) -> None:
    raw = DOUBTFUL[name]
    assert not KeyBinary.recognise(raw[: 1 << 16], "keys.bin")
    if raw:
        with pytest.raises(TraceError, match=r"t\.bin: the first keys \(byte 0 on: [0-9a-f ]+\) do not tell") as caught:
            read(raw)
        assert "give both: bits=32 or 64, and order='little' or 'big'" in caught.value.remedy


def test_an_unknown_file_is_told_what_would_help(tmp_path: Path) -> None:
    path = tmp_path / "keys.bin"
    path.write_bytes(DOUBTFUL["hashes"])
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    assert "needs format='key-binary', bits=32 or 64 and order='little' or 'big'" in caught.value.remedy
    trace = stream_trace(path, format="key-binary", bits=64, order="big")
    assert np.concatenate([chunk["id"] for chunk in trace.chunks(999)]).tolist() == hashed().tolist()
    with pytest.raises(StudyError, match="bits"):
        stream_trace(path, format="key-binary", bits=16)
    path.write_bytes(b"Dear Sir\n")
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    assert "nothing but keys" not in caught.value.remedy


@pytest.mark.parametrize("block", [16, 1 << 20])
def test_a_key_that_breaks_off(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_binary, "BLOCK", block)
    raw = np.arange(100, dtype=">u8").tobytes()
    with pytest.raises(TraceError) as caught:
        read(raw[:-3], bits=64, order="big")
    assert re.match(r"t\.bin: key 100 \(byte 792\) breaks off after 5 of 8 bytes$", caught.value.message)
    assert caught.value.remedy
