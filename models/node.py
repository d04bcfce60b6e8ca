"""Nodes and clusters of them: what is in them, how it is connected, and all of it at work."""

from __future__ import annotations

from typing import Annotated, Literal

import networkx as nx

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim.models.gpu import Gpu
from tiersim.models.links.cable import Cable
from tiersim.models.links.copy_engines import CopyEngines
from tiersim.models.links.nic import Nic
from tiersim.models.links.pcie import Pcie
from tiersim.models.ssd import Drive, Ssd
from tiersim.models.tiers import DriveTier, MemoryTier, Tier
from tiersim.models.topology import Topology, connect, place
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Cluster", "Hardware", "Node", "cluster_graph", "node_graph"]


@config
class Node:
    """A node: sockets with memory, and what is plugged into them; devices are dealt out evenly, in their order."""

    sockets: Annotated[int, Param("processors, each with its memory (NUMA nodes)", ge=1, le=16)] = 1
    memory: Annotated[Tier, Param("DRAM of one socket")]
    numa: Annotated[Cable | None, Param("between any two sockets; needed where there are several")] = None
    switches: Annotated[
        int, Param("PCI Express switches, of all sockets together; 0: devices at the sockets", ge=0)
    ] = 0
    uplink: Annotated[Pcie | None, Param("from a switch to its socket; needed where there are switches")] = None
    gpus: Annotated[int, Param("GPUs", ge=0)] = 0
    gpu: Annotated[Gpu | None, Param("what a GPU is")] = None
    nvlink: Annotated[
        Literal["none", "switch", "pairs"],
        Param("how NVLinks go: not at all, all GPUs to a switch (NVSwitch), or GPU 0 to 1, 2 to 3 and so on (bridges)"),
    ] = "none"
    nics: Annotated[int, Param("network ports", ge=0)] = 0
    nic: Annotated[Nic | None, Param("what a network port is")] = None
    ssds: Annotated[int, Param("flash drives", ge=0)] = 0
    ssd: Annotated[Ssd | None, Param("what a flash drive is")] = None


@config
class Cluster:
    """Racks of equal nodes: the ports of a rack's nodes at its switch, and the switches of racks at one above."""

    racks: Annotated[int, Param("racks", ge=1)] = 1
    nodes: Annotated[int, Param("nodes of a rack", ge=1)]
    node: Annotated[Node, Param("what a node is")]
    uplink: Annotated[Cable | None, Param("from the switch of a rack up; needed where there are several racks")] = None


