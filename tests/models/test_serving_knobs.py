"""Every key of the scenario `serving` changes something."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import tiersim
from tiersim._base.params import params
from tiersim.experiments.scenarios import serving
from tiersim.experiments.scenarios.serving import Capacity, Load, RequestTrace, Serving, Slo
from tiersim.models.kv_links import KvLink, TransferLink
from tiersim.models.serving import (
    Cluster,
    ClusterChange,
    ClusterScale,
    Decode,
    Instance,
    KvMemory,
    KvTier,
    PrefixCache,
    Scheduler,
    ServingSystem,
    Swap,
)
from tiersim.sim.serving import Engines

GPU = "a100-80"
INSTANCE = {
    "model": "llama-3-8b",
    "accelerator": GPU,
    "time_model": "roofline",
    "memory": {"capacity": "20k tokens"},
    "prefix_cache": {"capacity": "9k tokens"},
    "scheduler": {"max_requests": 16, "budget": 256},
    "price": 2.0,
}
STUDY: dict[str, Any] = {
    "study": "knobs",
    "scenario": "serving",
    "trace": {"use": "generated/conversations", "requests": 300, "rate": "8 /s", "seed": 1},
    "system": {"instance": INSTANCE, "cluster": {"instances": 2}},
    "policy": "least-loaded",
    "slo": {"ttft": "150 ms", "tpot": "20 ms", "e2e": "3 s"},
}
IN_MEMORY: dict[str, Any] = {"system.instance.prefix_cache.capacity": None}
SEARCH: dict[str, Any] = {
    "capacity": {"least": "1 /s", "most": "64 /s", "within": "10 %"},
    "slo.tpot": "1 s",
    "slo.e2e": "1 h",
}
CHANGES: list[dict[str, Any]] = [{"at": "10 s", "fail": [1]}]
SCALE: dict[str, Any] = {
    "system.cluster.instances": 3,
    "system.cluster.scale": {"interval": "1 s", "high": 300, "low": 50},
    "load.rate": "20 /s",
}
BEHIND: dict[str, Any] = {  # a memory that is soon full, and what stands behind it
    **IN_MEMORY,
    "system.instance.memory.capacity": "9k tokens",
    "system.instance.links": {"near": {"pcie": "pcie-3-x16"}, "far": {"bandwidth": "1 GB/s"}},
    "system.instance.tiers": {"dram": {"capacity": "12k tokens", "link": "near"}},
}
SWAPS: dict[str, Any] = {
    "load.rate": "40 /s",
    "system.instance.memory.capacity": "5k tokens",
    "system.instance.links": {"near": {"pcie": "pcie-3-x16"}, "far": {"bandwidth": "1 GB/s"}},
    "system.instance.swap": {"capacity": "4k tokens", "link": "near"},
}
APART: dict[str, Any] = {"system.decode": {"link": {"bandwidth": "10 GB/s"}}}
SLOW = "system.instance.links.near."
MOVES = "system.decode.link."
FREE = {"system.instance.memory.capacity": None, "system.instance.memory.share": "19.2 %", **IN_MEMORY}

# the key, its other value, and what else is set in both runs
TURNED: list[tuple[str, Any, dict[str, Any]]] = [
    ("trace.use", "generated/conversations", {"trace.seed": 2}),
    ("trace.skip", 50, {}),
    ("trace.limit", 100, {}),
    ("trace.warm_up", "10 %", {}),
    ("trace.truncate", 600, {}),
    ("load.rate", "20 /s", {}),
    ("load.arrivals", "poisson", {"load.rate": "8 /s"}),
    ("load.ties", "drawn", {"trace.rate": "1000000000 /s", "load.rate": "8 /s"}),  # several a nanosecond
    ("load.sessions", "wait", {}),
    ("load.think", "1 s", {"load.sessions": "wait"}),
    ("policy", "min-ttft", {}),
    ("slo.ttft", "100 ms", {}),
    ("slo.tpot", "9 ms", {}),
    ("slo.e2e", "1 s", {}),
    ("capacity", SEARCH["capacity"], {}),
    ("capacity.least", "2 /s", SEARCH),
    ("capacity.most", "70 /s", SEARCH),
    ("capacity.attainment", "50 %", SEARCH),
    ("capacity.within", "3 %", SEARCH),
    ("system.cluster.instances", 3, {}),
    ("system.cluster.refresh", "2 s", {}),
    ("system.cluster.up", 1, {}),
    ("system.cluster.changes", CHANGES, {}),
    ("system.cluster.changes.at", [{"at": "11 s", "fail": [1]}], {"system.cluster.changes": CHANGES}),
    ("system.cluster.changes.fail", [{"at": "10 s", "fail": [0]}], {"system.cluster.changes": CHANGES}),
    ("system.cluster.changes.drain", [{"at": "10 s", "drain": [1]}], {"system.cluster.changes": CHANGES}),
    (
        "system.cluster.changes.start",
        [*CHANGES, {"at": "20 s", "start": [1]}],
        {"system.cluster.changes": CHANGES},
    ),
    ("system.cluster.failure", "lose", {"system.cluster.changes": CHANGES}),
    ("system.cluster.scale", SCALE["system.cluster.scale"], {"system.cluster.instances": 3}),
    ("system.cluster.scale.interval", "3 s", SCALE),
    ("system.cluster.scale.high", 20_000, SCALE),
    ("system.cluster.scale.low", 0, SCALE),
    ("system.cluster.scale.least", 2, SCALE),
    ("system.cluster.scale.most", 2, SCALE),
    ("system.cluster.scale.start_up", "5 s", SCALE),
    ("system.instance.model", "llama-2-7b", {}),
    ("system.instance.accelerator", "h100-sxm", {}),
    ("system.instance.time_model", {"use": "linear", "prefill": "100 us/token"}, {}),
    ("system.instance.parallel.tensor", 2, {}),
    ("system.instance.price", 3.0, {}),
    ("system.instance.prefix_cache", None, {}),
    ("system.instance.prefix_cache.capacity", "2k tokens", {}),
    ("system.instance.prefix_cache.policy", "fifo", {"system.instance.prefix_cache.capacity": "4k tokens"}),
    ("system.instance.memory.capacity", "8k tokens", {}),
    ("system.instance.memory.share", "25 %", FREE),
    ("system.instance.memory.page", 64, IN_MEMORY),
    ("system.instance.scheduler.budget", 1024, {}),
    ("system.instance.scheduler.max_requests", 4, {}),
    ("system.instance.scheduler.chunked", False, {}),
    ("system.instance.scheduler.max_waiting", 2, {"load.rate": "40 /s"}),
    ("system.instance.memory.token", "1 MiB", BEHIND),
    ("system.instance.tiers", None, BEHIND),
    ("system.instance.tiers.dram.capacity", "3k tokens", BEHIND),
    ("system.instance.tiers.dram.link", "far", BEHIND),
    ("system.instance.tiers.dram.policy", "fifo", BEHIND),
    ("system.instance.tiers.dram.shared", True, BEHIND),
    ("system.instance.write", "eviction", BEHIND),
    ("system.instance.swap", None, SWAPS),
    ("system.instance.swap.capacity", "1k tokens", SWAPS),
    ("system.instance.swap.link", "far", SWAPS),
    (SLOW + "pcie", "pcie-5-x16", BEHIND),
    (SLOW + "pcie.lanes", 4, BEHIND),
    (SLOW + "nvlink", "nvlink-4", {**BEHIND, SLOW + "pcie": None, SLOW + "nvlink": "nvlink-2"}),
    (SLOW + "nic", "nic-400g", {**BEHIND, SLOW + "pcie": None, SLOW + "nic": "nic-100g"}),
    (SLOW + "ssd", "ssd-990-pro-2tb", {**BEHIND, SLOW + "pcie": None, SLOW + "ssd": "ssd-pm9a3-7680gb"}),
    (SLOW + "bandwidth", "2 GB/s", {**BEHIND, SLOW + "pcie": None, SLOW + "bandwidth": "4 GB/s"}),
    (SLOW + "latency", "1 ms", BEHIND),
    (SLOW + "count", 2, BEHIND),
    (SLOW + "shared", True, BEHIND),
    ("system.decode", None, APART),
    ("system.decode.instances", 2, APART),
    (
        "system.decode.instance",
        {"time_model": {"use": "linear", "prefill": "1 us/token"}, "memory": {"capacity": "20k tokens"}},
        APART,
    ),
    ("system.decode.policy", "round-robin", {**APART, "system.decode.instances": 3}),
    (MOVES + "bandwidth", "1 GB/s", APART),
    (MOVES + "latency", "1 ms", APART),
    (MOVES + "count", 2, APART),
    (MOVES + "pcie", "pcie-5-x16", {"system.decode": {"link": {"pcie": "pcie-3-x16"}}}),
    (MOVES + "nvlink", "nvlink-4", {"system.decode": {"link": {"nvlink": "nvlink-2"}}}),
    (MOVES + "nic", "nic-400g", {"system.decode": {"link": {"nic": "nic-100g"}}}),
    ("system.instance.scheduler.reserve", "60 %", {**IN_MEMORY, "system.instance.memory.capacity": "6k tokens"}),
]
OTHERS = {"trace.format", "system.instance.prefix_cache.block"}  # a file's, and one that is checked only
NESTED = {"system", "load", "slo", "trace", "system.instance", "system.cluster"}
NESTED |= {f"system.instance.{name}" for name in ("parallel", "memory", "scheduler", "links")} | {"system.decode.link"}


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are not compiled: that takes longer than all that they do here."""
    monkeypatch.setattr(serving, "Engines", partial(Engines, compiled=False))


