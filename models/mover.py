"""Copies of objects between tiers: in chunks, by priority, through pinned buffers where that is needed."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Annotated, Any, Literal

from simpy.events import Event

from tiersim._base.errors import AuditError, StudyError
from tiersim._base.params import Param, config
from tiersim.models.pipeline import Pipeline, Stage
from tiersim.models.pool import Pool
from tiersim.models.tiers import Holder
from tiersim.models.topology import Topology
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.slots import Slots
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Copy", "Copying", "Mover"]


@config
class Copying:
    """How objects are copied."""

    chunk: Annotated[
        int, Param("bytes that go as one: who comes with a higher priority waits for one", unit="bytes", ge=1)
    ]
    window: Annotated[
        int, Param("chunks of one copy under way at once, at most; fewer than it has stages leave links idle", ge=1)
    ] = 8
    staging: Annotated[
        int, Param("pinned memory through which copies go that cannot go straight; 0: none", unit="bytes", ge=0)
    ] = 0


class Copy:
    """One copy: who asked, how far it is.

    ``first`` happens when the first chunk is there, ``done`` when all are, or when a copy that was cancelled has
    nothing under way any more; its value is the bytes that have arrived.
    """

    def __init__(
        self, clock: Clock, key: str, size: int, source: Holder, target: Holder, priority: int, owner: str, move: bool
    ) -> None:
        self.key, self.size, self.source, self.target = key, size, source, target
        self.priority, self.owner, self.move = priority, owner, move
        self.state: Literal["running", "done", "cancelled"] = "running"
        self.began = clock.now
        self.arrived = self.dropped = self.under_way = 0  # bytes
        self.cancelling = False
        self.first = Event(clock)
        self.done = Event(clock)


class Mover:
    """Copies objects from tier to tier over a topology, several at once.

    A copy reserves its room in the target, and its chunks go as through a pipeline: read, hop by hop, written. Each
    holds an engine of the GPU at one end, if there is one, while the hop there sends it: the next chunk to get one is
    that of the lowest priority number, so that an urgent copy goes ahead between two chunks of another. A ``staged``
    copy passes through the memory of the ``staging`` tier, where each of its chunks holds its bytes of the pinned
    buffer from before it is read until it is written.
    """

    def __init__(
        self,
        clock: Clock,
        topology: Topology,
        copying: Copying,
        *,
        engines: Mapping[str, Pool] | None = None,
        staging: Holder | None = None,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        self.clock = clock
        self.topology = topology
        self.copying = copying
        self.engines = engines or {}
        self.timeline = timeline
        self.running: list[Copy] = []
        self.pushed = self.arrived = self.dropped = 0  # bytes, of all copies
        self.through = staging
        self.buffers: Pool | None = None
        if copying.staging:
            if staging is None:
                raise StudyError("there is a pinned buffer for staging and no tier that it lies in")
            if copying.staging < copying.chunk:
                error = StudyError(f"a buffer of {copying.staging} B holds no chunk of {copying.chunk} B")
                error.path = ("staging",)
                raise error
            staging.space.put("pinned staging buffer", copying.staging)
            self.buffers = Pool(clock, f"{staging.name} staging", copying.staging, timeline=timeline, blocked=blocked)
        self._pipelines: dict[Copy, Pipeline] = {}

    def copy(
        self,
        key: str,
        source: Holder,
        target: Holder,
        *,
        priority: int = 0,
        weight: int = 1,
        owner: str = "",
        staged: bool = False,
        move: bool = False,
    ) -> Copy:
        """Begin to copy an object; with ``move`` the source gives it up at the end.

        Lower priorities go first between chunks; ``weight`` is the part that a copy has of links that it shares. Raises
        StudyError when the target has no room, there is no way, or no buffer for a copy that is to be staged;
        ValueError when the source does not hold the object whole or the target has it.
        """
        if key not in source.space.whole:
            raise ValueError(f"{source.name} does not hold {key!r} whole")
        stages = self._stages(source, target, weight, owner, staged)
        size = source.space.objects[key]
        target.space.reserve(key, size)
        made = Copy(self.clock, key, size, source, target, priority, owner, move)
        credits = Slots(self.clock, f"window of {key}", self.copying.window)

        def leave(part: int) -> None:
            made.under_way -= part
            credits.give()
            if staged:
                assert self.buffers is not None
                self.buffers.give(part, owner)

        def arrived(part: int) -> None:
            leave(part)
            if not made.arrived:
                made.first.succeed(self.clock.now - made.began)
            made.arrived += part
            self.arrived += part
            self._settle(made)

        def dropped(part: int) -> None:
            leave(part)
            made.dropped += part
            self.dropped += part
            self._settle(made)

        pipeline = Pipeline(self.clock, stages, arrived, dropped, priority=priority, owner=owner)
        self._pipelines[made] = pipeline
        self.running.append(made)
        self.clock.process(self._feed(made, pipeline, credits, self.buffers if staged else None))
        return made

    def cancel(self, copy: Copy) -> None:
        """Stop a copy: chunks that wait are dropped now, one that a link is sending when it has passed that.

        The room in the target is given back, and the source keeps the object. A copy that has ended stays as it is.
        """
        if copy.state != "running" or copy.cancelling:
            return
        copy.cancelling = True
        self._pipelines[copy].stop()
        self._settle(copy)

    def _stages(self, source: Holder, target: Holder, weight: int, owner: str, staged: bool) -> list[Stage]:
        if not staged:
            return self._leg(source, target, weight, owner)
        if self.buffers is None or self.through is None:
            raise StudyError(
                f"a copy from {source.name} to {target.name} is to be staged, and there is no pinned buffer",
                None,
                "say how large `staging` is",
            )
        return self._leg(source, self.through, weight, owner) + self._leg(self.through, target, weight, owner)

    def _leg(self, source: Holder, target: Holder, weight: int, owner: str) -> list[Stage]:
        """Read, hop by hop, written; a gate where the engine of a GPU is at work."""

        def read(size: int, sent: Event) -> Event:
            return source.read(size, weight=weight, owner=owner, sent=sent)

        def write(size: int, sent: Event) -> Event:
            return target.write(size, weight=weight, owner=owner, sent=sent)

        hops = [hop.stage(weight, owner) for hop in self.topology.route(source.place, target.place).hops]
        stages = [Stage(read), *hops, Stage(write)]
        if source.place in self.engines:
            at = 1 if hops else 0
            stages[at] = Stage(stages[at].send, self.engines[source.place])
        elif target.place in self.engines:
            stages[-2] = Stage(stages[-2].send, self.engines[target.place])
        return stages

    def _feed(
        self, copy: Copy, pipeline: Pipeline, credits: Slots, buffers: Pool | None
    ) -> Generator[Event, Any, None]:
        left = copy.size
        while left:
            part = min(left, self.copying.chunk)
            yield credits.take()
            if buffers is not None and not copy.cancelling:
                yield buffers.take(part, copy.priority, copy.owner)
                if copy.cancelling:
                    buffers.give(part, copy.owner)
            if copy.cancelling:
                return
            left -= part
            copy.under_way += part
            self.pushed += part
            pipeline.push(part)
        if not copy.size:
            yield self.clock.timeout(0)
            copy.first.succeed(0)
            self._settle(copy)

    def _settle(self, copy: Copy) -> None:
        """End a copy that has nothing to do any more."""
        if copy.state != "running" or copy.under_way or not (copy.cancelling or copy.arrived == copy.size):
            return
        copy.state = "done" if copy.arrived == copy.size else "cancelled"
        if copy.state == "cancelled":
            copy.target.space.release(copy.key)
        else:
            if copy.key not in copy.source.space.whole:
                raise AuditError(f"{copy.key!r} left {copy.source.name} while it was copied to {copy.target.name}")
            copy.target.space.complete(copy.key)
            if copy.move:
                copy.source.space.release(copy.key)
        self.running.remove(copy)
        del self._pipelines[copy]
        if self.timeline is not None:
            said = {"bytes": copy.arrived, "from": copy.source.name, "to": copy.target.name, "state": copy.state}
            self.timeline.span(f"mover/{copy.owner or 'copies'}", copy.key, copy.began, self.clock.now, said)
        copy.done.succeed(copy.arrived)

    def audit(self) -> None:
        """Raise AuditError when bytes are lost, or the pinned buffer is held by nobody who is under way."""
        under_way = sum(copy.under_way for copy in self.running)
        if self.pushed != self.arrived + self.dropped + under_way:
            raise AuditError(
                f"of {self.pushed} bytes {self.arrived} arrived, {self.dropped} were dropped, {under_way} are under way"
            )
        if self.buffers is not None:
            self.buffers.audit()
            if not self.running and self.buffers.used.level:
                raise AuditError(f"{self.buffers.name}: {self.buffers.used.level} bytes are held, and no copy runs")
