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
REQUESTS = {  # to language models
    "azure_llm_2023_conv.csv.gz": "azure-llm",
    "claude_code_sessions_a.jsonl.xz": "claude-sessions",
    "lmcache_miniswe.jsonl.xz": "lmcache-prompts",
    "lmcache_taubench.jsonl.xz": "lmcache-prompts",
    "servegen_deepseek_r1_clients.csv.gz": "servegen",
    "servegen_m_small_clients.csv.gz": "servegen",
    "vidur_arxiv_summarization.csv.gz": "vidur-lengths",
}
TABLES = {  # of text, of measured times, of edges; their facts stand in the tests of their readers
    "dlrm_datasets_2021_locality_stats.txt.gz": "dlrm-locality",
    "gptcache_mock_pairs.json.gz": "question-pairs",
    "gptcache_qqp_similar.jsonl.gz": "question-pairs",
    "mt_bench_questions.jsonl.gz": "mt-bench",
    "musae_facebook_edges.csv.xz": "edge-list",
    "snap_as20graph.txt.gz": "edge-list",
    "splitwise_perf_model.csv.gz": "splitwise-profile",
    "vidur_a100_dgx_all_reduce.csv.gz": "vidur-profile",
    "vidur_a100_dgx_send_recv.csv.gz": "vidur-profile",
    "vidur_a100_llama2_7b_mlp.csv.gz": "vidur-profile",
    "vidur_a100_pairwise_nvlink_send_recv.csv.gz": "vidur-profile",
    "vidur_a40_pairwise_nvlink_send_recv.csv.gz": "vidur-profile",
}
ROUTINGS = {  # of tokens to experts
    "moe_deepseek_v2_lite_predictions.jsonl.gz": "moe-predictions",
    "moe_deepseek_v2_lite.npz": "moe-npz",
    "moe_qwen15_int4_layer00.jsonl.gz": "moe-vllm",
    "moe_qwen15_layer00.jsonl.gz": "moe-vllm",
    "moe_qwen15_layer08.jsonl.gz": "moe-vllm",
    "moe_qwen15_layer12.jsonl.gz": "moe-vllm",
    "moe_qwen15_layer18.jsonl.gz": "moe-vllm",
    "moe_qwen15_layer23.jsonl.gz": "moe-vllm",
}
SEARCHES = {  # of trees
    "lats_hotpot_dfs.log.gz": "lats-log",
    "tot_crosswords_dfs_prune.json.xz": "tot-dfs",
    "tot_game24_bfs.json.xz": "tot-bfs",
    "tot_text_bfs.json.xz": "tot-bfs",
}

# file, reader, bytes of a line, loads, stores, fetches, instructions or cycles, distinct lines, distinct pages of 4 KiB
AccessFacts = tuple[str, str, int, int, int, int, int, int, int | None]
ACCESSES: list[AccessFacts] = [
    ("dramsim2_mase_art.trc.gz", "dramsim", 64, 5_069, 33_009, 296, 14_712_444, 38_374, None),
    ("mediabench_fractal.stl.xz", "dramsys", 32, 20_998, 12_897, 0, 64_184_934, 15_504, None),
    ("mediabench_jpegdecode.stl.xz", "dramsys", 32, 26_962, 16_181, 0, 19_675_347, 24_689, None),
    ("mediabench_mpeg2decode.stl.xz", "dramsys", 32, 55_095, 16_948, 0, 97_603_426, 14_568, None),
    ("spec2000_gcc.trace.xz", "gap", 64, 318_197, 197_486, 0, 1_024_481, 3_367, 294),
    ("spec2000_mcf.trace.xz", "gap", 64, 5_972, 721_258, 0, 286_478, 90_077, 1_442),
    ("spec2000_swim.trace.xz", "gap", 64, 220_668, 82_525, 0, 873_009, 3_453, 135),
    ("spec_403.gcc.cputrace.xz", "ramulator", 64, 45_675, 4_349, 0, 203_728_525, 43_198, 1_306),
    ("spec_435.gromacs.cputrace.xz", "ramulator", 64, 218_625, 63_260, 0, 200_071_768, 99_429, 1_645),
    ("spec_444.namd.cputrace.xz", "ramulator", 64, 21_403, 2_861, 0, 200_015_908, 17_509, 494),
    ("spec_445.gobmk.cputrace.xz", "ramulator", 64, 107_852, 70_252, 0, 201_705_959, 65_486, 2_104),
    ("spec_464.h264ref.cputrace.xz", "ramulator", 64, 252_571, 122_735, 0, 202_454_812, 27_160, 857),
    ("spec_481.wrf.cputrace.xz", "ramulator", 64, 27_328, 16_333, 0, 199_833_533, 13_827, 504),
]


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


@pytest.mark.parametrize("facts", ACCESSES, ids=[facts[0] for facts in ACCESSES])
def test_accesses(facts: AccessFacts) -> None:
    name, reader, line, loads, stores, fetches, span, lines, pages = facts
    timed = {"cycles": True} if reader in ("dramsim", "dramsys") else {}
    trace = stream_trace(needs(name), **timed)
    assert (trace.schema, trace.provenance["reader"]) == ("access", reader)
    found = np.concatenate([chunk["address"] for chunk in trace.chunks()])
    assert trace.records == len(found) == loads + stores + fetches
    assert trace.kinds == {"load": loads, "store": stores, "modify": 0, "fetch": fetches}
    assert (trace.instructions, len(np.unique(found // line))) == (span, lines)
    assert pages is None or len(np.unique(found // 4096)) == pages
    assert pages is not None or stream_trace(needs(name)).instructions == 0  # cycles are no instructions


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
    known = {name: [] if options else [reader] for name, options, reader, _, _ in OBJECTS}
    known |= {LACKEY: ["lackey"]} | {facts[0]: [facts[1]] for facts in ACCESSES}
    known |= {name: [reader] for name, reader in (REQUESTS | TABLES | ROUTINGS | SEARCHES).items()}
    files = sorted(MIRROR.glob("*")) if MIRROR.is_dir() else []
    if not files:
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder of traces")
    for path in files:
        with ByteFile(path) as file:
            head = file.read(HEAD)
        found = [name for name in readers if load("reader", name).recognise(head, path.name)]
        assert found == known.get(path.name, []), path.name
