"""Topologies: routes, transfers in chunks, nodes and clusters."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiersim._base.errors import StudyError
from tiersim.models.links.cable import Cable
from tiersim.models.links.pcie import Port
from tiersim.models.node import Cluster, Hardware, Node, cluster_graph, node_graph
from tiersim.models.topology import FORWARDS, Topology, chunks, connect, place
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock

PCIE = {"generation": 4, "latency": "300 ns"}
TIER = {"capacity": "1 GiB", "bandwidth": "100 GB/s"}
GPU = {
    "memory": TIER | {"bandwidth": "1 TB/s"}, "l2": "40 MiB", "compute": {"fp16": "312T"}, "copy_engines": 2,
    "pcie": PCIE, "nvlink": {"generation": 3, "links": 12, "latency": "200 ns"},
}  # fmt: skip
NIC = {"bandwidth": "200 Gb/s", "messages": "200M /s", "latency": "600 ns", "pcie": PCIE}
NODE = {
    "sockets": 2, "memory": TIER, "numa": {"bandwidth": "40 GB/s", "latency": "60 ns"}, "switches": 4,
    "uplink": PCIE, "gpus": 8, "gpu": GPU, "nvlink": "switch", "nics": 8, "nic": NIC,
}  # fmt: skip


def node(**said: Any) -> Node:
    return TypeAdapter(Node).validate_python(NODE | said)


def cable(latency: int, bandwidth: int = 10**9) -> Cable:
    return Cable(bandwidth=bandwidth, latency=latency)


def line(*hops: tuple[int, int]) -> tuple[Clock, Topology]:
    """Places a, b, c ... in a row, by latency and bandwidth."""
    graph = nx.Graph()
    names = [place(graph, chr(97 + k), "switch") for k in range(len(hops) + 1)]
    for (latency, bandwidth), first, second in zip(hops, names, names[1:]):
        connect(graph, first, second, cable(latency, bandwidth))
    clock = Clock()
    return clock, Topology(clock, graph)


# --- routes

EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=12)
KINDS = st.lists(st.sampled_from(["switch", "gpu"]), min_size=6, max_size=6)


@given(EDGES, KINDS)
@settings(deadline=None)
def test_routes_against_all_ways(edges: list[tuple[int, int, int]], kinds: list[str]) -> None:
    """Of all simple ways through what forwards, that of the least latency, and of these the first by name."""
    graph = nx.Graph()
    for k, kind in enumerate(kinds):
        place(graph, f"n{k}", kind)
    for first, second, latency in edges:
        if first != second and not graph.has_edge(f"n{first}", f"n{second}"):
            connect(graph, f"n{first}", f"n{second}", cable(latency))
    topology = Topology(Clock(), graph)
    names = sorted(graph)
    for start in names:
        for end in names:
            ways = []
            for count in range(len(names) - 1):
                for between in permutations([n for n in names if n not in (start, end)], count):
                    way = (start, *between, end) if start != end else (start,)
                    steps = list(pairwise(way))
                    forward = all(graph.nodes[name]["kind"] in FORWARDS for name in between)
                    if forward and all(graph.has_edge(*step) for step in steps):
                        ways.append((sum(graph.edges[step]["latency"] for step in steps), way))
            if ways:
                assert topology.route(start, end).places == min(ways)[1]
            else:
                with pytest.raises(StudyError, match=f"no way leads from '{start}' to '{end}'"):
                    topology.route(start, end)


def test_a_missing_way_says_what_there_is() -> None:
    graph = nx.Graph()
    for name, kind in (("cpu", "cpu"), ("gpu0", "gpu"), ("gpu1", "gpu"), ("alone", "gpu")):
        place(graph, name, kind)
    connect(graph, "cpu", "gpu0", cable(1))
    connect(graph, "gpu0", "gpu1", cable(1))
    topology = Topology(Clock(), graph)
    with pytest.raises(StudyError, match=r"no way leads from 'cpu' to 'gpu1'; .* ways to: gpu0\n  connect them"):
        topology.route("cpu", "gpu1")  # a GPU passes nothing on
    with pytest.raises(StudyError, match="from 'alone' there are ways to: nothing"):
        topology.route("alone", "cpu")
    with pytest.raises(StudyError, match="no place is called 'gpu2'; did you mean 'gpu"):
        topology.route("cpu", "gpu2")
    assert topology.route("gpu1", "gpu0").places == ("gpu1", "gpu0")


def test_a_graph_says_what_it_cannot_be() -> None:
    graph = nx.Graph()
    place(graph, "a", "cpu")
    place(graph, "b", "cpu")
    connect(graph, "a", "b", cable(1))
    with pytest.raises(StudyError, match="'a' and 'b' are connected already"):
        connect(graph, "a", "b", cable(1))
    with pytest.raises(StudyError, match="two places are called 'a'"):
        place(graph, "a", "gpu")
    with pytest.raises(StudyError, match="no place is a 'tpu'"):
        place(graph, "c", "tpu")
    with pytest.raises(nx.NetworkXError, match="rozen graph"):
        Topology(Clock(), graph).graph.add_node("c")


# --- transfers


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 9).map(lambda n: n * 10**9)), min_size=1, max_size=4),
    st.integers(0, 3000),
    st.integers(1, 1000),
)
@settings(deadline=None)
def test_a_transfer_alone_takes_its_closed_form(hops: list[tuple[int, int]], size: int, chunk: int) -> None:
    clock, topology = line(*hops)
    route = topology.route("a", chr(97 + len(hops)))
    event = topology.transfer(route, size, chunk)
    clock.run()
    topology.audit()
    assert event.value == clock.now == route.alone(size, chunk)
    assert sum(link.size for link in topology.links()) == size * len(hops)


def test_equal_chunks_are_paced_by_the_slowest_hop() -> None:
    """Ten chunks of 1,000 B over 1, 0.5 and 2 GB/s: 1 + 2 + 0.5 us for the first, then 2 us each; latencies once."""
    _, topology = line((100, 10**9), (200, 5 * 10**8), (300, 2 * 10**9))
    right = (1_000_000 + 2_000_000 + 500_000) + 9 * 2_000_000 + 600
    assert topology.route("a", "d").alone(10_000, 1000) == right
    assert topology.route("a", "d").alone(10_000, 10_000) == 35_000_000 + 600  # one chunk: all of it at each hop


def test_two_transfers_share_the_hop_that_they_share() -> None:
    """Both need c: 1 MB each at 1 GB/s is 2 ms, to a chunk's time; who goes the other way is not slowed."""
    graph = nx.Graph()
    for name in "abcd":
        place(graph, name, "switch")
    for first, second in (("a", "c"), ("b", "c"), ("c", "d")):
        connect(graph, first, second, cable(0, 10**9))
    clock, blocked = Clock(), Blocked()
    topology = Topology(clock, graph, blocked=blocked)
    ends: dict[str, int] = {}
    for start, end in (("a", "d"), ("b", "d"), ("d", "a")):
        event = topology.transfer(topology.route(start, end), 10**6, 1000, owner=start)
        event.callbacks.append(lambda event, start=start: ends.update({start: event.value}))
    clock.run()
    topology.audit()
    assert ends["a"] == ends["b"] == pytest.approx(2 * 10**9, rel=2e-3)
    assert ends["d"] == pytest.approx(10**9, rel=2e-3)
    assert blocked.of("a") == pytest.approx(10**9, rel=2e-3)


