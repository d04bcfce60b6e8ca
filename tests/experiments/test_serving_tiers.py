"""The scenario `serving` with tiers, swapping, limits of admission, and prefill apart from decode."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.experiments.test_serving import NO_CACHE, row, run, study
from tiersim._base.errors import AuditError, TiersimError
from tiersim.experiments.catalogue import explain
from tiersim.experiments.plan import make_plan
from tiersim.experiments.scenarios import serving
from tiersim.experiments.timelines import write_timeline
from tiersim.sim.serving import Engines

KIB = 1024
# a page of 16 tokens takes 1 ms, and 3 ms more until it is there; a block of 512 tokens 32 ms
LINK = {"bandwidth": "16384 kB/s", "latency": "3 ms"}
MEMORY = {"capacity": "1024 tokens", "token": "1024 B"}
TIERS: dict[str, Any] = {
    "memory": MEMORY,
    "links": {"pcie": LINK},
    "tiers": {"dram": {"capacity": "2048 tokens", "link": "pcie"}},
}
# the second one needs the pages of the first one's block, which the third one has again
ROWS = [row(0, 600, 1, [1, 2]), row(9, 900, 1, [3, 4]), row(19, 600, 1, [1, 2])]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and engines that are not compiled: that takes longer than all that they do here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "Engines", partial(Engines, compiled=False))


def test_a_block_comes_back_from_a_tier_by_hand() -> None:
    found = run(ROWS, instance=TIERS).rows[0]
    table, metrics = found.table("requests"), found.metrics
    assert table["ttft"] == [600, 900, 35 + 88]
    assert table["hit"] == table["fetched"] == [0, 0, 512]
    assert np.nan_to_num(table["loading"]).tolist() == [0, 0, 35]
    assert metrics["loading.mean"] == metrics["loading.p99"] == 35
    assert metrics["loading"] == pytest.approx(35 / 19_123)
    assert metrics["prefix_hit_ratio.tokens"] == metrics["prefix_hit_ratio.fetched"] == 512 / 2100
    assert metrics["tiers.dram.hit_ratio"] == 512 / 2100
    assert metrics["tiers.dram.fetched"] == metrics["links.pcie.loaded"] == 512 * KIB
    assert metrics["tiers.dram.written"] == metrics["links.pcie.stored"] == 2 * 512 * KIB
    assert metrics["links.pcie.load_busy"] == pytest.approx(32 / 19_123)
    assert metrics["links.pcie.store_busy"] == pytest.approx(64 / 19_123)
    assert metrics["tiers.dram.used"] == pytest.approx((19_123 - 600 + 19_123 - 9900) / 19_123 / 4)


def test_without_the_tier_it_is_computed_again() -> None:
    result = run(ROWS, instance=TIERS, what_if={"none": {"system.instance.tiers": None}})
    here, none = result.rows
    assert here.metrics["ttft.p99"] == none.metrics["ttft.p99"] == 900
    assert none.table("requests")["ttft"] == [600, 900, 600]
    assert "fetched" not in none.table("requests")
    assert "tiers.dram.hit_ratio" not in none.metrics


def test_what_is_written_when_it_leaves_the_memory() -> None:
    found = run(ROWS[:2], instance={**TIERS, "write": "eviction"}).rows[0]
    assert found.metrics["tiers.dram.written"] == 512 * KIB
    assert found.metrics["tiers.dram.used"] == pytest.approx(900 / 9900 / 4)


def test_links_of_presets_and_two_tiers_on_one() -> None:
    link = {"pcie": {"pcie": "pcie-5-x16"}}
    near = {"capacity": "512 tokens", "link": "pcie"}
    two = {**TIERS, "links": link, "tiers": {"near": near, "far": {"capacity": "64 Ki tokens", "link": "pcie"}}}
    found = run(ROWS, instance=two).rows[0]
    metrics = found.metrics
    # the block of the second request pushes that of the first one on
    assert (metrics["tiers.near.hit_ratio"], metrics["tiers.far.hit_ratio"]) == (0, 512 / 2100)
    assert metrics["links.pcie.stored"] == metrics["tiers.near.written"] + metrics["tiers.far.written"]
    assert 88 < found.table("requests")["ttft"][2] < 88.02  # 512 KiB at 50 GB/s are 10 us


def test_a_shared_tier_has_what_another_instance_computed() -> None:
    rows = [row(0, 600, 1, [1, 2]), row(9, 600, 1, [1, 2])]
    keys: dict[str, Any] = {"system": {"cluster": {"instances": 2}}}
    shared = {"dram": {"capacity": "2048 tokens", "link": "pcie", "shared": True}}
    apart, together = (run(rows, instance={**TIERS, **its}, **keys).rows[0] for its in ({}, {"tiers": shared}))
    assert apart.table("requests")["ttft"] == [600, 600]
    assert together.table("requests")["ttft"] == [600, 35 + 88]
    assert together.table("requests")["instance"] == [0, 1]


def test_a_trace_without_blocks_leaves_tiers_empty_and_says_so() -> None:
    Path("lengths.csv").write_text("num_prefill_tokens,num_decode_tokens\n" + "500,3\n" * 9)
    lengths = {"use": "lengths.csv", "format": "vidur-lengths"}
    made = study([row(0, 1)], instance=TIERS, load={"rate": "1 /s", "arrivals": "even"}) | {"trace": lengths}
    found = tiersim.run(made, keep=False).rows[0]
    assert found.notes == ["the trace knows no blocks of prompts: prefix cache and tiers stay empty"]
    assert found.metrics["links.pcie.stored"] == 0
    assert "tiers.dram.used" not in found.metrics


def test_a_request_that_loses_its_memory_is_swapped() -> None:
    rows = [row(0, 400, 300, [1]), row(0, 400, 300, [2])]
    swap = {"capacity": "1024 tokens", "link": "pcie"}
    kept = {**NO_CACHE, "memory": MEMORY, "links": {"pcie": LINK}, "swap": swap}
    with_swap, without = run(rows, instance=kept, what_if={"again": {"system.instance.swap": None}}).rows
    assert with_swap.metrics["swaps"] == with_swap.metrics["preemptions"] == without.metrics["preemptions"] == 1
    assert without.metrics["swaps"] == 0
    moved = with_swap.metrics
    assert moved["links.pcie.loaded"] == moved["links.pcie.stored"] > 400 * KIB
    assert 0 < moved["swap_used"] < 1
    assert sorted(with_swap.table("requests")["swaps"]) == [0, 1]
    assert moved["e2e.p99"] < without.metrics["e2e.p99"] - 400  # whoever came back did not compute its prompt again


def test_who_finds_too_many_waiting_is_refused() -> None:
    rows = [row(0, 600, 1, [k]) for k in range(3)] + [row(9, 600, 1, [9])]
    found = run(rows, instance={"scheduler": {"budget": 4096, "chunked": False, "max_waiting": 1}, **NO_CACHE}).rows[0]
    table, metrics = found.table("requests"), found.metrics
    assert table["refused"] == [0, 1, 1, 0]
    assert table["served"] == [1, 0, 0, 1]
    assert (metrics["requests"], metrics["refused"], metrics["rejected"]) == (4, 2, 0)
    assert metrics["slo_attainment"] == 0.5


def test_a_router_may_refuse() -> None:
    Path("mine.py").write_text(
        "class Short:\n    def route(self, request, view):\n        return 0 if request.prompt < 300 else None\n"
    )
    found = run([row(0, 600), row(1, 200)], policy="mine.py:Short", instance=NO_CACHE).rows[0]
    assert found.table("requests")["refused"] == [1, 0]
    assert found.metrics["refused"] == 1


APART: dict[str, Any] = {  # a token takes 1 ms over the link, and is there 5 ms later
    "instance": {**NO_CACHE, "memory": {"capacity": "100k tokens", "token": "1024 B"}},
    "system": {"decode": {"link": {"bandwidth": "1024 kB/s", "latency": "5 ms"}}},
}


def test_prefill_apart_from_decode_by_hand() -> None:
    # both prompts in one iteration; keys and values of the first one move first, then those of the second
    found = run([row(0, 600, 3, [1, 2]), row(0, 400, 2, [3])], **APART).rows[0]
    table, metrics = found.table("requests"), found.metrics
    assert table["ttft"] == [1000, 1000]
    assert table["transfer_wait"] == [0, 600]
    assert table["transfer"] == [605, 405]
    assert table["decode_queue"] == [0, 0]
    assert table["e2e"] == [1607, 2006]
    assert table["tpot"] == [607 / 2, 1006]
    assert table["decoded_on"] == [0, 0]
    assert metrics["transfer.bytes"] == 1000 * KIB
    assert metrics["transfer.busy"] == pytest.approx(1000 / 2006)
    assert metrics["busy"] == pytest.approx(1000 / 2006)
    assert metrics["decode.busy"] == pytest.approx(3 / 2006)
    assert metrics["decode.running"] == pytest.approx(3 / 2006)
    assert metrics["itl.mean"] == pytest.approx((606 + 1 + 1006) / 3)
    assert metrics["transfer.mean"] == 505


def test_an_answer_of_one_token_stays_where_it_is() -> None:
    table = run([row(0, 600), row(1, 400, 2, [3])], **APART).rows[0].table("requests")
    assert table["decoded_on"] == [-1, 0]
    assert np.isnan(table["transfer"][0])
    assert table["e2e"][0] == table["ttft"][0] == 600


def test_accelerators_of_both_kinds_cost() -> None:
    gpu = {"use": "a100-80", "power": "500 W"}
    instance = APART["instance"] | {"accelerator": gpu, "price": 3.6}
    system = {"decode": {**APART["system"]["decode"], "instances": 2}}
    metrics = run([row(0, 600, 3, [1, 2])], instance=instance, system=system).rows[0].metrics
    assert metrics["energy"] == pytest.approx(500 * 0.602 / 3)
    assert metrics["cost"] == pytest.approx(3 * 3.6 * 1.207 / 3600 / 3 * 1e6)


def test_turns_wait_for_the_end_elsewhere() -> None:
    talk = {"use": "generated/conversations", "requests": 60, "rate": "3 /s", "longest": 2000, "seed": 3}
    made = study([row(0, 1)], **APART, load={"sessions": "wait", "think": "1 s"}) | {"trace": talk}
    found = tiersim.run(made, keep=False).rows[0]
    assert found.metrics["requests"] == 60
    assert found.metrics["rejected"] == found.metrics["refused"] == 0


def test_a_request_that_is_lost_or_ends_twice_is_found() -> None:
    course = {"end": np.array([7, -1, -1]), "rejected": np.array([0, 1, 0]), "refused": np.array([0, 0, 1])}
    serving._audit(course)
    for name, number in (("end", 1), ("refused", 0), ("rejected", 2)):
        twice = {key: held.copy() for key, held in course.items()}
        twice[name][number] = 1
        with pytest.raises(AuditError, match=f"request {number} is not just one of"):
            serving._audit(twice)
    with pytest.raises(AuditError, match="request 0 is not just one of"):
        serving._audit(course | {"end": np.array([-1, -1, -1])})


def test_a_search_for_the_capacity_of_two_kinds() -> None:
    talk = {"use": "generated/conversations", "requests": 200, "rate": "3 /s", "longest": 2000, "seed": 3}
    capacity = {"least": "0.1 /s", "most": "2 /s", "attainment": "80 %", "within": "20 %"}
    made = study([row(0, 1)], **APART, slo={"ttft": "4 s"}) | {"trace": talk, "capacity": capacity}
    metrics = tiersim.run(made, keep=False).rows[0].metrics
    assert 0.1 < metrics["capacity"] < 2
    assert metrics["slo_attainment"] >= 0.8
    assert metrics["transfer.mean"] > 0


@pytest.mark.parametrize("decode", [False, True])
def test_the_same_seed_gives_the_same_rows(*, decode: bool) -> None:
    rows = [row(k // 3, 700, 5, [k % 4, 10 + k % 4]) for k in range(40)]
    keys = APART if decode else {"instance": TIERS}
    one, two = (tiersim.run(study(rows, **keys), keep=False, workers=count).rows[0] for count in (1, 2))
    assert one.metrics == two.metrics


def test_a_timeline_shows_what_loads_and_moves() -> None:
    write_timeline(study(ROWS, instance=TIERS), "tiers.json")
    loads = [event for event in json.loads(Path("tiers.json").read_text()) if event.get("name") == "loads"]
    assert [event["ts"] for event in loads if event["ph"] == "b"] == [19e6]
    assert [event["ts"] for event in loads if event["ph"] == "e"] == [19.035e6]
    write_timeline(study([row(0, 600, 3, [1, 2]), row(0, 400, 2, [3])], **APART), "apart.json")
    events = json.loads(Path("apart.json").read_text())
    spans = {(event["name"], event["args"]["request"], event["ts"]) for event in events if event["ph"] == "b"}
    assert {("moves", 0, 1e6), ("waits for the link", 1, 1e6), ("moves", 1, 1.6e6), ("decode", 1, 2.005e6)} <= spans
    tracks = {event["args"]["name"] for event in events if event["name"] in ("thread_name", "process_name")}
    assert {"instance 0", "decoding instance 0", "link"} <= tracks


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({**TIERS, "prefix_cache": None}, "tiers stand behind a prefix cache in the memory, and there is no"),
        ({**TIERS, "prefix_cache": {"capacity": "2k tokens"}}, "`prefix_cache` has memory of its own"),
        ({**TIERS, "links": {}}, "there is no link 'pcie'"),
        ({**TIERS, "links": {"pcie-1": LINK}}, "did you mean 'pcie-1'?"),
        ({**TIERS, "links": {"pcie": {}}}, "nothing tells how fast it is"),
        ({**TIERS, "links": {"pcie": {**LINK, "pcie": "pcie-5-x16"}}}, "it is pcie and bandwidth at once"),
        ({**TIERS, "links": {"pcie": {"pcie": "pcie-9"}}}, "no preset is called 'pcie-9'"),
        ({**TIERS, "memory": {"capacity": "1024 tokens"}}, "nothing tells how many bytes a token takes"),
        ({**TIERS, "tiers": {"dram": {"capacity": "100 tokens", "link": "pcie"}}}, "no room for a block of 512"),
        ({**TIERS, "swap": {"capacity": "8 tokens", "link": "pcie"}}, "it has no room for a page of 16 tokens"),
        ({**TIERS, "swap": {"capacity": "8k tokens", "link": "drive"}}, "there is no link 'drive'"),
    ],
)
def test_tiers_that_do_not_fit_are_one_message(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(TiersimError) as caught:
        run(ROWS, instance=keys)
    assert message in f"{caught.value.message} {caught.value.remedy}"


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        ({"link": {}}, "a link is one of pcie, nvlink, nic, bandwidth"),
        ({"instances": 2}, "link"),
        ({"instance": {"prefix_cache": {}}}, "prompts are not computed there"),
        ({"instance": {"scheduler": {"max_waiting": 4}}}, "a request that comes over is never refused"),
        ({"instance": {"memory": {}}}, "nothing tells how many tokens the memory holds"),
    ],
)
def test_decoding_that_does_not_fit_is_one_message(decode: dict[str, Any], message: str) -> None:
    made = study([row(0, 600, 3), row(1, 600, 3)], instance=APART["instance"])
    time_model = {"use": "linear", "prefill": "1 ms/token"}
    if "instance" in decode:
        its = {"time_model": time_model, "memory": {"capacity": "9k tokens"}, **decode["instance"]}
        decode = {"link": {"bandwidth": "1 GB/s"}, "instance": its}
    made["system"] = {**made["system"], "decode": decode}
    with pytest.raises(TiersimError) as caught:
        tiersim.run(made, keep=False)
    assert message in f"{caught.value.message} {caught.value.remedy}"


def test_a_router_that_holds_requests_knows_no_instances_that_decode() -> None:
    Path("mine.py").write_text(
        "class Holds:\n    def arrive(self, request, view): ...\n    def dispatch(self, view):\n        return []\n"
    )
    with pytest.raises(TiersimError, match="knows no instances that decode"):
        run([row(0, 600, 3)], **APART, policy="mine.py:Holds")


def test_metrics_of_links_and_tiers_are_known_by_name() -> None:
    made = study(ROWS, instance=TIERS, report={"metrics": ["tiers.dram.written", "links.pcie.load_busy"]})
    assert make_plan(made).report.metrics == ["tiers.dram.written", "links.pcie.load_busy"]
    assert "wears a drive" in explain("tiers.ssd.written").text
    wrong = study(ROWS, instance=TIERS, report={"metrics": ["tiers.ssd.written"]})
    with pytest.raises(TiersimError, match=r"tiers\.ssd\.written"):
        make_plan(wrong)