def outcome(keys: dict[str, Any]) -> Any:
    changes = [f"{key}={_written(value)}" for key, value in keys.items()]
    row = tiersim.run(STUDY, changes, keep=False).rows[0]
    assert row.status == "done", row.error
    table = row.table("requests")
    return row.metrics, {name: np.nan_to_num(np.array(column)).tolist() for name, column in table.items()}


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_written(held)}" for key, held in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("key", "other", "beside"), TURNED, ids=[key for key, _, _ in TURNED])
def test_turning_it_changes_something(key: str, other: Any, beside: dict[str, Any]) -> None:
    if key == "trace.use":  # the trace itself
        assert outcome(beside) != outcome({})
    else:
        whole = key.rsplit(".", 1)[0] if ".changes." in key else key  # lists are said as a whole
        assert outcome({**beside, whole: other}) != outcome(beside)


def test_no_knob_is_left_out() -> None:
    held = {
        "": Serving,
        "trace.": RequestTrace,
        "load.": Load,
        "slo.": Slo,
        "capacity.": Capacity,
        "system.": ServingSystem,
        "system.cluster.": Cluster,
        "system.cluster.changes.": ClusterChange,
        "system.cluster.scale.": ClusterScale,
        "system.instance.": Instance,
        "system.instance.memory.": KvMemory,
        "system.instance.prefix_cache.": PrefixCache,
        "system.instance.scheduler.": Scheduler,
        "system.instance.links.near.": KvLink,
        "system.instance.tiers.dram.": KvTier,
        "system.instance.swap.": Swap,
        "system.decode.": Decode,
        "system.decode.link.": TransferLink,
    }
    keys = {prefix + item.name for prefix, cls in held.items() for item, _, _ in params(cls) if item.init}
    assert keys - {key for key, _, _ in TURNED} - OTHERS - NESTED == set()