TRANSFERS = st.lists(
    st.tuples(st.integers(0, 10**7), st.sampled_from("abcd"), st.sampled_from("abcd"), st.integers(0, 5000)),
    min_size=1,
    max_size=8,
)


@given(TRANSFERS, st.integers(100, 2000))
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_and_nothing_is_faster_than_alone(jobs: Any, chunk: int) -> None:
    clock, topology = line((100, 10**9), (200, 5 * 10**8), (300, 2 * 10**9))
    took: dict[int, int] = {}

    def come(k: int) -> None:
        _, start, end, size = jobs[k]
        event = topology.transfer(topology.route(start, end), size, chunk)
        event.callbacks.append(lambda event: took.update({k: event.value}))

    for k, (at, *_) in enumerate(jobs):
        clock.after(at, lambda _, k=k: come(k))
    clock.run()
    topology.audit()
    assert len(took) == len(jobs)
    for k, (_, start, end, size) in enumerate(jobs):
        assert took[k] >= topology.route(start, end).alone(size, chunk)
    crossed = sum(size * abs(ord(start) - ord(end)) for _, start, end, size in jobs)
    assert sum(link.size for link in topology.links()) == crossed


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_chunks_add_up(size: int, chunk: int) -> None:
    if size // chunk > 10_000:
        chunk = size
    made = chunks(size, chunk)
    assert sum(made) == size
    assert all(0 < part <= chunk for part in made) or made == [0]


def test_what_is_no_transfer() -> None:
    _, topology = line((0, 1))
    with pytest.raises(ValueError, match="a chunk must be at least 1"):
        topology.transfer(topology.route("a", "b"), 1, 0)
    with pytest.raises(ValueError, match="bytes of a transfer must be at least 0"):
        topology.transfer(topology.route("a", "b"), -1, 1)


# --- nodes and clusters


