"""Counts of a part of a trace, which are kept."""

from pathlib import Path

import pytest

from tiersim.sim.events import Counts, counts_of, prefix
from tiersim.traces import load_trace
from tiersim.traces.generated import GeneratedTrace


def test_where_a_warm_up_ends_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))
    trace = load_trace("generated/zipf", records=3000, write_share=0.2, seed=5)
    (chunk,) = trace.chunks(5000, 100, 700)
    expected = counts_of(chunk, 6, False)
    assert prefix(trace, 700, 6, False, 100) == expected
    with monkeypatch.context() as patch:
        patch.setattr(GeneratedTrace, "chunks", lambda *_: pytest.fail("the trace was read again"))
        assert prefix(trace, 700, 6, False, 100) == expected
        assert prefix(trace, 0, 6, False, 100) == Counts()
    assert prefix(trace, 701, 6, False, 100) != expected
    assert prefix(trace, 700, 6, False, 1500).stores != expected.stores
    for file in tmp_path.rglob("*.json"):
        file.write_text("{")  # damaged: counted again
    assert prefix(trace, 700, 6, False, 100) == expected
