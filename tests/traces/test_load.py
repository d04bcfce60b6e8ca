"""The front door: names, files, the cache, the mirror, and what is said when there is nothing to load."""

from __future__ import annotations

import gzip
import lzma
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim.traces
from tiersim._base.errors import StudyError, TraceError
from tiersim.traces import Writer, load_trace, trace_names
from tiersim.traces.readers import lackey
from tiersim.traces.store import StoredTrace, sha256_of

LINES = b"".join(b"I  00001000,4\n L %08x,8\n" % (i * 64) for i in range(1000))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)
    return tmp_path / "cache"


def put(tmp_path: Path, name: str, raw: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(raw)
    return path


def stored(cache: Path) -> list[str]:
    return [item.name for item in cache.rglob("*") if item.is_file()]


def test_text_is_read_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "t.lackey", LINES)
    trace = load_trace(path)
    assert (trace.name, trace.records, trace.instructions) == ("t.lackey", 1000, 1000)
    assert trace.fingerprint == sha256_of(path)
    assert len(stored(cache)) == 1
    monkeypatch.setattr(lackey, "_records", None)  # a second reading would fail
    again = load_trace(str(path))
    assert next(again.chunks())["address"].tolist() == [i * 64 for i in range(1000)]


def test_another_option_another_reading(tmp_path: Path, cache: Path) -> None:
    path = put(tmp_path, "t.lackey", LINES)
    assert load_trace(path).records == 1000
    trace = load_trace(path, fetches=True)
    assert (trace.records, trace.instructions, trace.has_fetches) == (2000, 1000, True)
    assert len(stored(cache)) == 2


def test_packed_by_content_whatever_the_name(tmp_path: Path) -> None:
    for name, raw in {
        "a.lackey.gz": gzip.compress(LINES),
        "b.lackey.xz": gzip.compress(LINES),
        "c.txt": lzma.compress(LINES),
        "d.gz": LINES,
        "e.parquet": LINES,
    }.items():
        assert load_trace(put(tmp_path, name, raw)).records == 1000


def test_our_own_parquet_whatever_the_name(tmp_path: Path, cache: Path) -> None:
    chunk = next(load_trace(put(tmp_path, "t.lackey", LINES)).chunks())
    with Writer(tmp_path / "own.txt") as out:
        out.append(chunk)
    kept = stored(cache)
    trace = load_trace(tmp_path / "own.txt")
    assert trace.records == 1000
    assert trace.fingerprint == StoredTrace(tmp_path / "own.txt").fingerprint
    assert stored(cache) == kept
    with pytest.raises(StudyError, match="takes no option 'fetches'"):
        load_trace(tmp_path / "own.txt", fetches=True)


def test_damage_in_the_cache_is_mended(tmp_path: Path, cache: Path) -> None:
    path = put(tmp_path, "t.lackey", LINES)
    load_trace(path)
    (kept,) = cache.rglob("*.parquet")
    kept.write_bytes(kept.read_bytes()[:100])
    assert load_trace(path).records == 1000


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    path = put(tmp_path, "t.lackey", LINES * 100)
    seen: list[Any] = []
    load_trace(path, progress=lambda *said: seen.append(said))
    size = path.stat().st_size
    assert seen[-1] == (size, size, "bytes")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert len(seen) > 1


def test_a_trace_can_be_sent_to_another_process(tmp_path: Path) -> None:
    for trace in (load_trace(put(tmp_path, "t.lackey", LINES)), load_trace("generated/zipf", records=1000)):
        copy = pickle.loads(pickle.dumps(trace))
        assert copy.fingerprint == trace.fingerprint
        assert (next(copy.chunks())["address"] == next(trace.chunks())["address"]).all()


FAULTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty: not one byte where record 1 should be"),
    "empty-gz": (gzip.compress(b""), "is empty"),
    "text": (b"Dear Sir or Madam\n", r"is not a trace .* record 1 \(byte 0\) begins with b'Dear Sir"),
    "binary": (bytes(range(256)), r"is not a trace .* record 1 \(byte 0\)"),
    "half-record": (LINES[:-9], r"line 2,000 \(byte 27,986\) is not an access: ' L 00'; the file ends inside"),
    "wrong-line": (LINES + b"what\n", r"line 2,001 \(byte 28,000\) is not an access: 'what'"),
    "cut-gz": (
        gzip.compress(LINES * 50)[:-3000],
        r"the gzip stream breaks off at byte [\d,]+ of what it holds, after record [\d,]+",
    ),
    "cut-xz": (
        lzma.compress(np.random.default_rng(0).bytes(90_000).hex().encode())[:50_000],
        "is not a trace|the xz stream breaks off",
    ),
    "cut-at-once": (gzip.compress(LINES)[:12], r"breaks off at byte 0 of what it holds, after record 0"),
    "fetches-only": (b"I  00001000,4\n" * 5, "holds not one memory access in 70 bytes"),
    "notes-only": (b"==1== Lackey\n", "holds not one memory access"),
    "parquet-head": (b"PAR1 and no more", "is damaged: its end"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(tmp_path: Path, cache: Path, name: str) -> None:
    raw, message = FAULTS[name]
    path = put(tmp_path, f"{name}.trace", raw)
    with pytest.raises(TraceError, match=message) as caught:
        load_trace(path)
    assert path.name in str(caught.value)
    assert caught.value.remedy
    assert not stored(cache)


def test_the_record_of_a_break_is_the_last_whole_one(tmp_path: Path) -> None:
    lines = b"".join(b" L %08x,8\n" % (i * 2654435761 % 2**32) for i in range(20_000))
    path = put(tmp_path, "t.gz", gzip.compress(lines)[:-20_000])
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    words = str(caught.value).replace(",", "").split()
    byte, record = int(words[words.index("byte") + 1]), int(words[words.index("record") + 1])
    assert record == byte // 14 > 1000


def test_a_named_format_shows_where_a_file_departs_from_it(tmp_path: Path) -> None:
    path = put(tmp_path, "t.txt", b"Dear Sir\n")
    with pytest.raises(TraceError, match=r"line 1 \(byte 0\) is not an access: 'Dear Sir'"):
        load_trace(path, format="lackey")
    with pytest.raises(StudyError, match="did you mean 'lackey'"):
        load_trace(path, format="lacky")


def test_unknown_reader_option(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="did you mean 'fetches'"):
        load_trace(put(tmp_path, "t.lackey", LINES), fetchs=True)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("captured/sqlite-qeury", "did you mean 'captured/sqlite-query'?"),
        ("generated/zipfian", "did you mean 'generated/zipf'?"),
        ("nothing like it", "`tiersim list traces`"),
        ("x" * 5000, "`tiersim list traces`"),
    ],
)
def test_a_name_that_is_not_there(name: str, hint: str) -> None:
    with pytest.raises(TraceError) as caught:
        load_trace(name)
    assert hint in str(caught.value)
    assert "`tiersim list traces`" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    put(tmp_path, "my-program.lackey.xz", b"")
    with pytest.raises(TraceError) as caught:
        load_trace(tmp_path / "my-progam.lackey.xz")
    assert f"did you mean '{tmp_path / 'my-program.lackey.xz'}'?" in str(caught.value)
    with pytest.raises(TraceError, match="there is no trace"):
        load_trace(tmp_path / "no" / "where")


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="is a folder"):
        load_trace(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceError, match="is not a regular file"):
        load_trace(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is readable to the superuser")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    path = put(tmp_path, "t.lackey", LINES)
    path.chmod(0)
    with pytest.raises(TraceError, match="cannot be read: Permission denied"):
        load_trace(path)


def test_a_mirror_is_tried_for_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mirror").mkdir()
    put(tmp_path, "mirror/far.lackey", LINES)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraceError, match="there is no trace"):
        load_trace("far.lackey")
    monkeypatch.setenv("TIERSIM_TRACE_MIRROR", str(tmp_path / "mirror"))
    assert load_trace("far.lackey").records == 1000
    with pytest.raises(TraceError, match="there is no trace"):
        load_trace("elsewhere/far.lackey")


def test_names() -> None:
    names = trace_names()
    assert {"captured/sqlite-query", "captured/sort", "generated/zipf", "generated/pointer-chase"} <= set(names)
    for name in names:
        assert load_trace(name).records > 0


def test_the_front_of_the_package() -> None:
    assert all(hasattr(tiersim.traces, name) for name in tiersim.traces.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tiersim.traces.nothing
