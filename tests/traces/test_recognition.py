"""Which reader a file needs: each knows its own and no other."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import TraceError
from tiersim._base.registry import index, load
from tiersim.traces import load_trace, stream_trace
from tiersim.traces.chunks import length
from tiersim.traces.foreign import Foreign
from tiersim.traces.readers.contract import HEAD, schema_of
from tiersim.traces.schema import ACCESS

READERS = sorted({entry.name for entry in index("reader").values()})
KEYS = np.random.default_rng(0).zipf(1.3, 20_000).astype(np.uint64) % np.uint64(50_000)

SAMPLES: dict[str, bytes] = {
    "champsim": struct.pack("<QBB6B2Q4Q", 0x40_0000, 1, 1, 1, 2, 3, 4, 5, 6, 0, 0x7FFE_0000_1000, 0x6000, 0, 0, 0) * 20,
    "dinero": b"2 4001f0\n0 7fffe8\n1 7ffff0 8\n" * 9,
    "dramsim": b"0x2000D5C0 IFETCH  30\n0x1FF96FC0 WRITE   160\n",
    "dramsys": b"31:\tread\t0x400140\n33:\twrite\t0x400160\n",
    "gap": b"s 0x1fffff50 1\nl 0x1fffff58 0\n" * 9,
    "ramulator": b"9 64\n1 128 192\n" * 9,
    "lackey": b"I  00001000,4\n L 00001000,8\n" * 9,
    "oracle-general": b"".join(struct.pack("<IQIq", i // 3, i % 5, 9, i + 5 if i < 95 else -1) for i in range(100)),
    "object-csv": b"time,id,size\n1,a,3\n2,b,4\n",
    "arc": b"1 3 0 0\n7 1 0 1\n",
    "lirs": b"1\n2\n1\n",
    "key-binary": KEYS.astype(">u4").tobytes(),
    "mooncake": json.dumps({"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": [4]}).encode() + b"\n",
}

SAMPLES["mooncake-requests"] = SAMPLES["mooncake"]
SAMPLES |= {
    "dlrm-locality": b"table.pt\nLocality stats after processing 1 batches of size 8\nAvg # of indices: 4\n"
    b"Avg # of unique cols: 2\nAvg col size: 2.0\nHistogram of col sizes:\n(0, 1]: 0.500\n(1+: 0.500\n[0, 1]\n"
    b"['0.000', '0.500', '1.000']\nRatio of index distribution at different column sizes:\n(0, 1]: 0.250\n(1+: 0.750\n"
    b"[0, 1]\n['0.000', '0.250', '1.000']\n",
    "edge-list": b"# Nodes: 3 Edges: 2\n1\t2\n2\t3\n",
    "mt-bench": b'{"question_id": 81, "category": "math", "turns": ["What is 2 + 2?", "Twice that?"]}\n',
    "question-pairs": b'{"origin": "How far is it?", "similar": "What is the distance?"}\n',
    "splitwise-profile": b"model,hardware,prompt_size,batch_size,token_size,peak_power,average_power,prompt_time,"
    b"token_time,e2e_time,tensor_parallel\nllama2-70b,a100-80gb,512,2,128,1.0,0.75,196.25,54.5,7168.5,4\n",
    "vidur-profile": b",time_stats.send_recv.min,time_stats.send_recv.max,time_stats.send_recv.mean,"
    b"time_stats.send_recv.median,time_stats.send_recv.std,size\n0,0.25,1.0,0.5,0.375,0.125,2048\n",
}
SAMPLES |= {
    "azure-llm": b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n",
    "claude-sessions": b'{"id": "a", "block_size": 64, "hash_id_scope": "local", "requests": [{"t": 0.5, "type": "n", '
    b'"model": "m", "in": 70, "out": 5, "hash_ids": [1]}]}\n',
    "lmcache-prompts": b'{"timestamp": 5, "input": "question", "output": "answer", "session_id": "a"}\n',
    "servegen": b"client,window_start_s,rate,cv,pattern,arg1,arg2\n0,0,0.01,1,Gamma,1,100\n",
    "burstgpt": b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,1,2,3,API log\n",
    "vidur-lengths": b"num_prefill_tokens,num_decode_tokens,num_total_tokens\n7,8,15\n",
}

SAMPLES["libcachesim-txt"] = b"user:1\n7\nuser:1\n"
SAMPLES["msr"] = b"128166372003061629,hm,1,Read,383496192,32768,1331\n128166372016382155,hm,1,Write,0,512,2326\n"
SAMPLES["twitter"] = b"0,nz:u:eeW5,9,190,4,get,0\n1,a,b,3,5,4,set,60\n"
SAMPLES["vscsi"] = b"".join(struct.pack("<IIIHHQQ", i, 512, 1, 0x2A, 0x100, i % 7, i + 9) for i in range(50))
SAMPLES["lcs"] = (
    struct.pack("<Qqqq", 0x123456789ABCDEF0, 1, 1, 100)
    + bytes(8192 - 40)
    + struct.pack("<Q", 0x123456789ABCDEF0)
    + SAMPLES["oracle-general"]
)

# whose files are right in another format too, which must then be named
ALSO = {"lirs": {"libcachesim-txt"}}
SAMPLES |= {
    "moe-vllm": b'{"type": "meta", "layers_logged": [0], "top_k": 2}\n'
    b'{"type": "route", "token_idx": 0, "layer": 0, "topk_ids": [3, 1], "topk_weights": [0.5, 0.25]}\n',
    "moe-csv": b'Layer ID,Batch Number,Token,Activated Expert IDs\n1,0,a,"[3, 1]"\n1,0,b,"[0, 2]"\n',
    "moe-predictions": b'{"prompt": 9, "layer": 1, "token": 0, "experts": [3, 1], "predicted": [3]}\n',
}
ARCHIVE = io.BytesIO()
np.savez(ARCHIVE, experts=np.array([[[3, 1]], [[0, 2]]]), offsets=np.array([0, 2]), prompts=np.array(["a"]))
SAMPLES["moe-npz"] = ARCHIVE.getvalue()
SAMPLES |= {
    "tot-bfs": b'[{"idx": 900, "steps": [{"step": 0, "x": "4 6", "ys": [""], "new_ys": ["4 * 6"], "values": [20], '
    b'"select_new_ys": ["4 * 6"]}]}]',
    "tot-dfs": b'[[{"total_step": 0, "actions": ["h1. tasks"], "count": {"impossible": 0}}]]',
    "lats-log": b"2024-03-21 20:13:37,657 - INFO - DFS at node depth 0...\n"
    b"2024-03-21 20:13:37,677 - INFO - PROMPT: why?\n\nThought 1: \n\n",
}

SAMPLES["serving-journal"] = (
    b'{"tiersim":"serving","version":1,"step":64}\n{"n":1,"at":7,"kind":"chat","model":"m","session":5,"bytes":70,'
    b'"marks":"AAAAAAAAAAEAAAAAAAAAAg=="}\n{"n":1,"input":70,"output":2,"status":"served","end":90,"pieces":[40,80]}\n'
)

# what must be named, and what its files are taken for when it is not
NAMED = {"mooncake-requests": "mooncake"}
OPTIONS: dict[str, dict[str, Any]] = {"servegen": {"lengths": "lengths.jsonl"}}
ACCESSES = {"champsim", "dinero", "dramsim", "dramsys", "gap", "lackey", "ramulator"}


def put_beside(folder: Path) -> None:
    """The file of lengths that goes with the sample of servegen."""
    held = {"client": 0, "windows": {"0": {"input_tokens": "{5: 1.0}", "output_tokens": "{7: 1.0}"}}}
    (folder / "lengths.jsonl").write_text(json.dumps(held))


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What samples need beside them, found where a mirror is looked for."""
    monkeypatch.setenv("TIERSIM_TRACE_MIRROR", str(tmp_path))
    put_beside(tmp_path)


