"""Public traces, where a folder of them is at hand: their facts are those of the folder's catalogue."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import TraceError
from tiersim._base.registry import index, load
from tiersim.traces import Trace, load_trace, stream_trace
from tiersim.traces.compression import ByteFile
from tiersim.traces.readers.contract import HEAD

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")

# file, options when it must be told, reader, requests, distinct keys
Facts = tuple[str, dict[str, Any], str, int, int]
BITS32: dict[str, Any] = {"format": "key-binary", "bits": 32}
BITS64: dict[str, Any] = {"format": "key-binary", "bits": 64}
OBJECTS: list[Facts] = [
    ("arc_oltp.lis.xz", {}, "arc", 914_145, 186_880),
    ("arc_p3.lis.xz", {}, "arc", 3_912_296, 762_543),
    ("cache2k_orm_busy.bin.xz", {**BITS32, "order": "big"}, "key-binary", 5_000_000, 76_349),
    ("cache2k_web07.bin.xz", {}, "key-binary", 76_118, 20_484),
    ("cloudphysics_io.csv.gz", {}, "object-csv", 113_872, 48_974),
    ("cloudphysics_w106.bin.xz", {}, "key-binary", 5_292_456, 275_171),
    ("corda_vaultservice.bin.xz", {**BITS64, "order": "big"}, "key-binary", 135_702, 90_468),
    ("dlrm_pinned_60k_medium.txt.xz", {}, "lirs", 60_000, 60_000),
    ("dlrm_table500k_reuse_medium.txt.xz", {}, "lirs", 429_951, 102_524),
    ("lirs_2_pools.txt.gz", {}, "lirs", 100_000, 9_939),
    ("lirs_cs.txt.gz", {}, "lirs", 6_781, 1_409),
    ("lirs_gli.txt.gz", {}, "lirs", 6_015, 2_529),
    ("lirs_loop.txt.gz", {}, "lirs", 505_500, 1_011),
    ("lirs_multi1.txt.gz", {}, "lirs", 15_858, 2_606),
    ("lirs_multi2.txt.gz", {}, "lirs", 26_311, 5_684),
    ("lirs_ps.txt.gz", {}, "lirs", 10_448, 3_083),
    ("mooncake_conversation.jsonl.gz", {}, "mooncake", 288_500, 182_790),
]
LACKEY = "csapp_long.lackey.xz"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))


def needs(name: str) -> str:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return name


def test_cachelab_trace() -> None:
    trace = load_trace(needs(LACKEY))
    assert (trace.records, trace.instructions) == (267_988, 0)  # it has no I lines
    assert trace.kinds == {"load": 230_025, "store": 18_987, "modify": 18_976, "fetch": 0}
    first = next(trace.chunks(3))
    assert first["address"].tolist() == [0x602264, 0x602260, 0x60225C]
    assert first["size"].tolist() == [1, 4, 4]
    assert first["kind"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("name", "options", "reader", "requests", "keys"), OBJECTS, ids=[facts[0] for facts in OBJECTS]
)
def test_requests_and_keys(name: str, options: dict[str, Any], reader: str, requests: int, keys: int) -> None:
    trace = stream_trace(needs(name), **options)
    assert (trace.schema, trace.provenance["reader"]) == ("object", reader)
    found = np.concatenate([chunk["id"] for chunk in trace.chunks()])
    assert (trace.records, len(found), len(np.unique(found))) == (requests, requests, keys)


@pytest.mark.parametrize("name", ["cache2k_orm_busy.bin.xz", "corda_vaultservice.bin.xz"])
def test_keys_that_do_not_tell(name: str) -> None:
    with pytest.raises(TraceError, match="is not a trace that tiersim can read") as caught:
        stream_trace(needs(name))
    assert "format='key-binary', bits=32 or 64 and order=" in caught.value.remedy


def loaded(name: str) -> Trace:
    return load_trace(needs(name))


@pytest.mark.parametrize("opened", [stream_trace, loaded])
def test_cloudphysics(opened: Callable[[str], Any]) -> None:
    trace = opened(needs("cloudphysics_io.csv.gz"))
    (chunk,) = trace.chunks()
    assert list(trace.kinds.items())[:2] == [("get", 46_974), ("set", 66_898)]
    assert int(chunk["size"].sum()) == 4_205_978_112
    assert (int(chunk["time"][0]), int(chunk["time"].max())) == (0, 7200 * 10**9)


def test_mooncake() -> None:
    (chunk,) = load_trace(needs("mooncake_conversation.jsonl.gz"), block_bytes="1 MiB").chunks()
    assert set(chunk["size"].tolist()) == {1 << 20}
    assert chunk["id"][:15].tolist() == [*range(14), 0]
    assert int(chunk["time"].max()) == 3_536_999 * 10**6
    assert (np.diff(chunk["time"]) >= 0).all()


def test_no_reader_takes_the_file_of_another() -> None:
    readers = sorted({entry.name for entry in index("reader").values()})
    known = {name: [] if options else [reader] for name, options, reader, _, _ in OBJECTS} | {LACKEY: ["lackey"]}
    files = sorted(MIRROR.glob("*")) if MIRROR.is_dir() else []
    if not files:
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder of traces")
    for path in files:
        with ByteFile(path) as file:
            head = file.read(HEAD)
        found = [name for name in readers if load("reader", name).recognise(head, path.name)]
        assert found == known.get(path.name, []), path.name
