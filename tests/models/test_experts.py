"""What experts cost that do not fit: by hand, and every figure of the system changes something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import StudyError
from tiersim._base.params import params
from tiersim._base.registry import build
from tiersim._base.units import Quantity
from tiersim.experiments import presets
from tiersim.models.experts import ExpertSystem, check_system, costs_of, routed_layers, slots_of
from tiersim.models.gpu import Compute, Gpu
from tiersim.models.links.nvlink import Nvlink
from tiersim.models.links.pcie import Pcie
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.times.roofline import Roofline
from tiersim.models.llm.transformer import Experts, Transformer
from tiersim.models.node import Node
from tiersim.models.ssd import Ssd
from tiersim.models.tiers import Tier
from tiersim.sim.expert_rows import Rows
from tiersim.sim.expert_steps import Routed, rows_of, schedule_of

MICRO = 10**6
MILLI = 10**9
WHOLE = 10**9
PER_LAYER = Quantity(12, "count_per_item", "layer")
PLAIN = Roofline(
    matrices=WHOLE, attention=WHOLE, weights=WHOLE, cache=WHOLE, network=WHOLE,
    meeting=0, iteration=0, layer=0, request=0,
)  # fmt: skip


def system(model: str = "deepseek-v2-lite", **changes: Any) -> ExpertSystem:
    made = ExpertSystem(
        model=presets.built(model, Transformer),
        accelerator=presets.built("rtx-4090", Gpu),
        host=presets.built("desktop-ddr5", Node),
        expert_slots=PER_LAYER,
    )
    return replace(made, **changes)


def host(**memory: Any) -> Node:
    held = presets.built("desktop-ddr5", Node)
    return replace(held, memory=replace(held.memory, **memory))


def steps(sizes: list[int], prompt: int = 0, batch: int = 1, *, layers: int = 1, experts: int = 64) -> Rows:
    """Rows of sequences of these lengths, whose tokens pass expert 0."""
    table = np.zeros((sum(sizes), layers, 1), np.int32)
    held = Routed(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), table, np.arange(layers))
    return rows_of(held, schedule_of(held, batch, prompt), experts)


# what cards and textbooks say, to the figure


def test_experts_have_the_sizes_of_their_matrices() -> None:
    """3 x 4096 x 14336 weights of 2 bytes; 3 x 2048 x 1408."""
    assert costs_of(system("mixtral-8x7b"), steps([1])).size == 352_321_536
    costs = costs_of(system(), steps([1]))
    assert costs.size == 17_301_504
    assert costs.size_low == 17_301_504 // 4  # int4
    assert costs.hidden == 4096  # 2048 numbers of 2 bytes


def test_loads_take_what_is_known_of_pci_express() -> None:
    """At some 25 GB/s an expert of Mixtral takes about 14 ms, one of DeepSeek-V2-Lite about 0.7 ms.

    PCI Express 4.0: 16 lanes of 16 GT/s with 128 of 130 bits are 31.507 GB/s, less 8 % for the link layer, in packets
    of 256 bytes with 20 more: 26.886 GB/s. 352,321,536 bytes take 13.104 ms, and a copy 10 us more.
    """
    link = presets.built("pcie-4-x16", Pcie)
    assert 13.0 * MILLI < costs_of(system("mixtral-8x7b", link=link), steps([1])).load < 14.0 * MILLI
    assert costs_of(system("mixtral-8x7b", link=link), steps([1])).load == pytest.approx(13.114 * MILLI, rel=1e-4)
    slower = replace(link, efficiency=WHOLE * 25 // 27)
    assert costs_of(system("mixtral-8x7b", link=slower), steps([1])).load == pytest.approx(14.2 * MILLI, rel=1e-2)
    assert costs_of(system(link=slower), steps([1])).load == pytest.approx(0.7 * MILLI, rel=2e-2)
    assert costs_of(system(link=link), steps([1])).latency == link.latency


def test_a_load_is_no_faster_than_the_memory_it_is_read_from() -> None:
    """17,301,504 bytes at 10 GB/s are 1.7301504 ms."""
    slow = costs_of(system(host=host(bandwidth=10 * 10**9, efficiency=WHOLE), copy=0), steps([1]))
    assert slow.load == 1_730_150_400


def test_the_processor_is_as_slow_as_its_memory_or_its_cores() -> None:
    """352,321,536 bytes at 60 GB/s: 5.872 ms. 2 x 176,160,768 operations a token at 1 T: 0.352 ms, of 17 it is more."""
    made = costs_of(system("mixtral-8x7b", host=host(bandwidth=60 * 10**9, efficiency=WHOLE)), steps([20], prompt=20))
    assert made.cpu[0] == 0
    assert made.cpu[1] == made.cpu[16] == pytest.approx(5.872 * MILLI, rel=1e-4)
    assert made.cpu[17] == pytest.approx(17 * 0.352321536 * MILLI, rel=1e-9)


def test_an_expert_on_a_gpu_is_read_or_computed() -> None:
    """17,301,504 bytes at 1008 GB/s x 91 %: 18.86 us. 17,301,504 operations a token at 165.15 T: 0.10476 us."""
    made = costs_of(system(time_model=PLAIN), steps([200], prompt=200))
    assert made.run[0] == 0
    assert made.run[1] == made.run[180] == pytest.approx(18.8615 * MICRO, rel=1e-4)
    assert made.run[200] == pytest.approx(200 * 0.104762 * MICRO, rel=1e-4)


def test_a_step_of_a_model_by_hand() -> None:
    """Two layers, the first dense; hidden 8, two heads of 4, feed-forward 16, an expert of 4, one shared, 4 in all.

    Attention: 8 x (3 x 8) + 8 x 8 + two norms of 8 = 272 weights. Dense: 3 x 8 x 16 = 384. Shared: 3 x 8 x 4 = 96.
    Router: 8 x 4 = 32. Weights have 2 bytes, a token 2 x 2 x 4 x 2 = 32 bytes of keys and values in a layer.
    Memory of 1 TB/s (1 byte a picosecond) and arithmetic of 1 T operations a second (1 a picosecond): what a GPU has
    with one token is its arithmetic, as 2 operations a weight are its 2 bytes.
    """
    model = Transformer(
        layers=2, hidden=8, heads=2, kv_heads=2, head=4, feed_forward=16, vocabulary=10,
        experts=Experts(count=4, active=1, size=4, shared=1, dense=1),
    )  # fmt: skip
    gpu = replace(
        presets.built("rtx-4090", Gpu),
        memory=Tier(capacity=1 << 30, bandwidth=10**12),
        compute=Compute(bf16=10**12),
    )
    made = costs_of(system(model=model, accelerator=gpu, time_model=PLAIN), steps([3], prompt=2, experts=4))
    # the prompt of 2: attention by 3 pairs x 2 heads x 2 x (4 + 4) operations = 96, above 2 x 32 bytes
    # then a token at a context of 3: 3 x 32 bytes = 96, as much as 3 x 2 heads x 2 x (4 + 4) operations
    assert made.before.tolist() == [2 * 2 * (272 + 384) + 96, 2 * (272 + 384) + 96]
    assert made.dense.tolist() == [2 * 2 * (272 + 96 + 32) + 96, 2 * (272 + 96 + 32) + 96]
    assert made.after.tolist() == [2 * 80, 2 * 80]  # one token is told its successor, of 10 x 8 weights
    assert made.run.tolist() == [0, 2 * 96, 2 * 2 * 96]
    assert made.exchange.tolist() == [0, 0]
    more = replace(PLAIN, iteration=10**6, layer=10**5, request=10**4)
    added = costs_of(system(model=model, accelerator=gpu, time_model=more), steps([3], prompt=2, experts=4))
    assert (added.before - made.before).tolist() == [10**6 + 10**5 + 10**4] * 2
    assert (added.dense - made.dense).tolist() == [10**5] * 2


def test_a_step_takes_what_the_server_of_the_same_roofline_takes() -> None:
    """All parts together, with all its experts read once, are the iteration of a server: a token at a context of 5."""
    held = system("olmoe-1b-7b", expert_slots=None)
    rows = steps([5], layers=16)
    made = costs_of(held, rows)
    own = made.before + 16 * (made.dense + 8 * made.run[1]) + made.after
    arrays = held.time_model.compiled(held.model, held.accelerator, Parallel())
    served = Roofline.step(arrays["costs"], arrays["reads"], 0, 0, 0, 0, 0, 1, 5)
    assert own[-1] == pytest.approx(served, rel=1e-3)


def test_hidden_states_are_shipped_in_one_copy() -> None:
    """4096 bytes at 29.0 GB/s x 256 / 280 (packets written have 24 bytes more): 0.1546 us; a copy and its latency."""
    made = costs_of(system(), steps([3], prompt=3))
    each = 4096 / (31.5077e9 * 0.92 * 256 / 280) * 1e12
    assert made.ship[0] == 0
    assert made.ship[2] == pytest.approx(10 * MICRO + 200_000 + 2 * each, rel=1e-4)
    assert made.ship[3] - made.ship[2] == pytest.approx(each, rel=1e-3)


def test_gpus_share_tokens_and_exchange_them() -> None:
    """Of 8 tokens each of 4 GPUs has 2: 6 experts x 3/4 x 4096 bytes of each over NVLink."""
    gpu = replace(presets.built("rtx-4090", Gpu), nvlink=Nvlink(generation=4, links=2))
    one, four = (
        costs_of(system(accelerator=gpu, gpus=gpus, time_model=replace(PLAIN, meeting=MICRO)), steps([8], prompt=8))
        for gpus in (1, 4)
    )
    assert one.exchange.tolist() == [0]
    rate = 2 * 25e9 * 256 / 272
    assert four.exchange[0] == pytest.approx(MICRO + 2 * 6 * 3 / 4 * 4096 / rate * 1e12, rel=1e-4)
    assert four.dense[0] <= one.dense[0]
    pcie = costs_of(system(gpus=4, time_model=replace(PLAIN, meeting=0)), steps([8], prompt=8))
    assert pcie.exchange[0] == pytest.approx(2 * 6 * 3 / 4 * 4096 / (31.5077e9 * 0.92 * 256 / 280) * 1e12, rel=1e-4)


def test_one_token_has_its_whole_context_on_one_gpu() -> None:
    rows = steps([4000])
    one, four = (costs_of(system(gpus=gpus), rows) for gpus in (1, 4))
    assert one.dense.tolist() == four.dense.tolist()


def test_the_drive_is_read_for_long() -> None:
    """It gives 7.45 GB/s, and its four lanes of PCI Express 4.0 take 31.5 / 4 x 92 % x 256 / 280 = 6.63 GB/s."""
    held = system(host_experts=1000)
    made = costs_of(held, steps([1]))
    drive = presets.built("ssd-990-pro-2tb", Ssd)
    assert made.host_experts == 1000
    assert made.read == pytest.approx(17_301_504 / (31.5077e9 / 4 * 0.92 * 256 / 280) * 1e12 + drive.first, rel=1e-4)
    assert costs_of(system(), steps([1])).read == 0


def test_keys_and_values_that_do_not_fit_are_read_over_the_link() -> None:
    """A token has 1,152 bytes in a layer (512 + 64 numbers). With room for 3, at a context of 5 two are read."""
    held = system(kv_memory=Quantity(3, "count"), copy=0)
    made = costs_of(held, steps([5]))
    assert made.stream[:3].tolist() == [0, 0, 0]
    assert made.stream[4] == pytest.approx(2 * 1152 * 276 / 256 / (31.5077e9 * 0.92) * 1e12, rel=1e-2)
    assert costs_of(held, steps([5], prompt=5)).stream.tolist() == [0]  # made by the prompt itself
    assert not costs_of(system(), steps([5])).stream.any()
    in_bytes = system(kv_memory=Quantity(3 * 1152 * 27, "bytes"), copy=0)
    assert costs_of(in_bytes, steps([5])).stream.tolist() == made.stream.tolist()
    small = slots_of(system(expert_slots=None, kv_memory=Quantity(0, "count")), 100_000)
    assert small == slots_of(system(expert_slots=None), 0)


# what fits


def test_slots_are_what_is_said_or_what_is_left() -> None:
    held = system()
    assert routed_layers(held) == 26
    assert slots_of(held, 1000) == 12 * 26
    assert slots_of(replace(held, expert_slots=Quantity(100, "count")), 1000) == 100
    model = held.model
    others = 2 * (model.parameters - 26 * 64 * model.expert)
    tokens = 100_000
    left = (24 * 2**30 * 9 // 10 - others - tokens * model.kv_bytes) // 17_301_504
    assert slots_of(replace(held, expert_slots=None), tokens) == left
    small = system("olmoe-1b-7b", expert_slots=None)
    assert slots_of(small, 1000) == 16 * 64  # all there are
    assert slots_of(replace(small, gpus=4), 1000) == 16 * 16


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(StudyError, match=r"leave room for 1,187 experts of 0\.02 GiB, not for 1,560") as found:
        slots_of(system(expert_slots=Quantity(60, "count_per_item", "layer")), 1000)
    assert found.value.path == ("expert_slots",)
    with pytest.raises(StudyError, match=r"keys and values of 1,000,000 tokens .* leave room for 0 experts") as found:
        slots_of(system(expert_slots=None), 1_000_000)
    assert found.value.path == ("accelerator",)


@pytest.mark.parametrize(
    ("changes", "path", "what"),
    [
        ({"model": presets.built("llama-3-8b", Transformer)}, "model", "this model has no experts"),
        ({"model": presets.built("mixtral-8x7b", Transformer)}, "host", "256 experts take 84.00 GiB, and"),
        ({"host": host(capacity=16 << 30), "host_experts": 1000}, "host_experts", "1,000 experts take"),
        ({"gpus": 65}, "gpus", "64 experts cannot be dealt out over 65 GPUs"),
        ({"low": "fp32"}, "low", "fp32 is no lower precision"),
        ({"expert_slots": Quantity(12, "count_per_item", "token")}, "expert_slots", "slots are of layers, and not of"),
        ({"time_model": replace(PLAIN, imbalance=2 * WHOLE)}, "time_model", "found here"),
        ({"time_model": replace(PLAIN, arithmetic="fp8"), "accelerator": replace(
            presets.built("rtx-4090", Gpu), compute=Compute(bf16=1))}, "time_model", "no figure for 'fp8'"),
        ({"host_experts": 10, "host": replace(host(), ssds=0)}, "host_experts", "there is no drive"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_together_are_refused(changes: dict[str, Any], path: str, what: str) -> None:
    with pytest.raises(StudyError, match=what) as found:
        check_system(system(**changes))
    assert found.value.path == (path,)


def test_another_time_model_is_refused() -> None:
    linear = build("time-model", {"use": "linear", "prefill": "100 us/token"})
    with pytest.raises(StudyError, match="linear does not tell experts from the rest"):
        check_system(system(time_model=linear))


def test_the_systems_of_the_presets_are_fine() -> None:
    check_system(system())
    check_system(system("mixtral-8x7b", host=host(capacity=128 << 30)))
    check_system(system("mixtral-8x7b", host_experts=90))


OTHERS: dict[str, Any] = {
    "model": presets.built("qwen1.5-moe-a2.7b", Transformer),
    "accelerator": presets.built("h100-sxm", Gpu),
    "gpus": 2,
    "expert_slots": Quantity(11, "count_per_item", "layer"),
    "link": presets.built("pcie-5-x16", Pcie),
    "copy": 0,
    "kv_memory": Quantity(3, "count"),
    "host": host(bandwidth=10 * 10**9),
    "cpu": 10**10,
    "host_experts": 500,
    "storage": presets.built("ssd-pm9a3-7680gb", Ssd),
    "low": "int8",
    "time_model": PLAIN,
}
ENGINE = {"overlap"}  # what the engine is told as it is


@pytest.mark.parametrize("key", [item.name for item, _, _ in params(ExpertSystem) if item.name not in ENGINE])
def test_turning_it_changes_something(key: str) -> None:
    base = system(expert_slots=None) if key == "share" else system(host_experts=600) if key == "storage" else system()
    other = replace(base, **{key: WHOLE // 2 if key == "share" else OTHERS[key]})
    rows = steps([9], prompt=8)

    def outcome(held: ExpertSystem) -> Any:
        costs = vars(costs_of(held, rows))
        told = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in costs.items()}
        return told, slots_of(held, 100)

    assert outcome(other) != outcome(base)
