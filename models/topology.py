"""Places and the connections between them: a node, a rack, a cluster; the ways through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any, Final, Protocol

import networkx as nx
from simpy.events import Event

from tiersim._base.errors import StudyError
from tiersim._base.registry import nearest
from tiersim.models.links.duplex import Duplex
from tiersim.models.pipeline import Pipeline, Stage
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.station import whole
from tiersim.sim.queued.timeline import Timeline

__all__ = ["FORWARDS", "KINDS", "Connection", "Hop", "Route", "Topology", "connect", "place"]

KINDS: Final = ("cpu", "gpu", "nic", "ssd", "switch")
FORWARDS: Final = frozenset({"cpu", "nic", "switch"})  # what passes on what is not for it
DEVICES: Final = frozenset({"gpu", "nic", "ssd"})  # what writes into memory itself


class Connection(Protocol):
    """What an edge of the graph is made of: PCI Express, NVLink, an adapter, a cable."""

    @property
    def latency(self) -> int:
        """One way, in picoseconds."""

    def connect(
        self, clock: Clock, names: tuple[str, str], timeline: Timeline | None = None, blocked: Blocked | None = None
    ) -> Duplex:
        """The connection at work."""


def place(graph: nx.Graph, name: str, kind: str) -> str:
    """Add a place of a kind to a graph; its name. Raises StudyError for a name that is there."""
    if name in graph:
        raise StudyError(f"two places are called {name!r}")
    if kind not in KINDS:
        raise StudyError(f"no place is a {kind!r}; there are: {', '.join(KINDS)}")
    graph.add_node(name, kind=kind)
    return name


def connect(graph: nx.Graph, first: str, second: str, connection: Connection) -> None:
    """Connect two places of a graph.

    ``first`` is the side of the host where the connection tells its ends apart, and the node's where it is an adapter.
    Raises StudyError for places that are not there or connected already.
    """
    for name in (first, second):
        _known(graph, name)
    if graph.has_edge(first, second):
        raise StudyError(f"{first!r} and {second!r} are connected already")
    graph.add_edge(first, second, connection=connection, first=first, latency=connection.latency)


def _known(graph: nx.Graph, name: str) -> None:
    if name not in graph:
        hint = nearest(name, graph) or f"there are: {', '.join(sorted(graph)[:12])}"
        raise StudyError(f"no place is called {name!r}; {hint}")


@dataclass(frozen=True)
class Hop:
    """One connection of a route, and the way through it."""

    pair: Duplex
    forth: bool
    posted: bool

    @property
    def latency(self) -> int:
        """From the last byte sent to the last arrived, in picoseconds."""
        return self.pair.link(self.forth).latency

    def occupied(self, size: int) -> int:
        """How long so many bytes occupy it, where nobody else is."""
        return self.pair.occupied(size, self.forth, posted=self.posted)

    def stage(self, weight: int, owner: str) -> Stage:
        """The hop as a stage of a pipeline."""

        def send(size: int, sent: Event) -> Event:
            return self.pair.send(size, self.forth, weight=weight, owner=owner, sent=sent, posted=self.posted)

        return Stage(send)


@dataclass(frozen=True)
class Route:
    """A way from place to place."""

    places: tuple[str, ...]
    hops: tuple[Hop, ...]

    @property
    def latency(self) -> int:
        """Of all hops, in picoseconds."""
        return sum(hop.latency for hop in self.hops)

    def alone(self, size: int, chunk: int) -> int:
        """How long a transfer takes in chunks of this size that meets nobody, in picoseconds.

        A chunk enters a hop when it has arrived there and the one before has left.
        """
        left = [0] * len(self.hops)  # when each hop is free
        arrived = 0
        for part in chunks(size, chunk):
            arrived = 0
            for k, hop in enumerate(self.hops):
                left[k] = max(left[k], arrived) + hop.occupied(part)
                arrived = left[k] + hop.latency
        return arrived


class Topology:
    """A graph at work: a link for each direction of each connection.

    The graph is frozen: routes are those of the least latency, of these the first by the names of their places, and
    never change. Only processors, switches and adapters pass on what is not for them.
    """

    def __init__(
        self,
        clock: Clock,
        graph: nx.Graph,
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        self.clock = clock
        self.graph = nx.freeze(graph.copy())
        self.pairs: dict[frozenset[str], tuple[str, Duplex]] = {}
        for first, second, held in sorted(self.graph.edges(data=True), key=lambda edge: sorted(edge[:2])):
            one = held["first"]
            other = second if one == first else first
            names = (_track(one, other), _track(other, one))
            pair = held["connection"].connect(clock, names, timeline, blocked)
            self.pairs[frozenset((one, other))] = (one, pair)
        self._ways: dict[str, dict[str, tuple[str, ...]]] = {}

    def route(self, *places: str) -> Route:
        """The way from the first of these places to the last, through those between in their order.

        Raises StudyError for a place that is not there, and where no way leads.
        """
        for name in places:
            _known(self.graph, name)
        whole_way: tuple[str, ...] = places[:1]
        for start, end in pairwise(places):
            way = self._from(start).get(end)
            if way is None:
                near = sorted(self._from(start).keys() - {start})
                reached = ", ".join(near[:12]) if near else "nothing"
                raise StudyError(
                    f"no way leads from {start!r} to {end!r}; from {start!r} there are ways to: {reached}",
                    None,
                    "connect them, directly or over processors, switches and adapters: nothing else passes data on",
                )
            whole_way += way[1:]
        hops = []
        device = False
        for start, end in pairwise(whole_way):
            device = device or self.graph.nodes[start]["kind"] in DEVICES
            first, pair = self.pairs[frozenset((start, end))]
            hops.append(Hop(pair, start == first, device))
        return Route(whole_way, tuple(hops))

    def _from(self, start: str) -> dict[str, tuple[str, ...]]:
        """The ways from a place: Dijkstra's algorithm over (latency, names)."""
        if start in self._ways:
            return self._ways[start]
        found: dict[str, tuple[str, ...]] = {}
        heap: list[tuple[int, tuple[str, ...]]] = [(0, (start,))]
        while heap:
            latency, way = heappop(heap)
            last = way[-1]
            if last in found:
                continue
            found[last] = way
            if last != start and self.graph.nodes[last]["kind"] not in FORWARDS:
                continue
            for name, held in self.graph[last].items():
                if name not in found:
                    heappush(heap, (latency + held["latency"], (*way, name)))
        self._ways[start] = found
        return found

    def transfer(self, route: Route, size: int, chunk: int, *, weight: int = 1, owner: str = "") -> Event:
        """An event for when so many bytes have arrived at the end of a route, in chunks; its value is how long it took.

        Raises ValueError for negative bytes and chunks without any.
        """
        whole(size, "bytes of a transfer")
        whole(chunk, "a chunk", 1)
        begun, left = self.clock.now, size
        done = Event(self.clock)

        def arrived(part: int) -> None:
            nonlocal left
            left -= part
            if not left:
                done.succeed(self.clock.now - begun)

        pipeline = Pipeline(self.clock, [hop.stage(weight, owner) for hop in route.hops], arrived)
        for part in chunks(size, chunk):
            pipeline.push(part)
        return done

    def audit(self) -> None:
        """Raise AuditError when the books of a link do not balance."""
        for _, pair in self.pairs.values():
            pair.audit()

    def links(self) -> Iterable[Any]:
        """All links, both directions of each connection."""
        for _, pair in self.pairs.values():
            yield pair.there
            yield pair.back


def chunks(size: int, chunk: int) -> Sequence[int]:
    """The sizes of the chunks of so many bytes: full ones, and the rest; one without bytes of nothing."""
    full, rest = divmod(size, chunk)
    return [chunk] * full + ([rest] if rest or not full else [])


def _track(start: str, end: str) -> str:
    """The name of a direction, with what both have in common in front: ``node0/gpu1 to switch0``."""
    one, other = start.rpartition("/"), end.rpartition("/")
    if one[0] == other[0]:
        return f"{one[0]}{one[1]}{one[2]} to {other[2]}"
    return f"{start.replace('/', '.')} to {end.replace('/', '.')}"