def test_a_node_is_connected_as_it_says() -> None:
    graph = node_graph(node())
    kinds = [held["kind"] for _, held in graph.nodes(data=True)]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"cpu": 2, "switch": 5, "gpu": 8, "nic": 8}
    topology = Topology(Clock(), graph)
    way = lambda *places: topology.route(*(f"node0/{name}" for name in places)).places  # noqa: E731
    assert way("cpu0", "gpu0") == ("node0/cpu0", "node0/switch0", "node0/gpu0")
    assert way("cpu0", "gpu7") == ("node0/cpu0", "node0/cpu1", "node0/switch3", "node0/gpu7")
    assert way("gpu0", "gpu7") == ("node0/gpu0", "node0/nvswitch", "node0/gpu7")
    assert way("gpu1", "nic1") == ("node0/gpu1", "node0/switch0", "node0/nic1")
    assert way("gpu0", "cpu1", "gpu4")[2:4] == ("node0/cpu0", "node0/cpu1")  # through a place that one names


def test_without_a_switch_of_nvlinks_gpus_meet_over_pcie_or_in_pairs() -> None:
    plain = Topology(Clock(), node_graph(node(nvlink="none")))
    assert plain.route("node0/gpu0", "node0/gpu1").places[1] == "node0/switch0"
    pairs = Topology(Clock(), node_graph(node(nvlink="pairs")))
    assert len(pairs.route("node0/gpu2", "node0/gpu3").hops) == 1
    assert pairs.route("node0/gpu1", "node0/gpu2").places[1:-1] == (
        "node0/switch0", "node0/cpu0", "node0/switch1",
    )  # fmt: skip


def test_who_reads_and_who_writes() -> None:
    """A GPU reads what comes from the processor's memory; what a GPU sends, or an adapter, is written."""
    topology = Topology(Clock(), node_graph(node(nvlink="none")))
    assert [hop.posted for hop in topology.route("node0/cpu0", "node0/gpu0").hops] == [False, False]
    assert [hop.posted for hop in topology.route("node0/gpu0", "node0/gpu1").hops] == [True, True]
    down = topology.route("node0/cpu0", "node0/gpu0").hops[0]
    assert isinstance(down.pair, Port)
    assert down.forth
    assert down.pair.there.name == "node0/cpu0 to switch0"


@pytest.mark.parametrize(
    ("said", "key", "message"),
    [
        ({"numa": None}, ("numa",), "several sockets must say what `numa` is"),
        ({"uplink": None}, ("uplink",), "switches must say what `uplink` is"),
        ({"gpu": None, "nvlink": "none"}, ("gpu",), "GPUs must say what `gpu` is"),
        ({"nic": None}, ("nic",), "network ports must say what `nic` is"),
        ({"ssds": 1}, ("ssd",), "drives must say what `ssd` is"),
        ({"gpu": {**GPU, "nvlink": None}}, ("nvlink",), "the GPU of the node has none"),
        ({"gpus": 7, "nvlink": "pairs"}, ("gpus",), "7 GPUs cannot be bridged in pairs"),
    ],
)
def test_what_no_node_can_be(said: dict[str, Any], key: tuple[str, ...], message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        node_graph(node(**said))
    assert caught.value.path == key


def cluster(**said: Any) -> Cluster:
    base = {"racks": 2, "nodes": 2, "node": NODE, "uplink": {"bandwidth": "1600 Gb/s", "latency": "300 ns"}}
    return TypeAdapter(Cluster).validate_python(base | said)


def test_a_cluster_reaches_over_its_switches() -> None:
    hardware = Hardware(Clock(), cluster())
    near = hardware.topology.route("node0/gpu0", "node1/gpu0").places
    assert near == (
        "node0/gpu0", "node0/switch0", "node0/nic0", "rack0/switch", "node1/nic0", "node1/switch0", "node1/gpu0",
    )  # fmt: skip
    assert "spine" in hardware.topology.route("node0/gpu0", "node3/gpu5").places
    assert len(hardware.tiers) == 4 * (2 + 8)
    remote = hardware.tiers["node3/cpu1"]
    route = hardware.topology.route("node0/gpu0", remote.place)
    event = hardware.topology.transfer(route, 10**8, 1 << 20)
    hardware.clock.run()
    hardware.audit()
    assert event.value == route.alone(10**8, 1 << 20)
    assert 10**8 / event.value * 1000 == pytest.approx(25, rel=0.05)  # GB/s: the adapters are the slowest


@pytest.mark.parametrize(
    ("said", "key", "message"),
    [
        ({"uplink": None}, ("uplink",), "several racks must say what `uplink` is"),
        ({"node": {**NODE, "nics": 0}}, ("node", "nics"), "without network ports make no cluster"),
    ],
)
def test_what_no_cluster_can_be(said: dict[str, Any], key: tuple[str, ...], message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        cluster_graph(cluster(**said))
    assert caught.value.path == key