def node_graph(node: Node, name: str = "node0") -> nx.Graph:
    """The graph of a node: places ``NAME/cpu0``, ``NAME/gpu3``, ``NAME/switch1`` and so on.

    Raises StudyError for a node that says how many of something and not what.
    """
    graph = nx.Graph()
    for count, said, key, what in (
        (node.sockets - 1, node.numa, "numa", "several sockets"),
        (node.switches, node.uplink, "uplink", "switches"),
        (node.gpus, node.gpu, "gpu", "GPUs"),
        (node.nics, node.nic, "nic", "network ports"),
        (node.ssds, node.ssd, "ssd", "drives"),
    ):
        if count and said is None:
            raise _wrong(key, f"a node with {what} must say what `{key}` is")
    sockets = [place(graph, f"{name}/cpu{k}", "cpu") for k in range(node.sockets)]
    if node.numa is not None:
        for k, first in enumerate(sockets):
            for second in sockets[k + 1 :]:
                connect(graph, first, second, node.numa)
    roots = sockets
    if node.uplink is not None:
        roots = [place(graph, f"{name}/switch{k}", "switch") for k in range(node.switches)] or sockets
        for k in range(node.switches):
            connect(graph, sockets[k * node.sockets // node.switches], roots[k], node.uplink)
    for kind, count, device in (
        ("gpu", node.gpus, node.gpu),
        ("nic", node.nics, node.nic),
        ("ssd", node.ssds, node.ssd),
    ):
        for k in range(count):
            assert device is not None
            connect(graph, roots[k * len(roots) // count], place(graph, f"{name}/{kind}{k}", kind), device.pcie)
    _nvlinks(graph, node, name)
    return graph


def _nvlinks(graph: nx.Graph, node: Node, name: str) -> None:
    if node.nvlink == "none":
        return
    if node.gpu is None or node.gpu.nvlink is None:
        raise _wrong("nvlink", f"NVLinks are connected in a {node.nvlink!r}, and the GPU of the node has none")
    if node.nvlink == "switch":
        switch = place(graph, f"{name}/nvswitch", "switch")
        for k in range(node.gpus):
            connect(graph, f"{name}/gpu{k}", switch, node.gpu.nvlink)
        return
    if node.gpus % 2:
        raise _wrong("gpus", f"{node.gpus} GPUs cannot be bridged in pairs")
    for k in range(0, node.gpus, 2):
        connect(graph, f"{name}/gpu{k}", f"{name}/gpu{k + 1}", node.gpu.nvlink)


def cluster_graph(cluster: Cluster) -> nx.Graph:
    """The graph of a cluster: nodes ``node0`` and on, switches ``rack0/switch`` and on, and ``spine`` above them.

    Raises StudyError where a cluster cannot be connected.
    """
    node = cluster.node
    if cluster.racks * cluster.nodes > 1 and not node.nics:
        error = _wrong("nics", "nodes without network ports make no cluster")
        error.path = ("node", "nics")
        raise error
    if cluster.racks > 1 and cluster.uplink is None:
        raise _wrong("uplink", "a cluster of several racks must say what `uplink` is")
    graph = nx.Graph()
    if cluster.racks > 1:
        place(graph, "spine", "switch")
    for rack in range(cluster.racks):
        switch = place(graph, f"rack{rack}/switch", "switch")
        if cluster.uplink is not None and cluster.racks > 1:
            connect(graph, switch, "spine", cluster.uplink)
        for k in range(rack * cluster.nodes, (rack + 1) * cluster.nodes):
            graph.update(node_graph(node, f"node{k}"))
            for port in range(node.nics):
                assert node.nic is not None
                connect(graph, f"node{k}/nic{port}", switch, node.nic)
    return graph


def _wrong(key: str, message: str) -> StudyError:
    error = StudyError(message)
    error.path = (key,)
    return error


class Hardware:
    """A node or cluster at work: its `topology`, and by place the `tiers` and the copy `engines`.

    A tier is called as its place: ``node0/gpu0`` is the memory of that GPU, ``node0/cpu1`` that of that socket.
    """

    def __init__(
        self,
        clock: Clock,
        spec: Node | Cluster,
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        self.clock = clock
        node = spec.node if isinstance(spec, Cluster) else spec
        graph = cluster_graph(spec) if isinstance(spec, Cluster) else node_graph(spec)
        self.topology = Topology(clock, graph, timeline=timeline, blocked=blocked)
        self.tiers: dict[str, MemoryTier | DriveTier] = {}
        self.engines: dict[str, CopyEngines] = {}
        for name, held in graph.nodes(data=True):
            if held["kind"] == "cpu":
                self.tiers[name] = self._memory(name, node.memory, timeline, blocked)
            elif held["kind"] == "gpu" and node.gpu is not None:
                self.tiers[name] = self._memory(name, node.gpu.memory, timeline, blocked)
                self.engines[name] = CopyEngines(
                    clock, f"{name}/engines", node.gpu.copy_engines, timeline=timeline, blocked=blocked
                )
            elif held["kind"] == "ssd" and node.ssd is not None:
                drive = Drive(clock, f"{name}/drive", node.ssd, timeline=timeline, blocked=blocked)
                self.tiers[name] = DriveTier(drive, name, timeline)

    def _memory(self, name: str, tier: Tier, timeline: Timeline | None, blocked: Blocked | None) -> MemoryTier:
        return MemoryTier(self.clock, f"{name}/memory", tier, name, timeline=timeline, blocked=blocked)

    def audit(self) -> None:
        """Raise AuditError when the books of a part do not balance."""
        self.topology.audit()
        for tier in self.tiers.values():
            tier.audit()
        for engines in self.engines.values():
            engines.audit()