def test_there_is_a_sample_of_each() -> None:
    assert sorted(SAMPLES) == READERS


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("packing", ["plain", "gzip"])
def test_each_knows_its_own_and_no_other(name: str, packing: str, tmp_path: Path) -> None:
    taken = NAMED.get(name, name)
    assert [other for other in READERS if load("reader", other).recognise(SAMPLES[name][:HEAD], "trace")] == [taken]
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(SAMPLES[name]) if packing == "gzip" else SAMPLES[name])
    assert Foreign(path, None, {}).chosen == taken
    found = Foreign(path, name if name in NAMED else None, OPTIONS.get(name, {}))
    assert found.chosen == name
    schema = schema_of(found.reader)
    assert (schema is ACCESS) == (name in ACCESSES)
    for chunk in found.records():
        assert schema.check(chunk, name).keys() == chunk.keys()
        assert all(
            (chunk[column.name].values if column.ragged else chunk[column.name]).dtype == column.dtype
            for column in schema.present(chunk)
        )


def outcome(path: Path, name: str, **options: Any) -> TraceError | int:
    """The error, or how many records there are."""
    schema = schema_of(load("reader", name))
    options = OPTIONS.get(name, {}) | options
    try:
        return sum(length(schema.check(chunk, name)) for chunk in stream_trace(path, format=name, **options).chunks())
    except TraceError as error:
        return error


