"""Public traces of routed experts, where a folder of them is at hand: their facts, and each file read another way."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim.traces import stream_trace
from tiersim.traces.keys import key_of
from tiersim.traces.ragged import joined

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")

# file, routed tokens, share of the three experts that are chosen most
VLLM = [
    ("moe_qwen15_layer00.jsonl.gz", 4_357, 0.0655),
    ("moe_qwen15_layer08.jsonl.gz", 4_357, 0.0745),
    ("moe_qwen15_layer12.jsonl.gz", 4_357, 0.0671),
    ("moe_qwen15_layer18.jsonl.gz", 4_357, 0.0646),
    ("moe_qwen15_layer23.jsonl.gz", 4_357, 0.0765),
    ("moe_qwen15_int4_layer00.jsonl.gz", 4_384, 0.0667),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))


def needs(name: str) -> Path:
    path = MIRROR / name
    if not path.exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return path


def columns(name: str, reader: str, **options: Any) -> dict[str, Any]:
    trace = stream_trace(needs(name), **options)
    assert (trace.schema, trace.provenance["reader"]) == ("routing", reader)
    chunks = list(trace.chunks())
    return {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}


@pytest.mark.parametrize(("name", "records", "share"), VLLM, ids=[facts[0] for facts in VLLM])
def test_vllm(name: str, records: int, share: float) -> None:
    found = columns(name, "moe-vllm")
    assert len(found["token"]) == records
    assert not found["phase"].any()  # warm-up was cut out of these files
    chosen = np.bincount(found["experts"].values)
    assert np.count_nonzero(chosen) == 60
    assert round(float(np.sort(chosen)[-3:].sum() / chosen.sum()), 4) == share
    passes = np.bincount(found["step"])
    assert len(passes) == 129
    assert passes[:8].tolist() == [65, 1406, 25, 25, 25, 25, 25, 25]
    routes = [json.loads(text) for text in gzip.decompress((MIRROR / name).read_bytes()).splitlines()[1:]]
    assert [route["token_idx"] for route in routes] == found["token"].tolist()
    assert [route["layer"] for route in routes] == found["layer"].tolist()
    assert [route["topk_ids"] for route in routes] == [each.tolist() for each in found["experts"]]
    wanted = np.array([route["topk_weights"] for route in routes], np.float32)
    assert np.array_equal(found["weights"].values.reshape(wanted.shape), wanted)


def test_the_five_layers_of_one_run_have_the_same_tokens() -> None:
    first, *others = (columns(facts[0], "moe-vllm") for facts in VLLM[:5])
    for other in others:
        assert np.array_equal(first["token"], other["token"])
        assert np.array_equal(first["step"], other["step"])
        assert first["layer"][0] != other["layer"][0]


def test_predictions() -> None:
    name = "moe_deepseek_v2_lite_predictions.jsonl.gz"
    found = columns(name, "moe-predictions")
    rows = [json.loads(text) for text in gzip.decompress((MIRROR / name).read_bytes()).splitlines()]
    assert len(rows) == len(found["token"]) == 40_118
    for field, column in (("prompt", "sequence"), ("layer", "layer"), ("token", "token")):
        assert [row[field] for row in rows] == found[column].tolist()
    for field in ("experts", "predicted"):
        assert [row[field] for row in rows] == [each.tolist() for each in found[field]]
    assert sorted(set(found["layer"].tolist())) == list(range(1, 27))
    assert set(found["experts"].counts.tolist()) == {6}


def test_all_layers() -> None:
    name = "moe_deepseek_v2_lite.npz"
    found = columns(name, "moe-npz", format="moe-npz", first_layer=1)
    with np.load(MIRROR / name) as held:
        experts, offsets, prompts = (held[each] for each in ("experts", "offsets", "prompts"))
    assert experts.shape == (36_419, 26, 6)
    assert np.array_equal(found["experts"].values.reshape(experts.shape), experts)
    assert len(np.unique(found["experts"].values)) == 64
    assert np.array_equal(found["layer"].reshape(36_419, 26), np.broadcast_to(np.arange(1, 27), (36_419, 26)))
    token, sequence = (found[each].reshape(36_419, 26)[:, 0] for each in ("token", "sequence"))
    counts = np.diff(offsets)
    assert len(prompts) == len(np.unique(sequence)) == 373
    assert token.tolist() == [place for count in counts for place in range(count)]
    assert sequence.tolist() == [key for prompt, count in zip(prompts, counts) for key in [key_of(str(prompt))] * count]
