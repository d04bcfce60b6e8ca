"""Miss counts equal libCacheSim's, exactly, on real traces of different character and on one that tells policies apart.

Every policy that both have in the same definition is here; where definitions differ, the policy's page says how. The
other simulator reads the same keys from a file in its own format.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracles.object_requests import scans_and_favourites
from tiersim._base.registry import build
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, number_requests, requests_from
from tiersim.traces import stream_trace

peer = pytest.importorskip("libcachesim", reason="the other simulator: pip install libcachesim")

SAME: dict[str, tuple[Any, str]] = {
    "lru": ("lru", "LRU"),
    "fifo": ("fifo", "FIFO"),
    "clock": ("clock", "Clock"),
    "clock of 2 bits": ({"use": "clock", "bits": 2}, "Clock"),
    "sieve": ("sieve", "Sieve"),
    "s3-fifo": ("s3-fifo", "S3FIFO"),
    "arc": ("arc", "ARC"),
    "lfu": ("lfu", "LFU"),
    "slru": ("slru", "SLRU"),
    "2q": ("2q", "TwoQ"),
    "mq": ("mq", "MQ"),
    "lru-k": ({"use": "lru-k", "retained": 0}, "LRUK"),
    "gdsf": ("gdsf", "GDSF"),
    "belady": ("belady", "Belady"),
}
THEIRS: dict[str, dict[str, Any]] = {"clock of 2 bits": {"n_bit_counter": 2}}
# there a queue of one object takes none (its share of the cache must be larger than the object)
SMALLEST = {"s3-fifo": 20, "2q": 20, "slru": 8}
MULTIPLE = {"slru": 4}  # of the number of lists, so that all shares are whole
REAL = {
    "cloudphysics_io.csv.gz": {},
    "cloudphysics_w106.bin.xz": {"format": "key-binary", "bits": 32, "order": "little"},
    "arc_oltp.lis.xz": {},
    "lirs_multi1.txt.gz": {},
    "lirs_2_pools.txt.gz": {},
    "cache2k_web07.bin.xz": {"format": "key-binary", "bits": 32, "order": "big"},
    "mooncake_conversation.jsonl.gz": {},
}
SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5)
RECORD = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
MOST = 1_000_000  # requests of one trace: the other side keeps up


@cache
def requests_of(name: str) -> Requests:
    if name == "scans and favourites":
        return requests_from(scans_and_favourites(60_000, 11, objects=2000))
    trace = stream_trace(mirrored(name), **REAL[name])
    return number_requests(trace.chunks(limit=MOST)).without_sizes()


def mirrored(name: str) -> Path:
    path = Path(os.environ.get("TIERSIM_TRACE_MIRROR", "")) / name
    if not path.is_file():
        pytest.skip(f"needs {name} in the folder that TIERSIM_TRACE_MIRROR names")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oracle-general")


def their_file(name: str, folder: Path) -> Path:
    path = folder / f"{name}.oracleGeneral.bin"
    if not path.exists():
        requests = requests_of(name)
        rows = np.zeros(len(requests), RECORD)
        rows["id"] = requests.ids
        rows["size"] = 1
        rows["next"] = np.where(requests.next_use < len(requests), requests.next_use, -1)
        rows.tofile(path)
    return path


@pytest.mark.parametrize("trace", ["scans and favourites", *REAL])
@pytest.mark.parametrize("name", SAME)
def test_misses_equal(name: str, trace: str, folder: Path) -> None:
    requests = requests_of(trace)
    ours, theirs = SAME[name]
    found, expected = {}, {}
    for share in SHARES:
        capacity = max(2, int(share * requests.objects), SMALLEST.get(name, 0))
        capacity -= capacity % MULTIPLE.get(name, 1)
        reader = peer.TraceReader(
            str(their_file(trace, folder)), peer.TraceType.ORACLE_GENERAL_TRACE, peer.ReaderInitParam()
        )
        cache_ = getattr(peer, theirs)(cache_size=capacity, hashpower=16, **THEIRS.get(name, {}))
        ratio, _ = cache_.process_trace(reader)
        expected[capacity] = round(ratio * len(requests))
        found[capacity] = replay_objects(build("object-replacement", ours), capacity, requests).totals.misses
    assert found == expected


SIZED = ("lru", "fifo", "clock", "sieve", "s3-fifo", "arc", "lfu", "2q", "gdsf", "belady")


@pytest.mark.parametrize("name", SIZED)
def test_bytes_missed_equal_where_sizes_differ(name: str, folder: Path) -> None:
    """A disk trace, whose blocks are even asked for in different sizes: an object has the size of its entry."""
    requests = requests_with_sizes("cloudphysics_io.csv.gz")
    path = folder / "sized.oracleGeneral.bin"
    if not path.exists():
        rows = np.zeros(len(requests), RECORD)
        rows["id"], rows["size"] = requests.ids, requests.size
        rows["next"] = np.where(requests.next_use < len(requests), requests.next_use, -1)
        rows.tofile(path)
    for share in (0.001, 0.01, 0.1, 0.3):
        capacity = int(share * requests.footprint)
        reader = peer.TraceReader(str(path), peer.TraceType.ORACLE_GENERAL_TRACE, peer.ReaderInitParam())
        ratio, of_bytes = getattr(peer, SAME[name][1])(cache_size=capacity, hashpower=16).process_trace(reader)
        found = replay_objects(build("object-replacement", name), capacity, requests).totals
        assert found.misses == round(ratio * found.requests)
        assert found.byte_misses == round(of_bytes * found.bytes)


@cache
def requests_with_sizes(name: str) -> Requests:
    trace = stream_trace(mirrored(name))
    made = number_requests(trace.chunks(), times=False)
    return replace(made, op=None)  # there a write is a read
