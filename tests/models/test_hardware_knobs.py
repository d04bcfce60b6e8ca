"""Every knob of the hardware changes something that can be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import networkx as nx
import pytest
from pydantic import TypeAdapter

from tests.models.test_links import nic, pcie
from tests.models.test_mover import Box
from tests.models.test_ssd import BASE, ssd
from tests.models.test_tiers import tier
from tests.models.test_topology import GPU, cluster, node
from tiersim._base.errors import StudyError
from tiersim._base.params import params
from tiersim.models.gpu import Compute, Gpu
from tiersim.models.links.cable import Cable
from tiersim.models.links.nvlink import Nvlink
from tiersim.models.mover import Copying
from tiersim.models.node import Cluster, Hardware, Node
from tiersim.models.ssd import Drive, Ssd
from tiersim.models.tiers import MemoryTier, Tier
from tiersim.sim.queued.clock import Clock


def of_link(link: Any) -> Any:
    """Times and bytes on the wire of messages small and large, both ways, read and written."""
    seen = []
    for size in (64, 100_000):
        for forth, posted in ((True, False), (True, True), (False, True)):
            clock = Clock()
            pair = link.connect(clock, ("there", "back"))
            events = [pair.send(size, forth, posted=posted) for _ in range(3)]
            clock.run()
            seen.append((*(event.value for event in events), pair.there.wire, pair.back.wire))
    return seen


def of_drive(made: Ssd) -> Any:
    """Times of reads and writes that meet, and what the drive says of its bounds."""
    clock = Clock()
    drive = Drive(clock, "ssd", made)
    events = [drive.read(30_000, k * 50_000) for k in range(40)] + [drive.write(100_000) for _ in range(40)]
    clock.run()
    return [event.value for event in events], made.reads(4096, 4), made.writes, made.capacity, made.pcie


def of_tier(made: Tier) -> Any:
    clock = Clock()
    memory = MemoryTier(clock, "dram", made)
    events = [memory.read(1000), memory.write(1000)]
    clock.run()
    return [event.value for event in events], memory.space.capacity


def of_gpu(made: Gpu) -> Any:
    kernels = made.kernel("fp16", 10**12, 1), made.kernel("fp16", 1, 10**9)
    return kernels, made.energy(10**12), made.caches(45 << 20), of_node(replace(node(), gpu=made))


def of_node(made: Node) -> Any:
    hardware = Hardware(Clock(), made)
    return (
        sorted((*sorted(edge), repr(held["connection"])) for *edge, held in hardware.topology.graph.edges(data=True)),
        sorted((name, held.space.capacity) for name, held in hardware.tiers.items()),
        sorted((name, pool.capacity) for name, pool in hardware.engines.items()),
    )


def of_cluster(made: Cluster) -> Any:
    graph: nx.Graph = Hardware(Clock(), made).topology.graph
    return sorted((*sorted(edge), repr(held["connection"])) for *edge, held in graph.edges(data=True))


def of_copying(made: Copying) -> Any:
    box = Box(chunk=f"{made.chunk} B", window=made.window, staging=f"{made.staging} B")
    box.copy("a", 10_000, box.flash, staged=True)
    box.run()
    return box.ends, box.dram.space.used


NODE_WITH_ALL = node(ssds=2, ssd=BASE)
LIMITED = pcie(outstanding=4, latency="1 us", memory="1 us")
GPUS = TypeAdapter(Gpu).validate_python({**GPU, "compute": dict.fromkeys(("fp16", "bf16"), "312T")})

KNOBS: list[tuple[Any, Callable[[Any], Any], dict[str, Any]]] = [
    (LIMITED, of_link, {
        "generation": 5, "lanes": 8, "payload": 128, "request": 1024, "write": 28, "completion": 24, "read": 28,
        "outstanding": 8, "link_layer": 10**8, "efficiency": 9 * 10**8, "latency": 0, "memory": 0,
    }),
    (Nvlink(generation=4, links=2), of_link, {
        "generation": 5, "links": 3, "payload": 128, "header": 32, "efficiency": 9 * 10**8, "latency": 5,
    }),
    (Cable(bandwidth=10**9, payload=64, header=8), of_link, {
        "count": 2, "bandwidth": 10**8, "latency": 5, "efficiency": 9 * 10**8, "payload": 128, "header": 16,
    }),
    (nic(header="82 B"), of_link, {
        "bandwidth": 10**9, "mtu": 1024, "header": 30, "messages": 10**15, "latency": 5, "efficiency": 9 * 10**8,
    }),
    (ssd(depth=8), of_drive, {
        "capacity": 2 << 30, "depth": 4, "channels": 2, "dies": 2, "page": 4096, "sense": 10**7, "program": 10**8,
        "channel": 10**8, "amplification": 2 * 10**9, "buffer": 1 << 15, "read_commands": 10**13,
        "write_commands": 10**13, "read_bandwidth": 10**8, "write_bandwidth": 10**8, "read_latency": 5,
        "write_latency": 5, "pcie": pcie(),
    }),
    (tier(), of_tier, {
        "capacity": 5, "bandwidth": 10**9, "write_bandwidth": 10**9, "efficiency": 9 * 10**8, "latency": 5,
    }),
    (GPUS, of_gpu, {
        "memory": tier(capacity="7 MiB"), "l2": 48 << 20, "compute": Compute(fp16=10**12), "copy_engines": 3,
        "pcie": pcie(generation=5), "nvlink": Nvlink(generation=4, links=18), "power": 400_000,
    }),
    (NODE_WITH_ALL, of_node, {
        "sockets": 4, "memory": tier(), "numa": Cable(bandwidth=5), "switches": 2, "uplink": pcie(generation=5),
        "gpus": 4, "gpu": replace(GPUS, copy_engines=5), "nvlink": "pairs", "nics": 4, "nic": nic(), "ssds": 3,
        "ssd": ssd(capacity="2 GiB"),
    }),
    (cluster(), of_cluster, {
        "racks": 3, "nodes": 3, "node": node(nics=4), "uplink": Cable(bandwidth=5),
    }),
    (Copying(chunk=1000, window=2, staging=3000), of_copying, {"chunk": 500, "window": 1, "staging": 1000}),
]  # fmt: skip
TURNED = [
    pytest.param(base, see, key, other, id=f"{type(base).__name__}-{number}.{key}")
    for number, (base, see, others) in enumerate(KNOBS)
    for key, other in others.items()
]


@pytest.mark.parametrize(("base", "see", "key", "other"), TURNED)
def test_turning_it_changes_something(base: Any, see: Callable[[Any], Any], key: str, other: Any) -> None:
    assert see(replace(base, **{key: other})) != see(base)


@pytest.mark.parametrize("key", [item.name for item, _, _ in params(Compute)])
def test_each_type_has_its_peak(key: str) -> None:
    gpu = replace(GPUS, compute=Compute(**{key: 10**12}))
    assert gpu.kernel(key, 10**12, 1) == 10**12
    other = "fp64" if key != "fp64" else "fp8"
    with pytest.raises(StudyError, match=f"this GPU has no figure for '{other}'; it has: {key}"):
        gpu.kernel(other, 1, 1)


def test_the_roofline() -> None:
    """312 T a second and 1 TB/s: 312 operations a byte are the ridge."""
    assert GPUS.kernel("fp16", 312 * 10**9, 10**9) == 10**9
    assert GPUS.kernel("fp16", 311 * 10**9, 10**9) == 10**9
    assert GPUS.kernel("fp16", 624 * 10**9, 10**9) == 2 * 10**9


def test_no_knob_is_left_out() -> None:
    turned: dict[type, set[str]] = {}
    for base, _, others in KNOBS:
        turned.setdefault(type(base), set()).update(others)
    for cls, keys in turned.items():
        missing = {item.name for item, _, _ in params(cls)} - keys
        assert missing <= {"pcie"}, (cls.__name__, missing)  # an adapter's own connection is that of its node
