"""A file replayed as it stands: the same records as from the store, and what is known of it when."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import StudyError, TraceError
from tiersim.traces import DirectTrace, Trace, load_trace, stream_trace

LINES = b"".join(b"I  00001000,4\n L %08x,8\n" % (i * 64) for i in range(1000)) + b"I  00001000,4\n"
RAW = b"".join(struct.pack("<IQIq", i // 3, i % 50, i, i + 50 if i < 9950 else -1) for i in range(10_000))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)
    return tmp_path / "cache"


def put(tmp_path: Path, name: str, raw: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(raw)
    return path


def opened(path: Path, **options: Any) -> DirectTrace:
    trace = stream_trace(path, **options)
    assert isinstance(trace, DirectTrace)
    return trace


def whole(trace: Trace | DirectTrace, *part: Any) -> dict[str, list[int]]:
    pieces = list(trace.chunks(*part))
    assert all(len(next(iter(piece.values()))) == part[0] for piece in pieces[:-1])
    return {name: np.concatenate([piece[name] for piece in pieces]).tolist() for name in pieces[0]}


@pytest.mark.parametrize(("name", "raw"), [("t.lackey", LINES), ("t.lackey.gz", gzip.compress(LINES)), ("t.bin", RAW)])
def test_what_the_store_says(tmp_path: Path, cache: Path, name: str, raw: bytes) -> None:
    path = put(tmp_path, name, raw)
    direct = opened(path)
    assert direct.records == (10_000 if name == "t.bin" else None)
    assert (direct.kinds, direct.instructions) == ({}, 0)
    first = whole(direct, 300)
    assert not cache.exists()
    stored = load_trace(path)
    assert whole(stored, 300) == first
    for fact in ("name", "schema", "records", "kinds", "instructions"):
        assert getattr(direct, fact) == getattr(stored, fact), fact
    for part in ((100, 7), (100, 950, 20), (64, 0, 1), (5, 990)):
        assert whole(direct, *part) == whole(stored, *part)
    assert not list(direct.chunks(10, 10**9))


def test_a_part_does_not_tell_of_the_whole(tmp_path: Path) -> None:
    trace = opened(put(tmp_path, "t.lackey", LINES))
    for part in ((10, 0, 5), (10, 1)):
        whole(trace, *part)
        assert (trace.records, trace.kinds) == (None, {})
    assert "not counted" in repr(trace)
    whole(trace, 10)
    assert repr(trace) == "<access trace t.lackey: 1,000 records>"
    assert trace.instructions == 1001


def test_what_has_a_name_or_is_ours_is_what_load_trace_gives(tmp_path: Path) -> None:
    for name in ("captured/sort", "generated/zipf-objects"):
        trace, other = stream_trace(name), load_trace(name)
        assert type(trace) is type(other)
        assert trace.fingerprint == other.fingerprint
    assert stream_trace("generated/zipf-objects", requests=7).records == 7
    with pytest.raises(StudyError, match="takes no option 'fetches'"):
        stream_trace("captured/sort", fetches=True)
    with pytest.raises(TraceError, match="there is no trace"):
        stream_trace("captured/srot")


def test_fingerprints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "t.lackey", LINES)
    base = opened(path).fingerprint
    assert len(base) == 64
    assert opened(path).fingerprint == base
    monkeypatch.chdir(tmp_path)
    assert opened(Path("t.lackey")).fingerprint == base
    assert opened(path, fetches=True).fingerprint != base
    assert opened(path, format="lackey").fingerprint == base
    assert opened(put(tmp_path, "u.lackey", LINES)).fingerprint != base
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert opened(path).fingerprint != base


def test_a_file_that_changes(tmp_path: Path) -> None:
    path = put(tmp_path, "t.lackey", LINES)
    trace = opened(path)
    path.write_bytes(LINES * 2)
    with pytest.raises(TraceError, match=r"t\.lackey has changed since it was opened"):
        next(trace.chunks())


def test_a_file_that_goes(tmp_path: Path) -> None:
    path = put(tmp_path, "t.lackey", LINES)
    trace = opened(path)
    path.unlink()
    with pytest.raises(TraceError, match="cannot be read"):
        next(trace.chunks())


def test_faults_show_where_they_are(tmp_path: Path) -> None:
    trace = opened(put(tmp_path, "t.lackey", LINES + b"what\n"))
    with pytest.raises(TraceError, match=r"t\.lackey: line 2,002 \(byte 28,014\)"):
        list(trace.chunks())
    assert trace.records is None
    cut = opened(put(tmp_path, "t.bin", RAW[:-1]))
    assert cut.records == 9_999
    with pytest.raises(TraceError, match=r"record 10,000 .* breaks off"):
        list(cut.chunks())


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    path = put(tmp_path, "t.bin", RAW * 10)
    seen: list[Any] = []
    path.write_bytes(b"".join(struct.pack("<IQIq", 0, i, 1, -1) for i in range(100_000)))
    list(stream_trace(path, progress=lambda *said: seen.append(said)).chunks())
    assert seen[-1] == (2_400_000, 2_400_000, "bytes")
    assert len(seen) > 1


def test_it_can_be_sent_to_another_process(tmp_path: Path) -> None:
    trace = opened(put(tmp_path, "t.lackey", LINES))
    copy = pickle.loads(pickle.dumps(trace))
    assert copy.fingerprint == trace.fingerprint
    assert whole(copy, 9) == whole(trace, 9)