@pytest.mark.parametrize("name", READERS)
def test_every_other_reader_refuses(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    for of, sample in SAMPLES.items():
        path.write_bytes(sample)
        made = outcome(path, name)
        if SAMPLES[of] == SAMPLES[name] or name in ALSO.get(of, ()):
            assert isinstance(made, int)
        else:
            assert isinstance(made, TraceError)
            assert made.message.startswith("trace")
            assert made.remedy


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("seed", range(6))
def test_garbage_is_one_error(name: str, seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    sample = SAMPLES[name] * 3
    raw = [
        draw.randbytes(5000),
        bytes(5000),
        bytes(draw.choices(b'0123456789 ,\n*{}[]":', k=5000)),
        sample[: draw.randrange(1, len(sample))],
        b"\n" * 50,
        bytes(byte ^ (draw.random() < 0.01) * draw.randrange(256) for byte in sample),
    ][seed]
    path = tmp_path / "garbage"
    path.write_bytes(raw)
    options: dict[str, Any] = {"bits": 64, "order": "big"} if name == "key-binary" else {}
    made = outcome(path, name, **options)
    if isinstance(made, TraceError):
        assert made.message.startswith("garbage")
        assert made.remedy
    else:  # a file of keys has no wrong ones, and a change may leave what is right
        assert made > 0
        assert name == "key-binary" or seed in (3, 5)


@pytest.mark.parametrize("name", READERS)
def test_empty(name: str, tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    path.write_bytes(b"")
    for load_it in (load_trace, stream_trace):
        with pytest.raises(TraceError, match="is empty: not one byte"):
            load_it(path, format=name)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("arc", b"\n\n"),
        ("lirs", b"*\n"),
        ("object-csv", b"id,size\n"),
        ("mooncake", SAMPLES["mooncake"].replace(b"4", b"")),
        ("azure-llm", b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"),
    ],
)
def test_nothing_but_the_form(name: str, raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bare"
    path.write_bytes(raw)
    with pytest.raises(
        TraceError, match=f"bare reads as {name} and holds not one request in {len(raw)} bytes"
    ) as caught:
        list(stream_trace(path, format=name).chunks())
    assert caught.value.remedy


def test_two_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t"
    path.write_bytes(SAMPLES["lirs"])
    monkeypatch.setattr(load("reader", "arc"), "recognise", lambda head, name: True)
    with pytest.raises(TraceError, match="t could be arc or lirs") as caught:
        load_trace(path)
    assert "format='arc'" in caught.value.remedy


def test_prose_and_code_are_no_traces() -> None:
    root = Path(__file__).parents[2]
    texts = [root / "LICENSE", *root.glob("*.md"), *root.glob("*.toml"), *root.glob("docs/**/*.md")]
    texts += [*root.glob("docs/examples/*.py"), *root.glob("docs/examples/*.yaml"), *root.glob("traces/readers/*.py")]
    assert len(texts) > 100
    for path in texts:
        raw = path.read_bytes()
        words = b"\n".join(raw.split())  # as a tokenizer leaves it
        for text in (raw, words, words.lower().translate(None, b",.;:")):
            found = [name for name in READERS if load("reader", name).recognise(text[:HEAD], path.name)]
            assert found == [], path
