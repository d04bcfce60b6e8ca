"""What a reader gives is what is stored: through the cache folder, through `convert`, and back where a form is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.traces.test_recognition import OPTIONS, SAMPLES, put_beside
from tiersim._base.registry import load
from tiersim.experiments.trace_tools import convert
from tiersim.traces import load_trace, stream_trace
from tiersim.traces.direct import DirectTrace
from tiersim.traces.fetch import public
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.readers.contract import schema_of
from tiersim.traces.trace import Trace

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
LARGEST = 1 << 20  # bytes as packed: what is larger takes long, and has the form of something smaller
FILES = sorted(item.packed for item in public().values() if "lengths" not in item.packed)  # which go with others
TABLES = [name for name in sorted(SAMPLES) if schema_of(load("reader", name)).name in ("object", "edge")]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def whole(trace: Trace | DirectTrace) -> dict[str, Any]:
    chunks = list(trace.chunks())
    return {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Ragged):
        return np.array_equal(one.counts, other.counts) and _alike(one.values, other.values)
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    """The sample of a reader and its options."""

    def make(reader: str) -> tuple[Path, dict[str, Any]]:
        path = tmp_path / "sample"
        path.write_bytes(SAMPLES[reader])
        put_beside(tmp_path)
        return path, {"format": reader, **OPTIONS.get(reader, {})}

    return make


@pytest.mark.parametrize("reader", sorted(SAMPLES))
def test_reader_and_parquet(reader: str, opened: Any) -> None:
    path, options = opened(reader)
    streamed = stream_trace(path, **options)
    read = whole(streamed)
    stored = load_trace(path, **options)
    assert same(read, whole(stored))
    made = convert(path, Path("out.parquet"), **options)
    again = load_trace("out.parquet")
    assert same(read, whole(again))
    assert (again.records, again.kinds, again.instructions, again.schema) == (
        stored.records,
        streamed.kinds,
        streamed.instructions,
        streamed.schema,
    )
    assert (made.records, made.notes) == (streamed.records, [])


@pytest.mark.parametrize("reader", TABLES)
def test_reader_and_table(reader: str, opened: Any) -> None:
    """What can be read from CSV comes back from there as it was."""
    path, options = opened(reader)
    read = whole(stream_trace(path, **options))
    made = convert(path, Path("out.csv"), **options)
    assert made.notes == []
    again = whole(stream_trace("out.csv"))
    if set(read) == {"id"}:
        assert (again.pop("size") == 1).all()  # keys alone make no table, and so have the size that they mean
    assert same(read, again)


# those that are large have the form of another
@pytest.mark.parametrize(
    "name", [name for name in FILES if not (MIRROR / name).exists() or (MIRROR / name).stat().st_size <= LARGEST]
)
def test_public_traces(name: str) -> None:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    (item,) = [held for held in public().values() if held.packed == name]
    options = {"format": item.format, **item.options}
    if name.startswith("servegen"):
        options |= {"lengths": name.replace("clients.csv.gz", "lengths.jsonl.xz"), "rate_scale": 0.001}
        options["without_lengths"] = "skip"
    streamed = stream_trace(name, **options)
    stored = load_trace(name, **options)
    assert digest(streamed) == digest(stored)
    assert (streamed.records, streamed.kinds, streamed.instructions) == (
        stored.records,
        stored.kinds,
        stored.instructions,
    )


def digest(trace: Trace | DirectTrace) -> dict[str, str]:
    """The sha256 of the values of each column, and of the lengths of lists."""
    made: dict[str, Any] = {}
    for chunk in trace.chunks():
        for name, held in chunk.items():
            ragged = isinstance(held, Ragged)
            parts = {name: held.values, f"{name}, lengths": held.counts} if ragged else {name: held}
            for part, values in parts.items():
                made.setdefault(part, hashlib.sha256()).update(np.ascontiguousarray(values).data)
    return {name: held.hexdigest() for name, held in made.items()}
