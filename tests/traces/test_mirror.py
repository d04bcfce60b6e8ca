"""Public traces, where a folder of them is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiersim.traces import load_trace

MIRROR = os.environ.get("TIERSIM_TRACE_MIRROR", "")
NAME = "csapp_long.lackey.xz"

pytestmark = pytest.mark.skipif(
    not (MIRROR and (Path(MIRROR) / NAME).exists()), reason="TIERSIM_TRACE_MIRROR names no folder with this trace"
)


def test_cachelab_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))
    trace = load_trace(NAME)
    assert (trace.records, trace.instructions) == (267_988, 0)  # it has no I lines
    assert trace.kinds == {"load": 230_025, "store": 18_987, "modify": 18_976, "fetch": 0}
    first = next(trace.chunks(3))
    assert first["address"].tolist() == [0x602264, 0x602260, 0x60225C]
    assert first["size"].tolist() == [1, 4, 4]
    assert first["kind"].tolist() == [1, 0, 0]
