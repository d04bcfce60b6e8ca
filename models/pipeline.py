"""Chunks on their way through stages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simpy.events import Event

from tiersim.models.pool import Pool
from tiersim.sim.queued.clock import Clock

__all__ = ["Pipeline", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One stage: ``send`` takes bytes and an event for when the last of them is sent, and gives that of their arrival.

    Where there is a ``gate`` a chunk holds one of its slots from before it begins until it is sent.
    """

    send: Callable[[int, Event], Event]
    gate: Pool | None = None


class Pipeline:
    """A row of stages that chunks pass one after the other, each whole before it goes on (store and forward).

    A stage takes the next chunk when the last byte of the one before is sent; chunks stay in order. ``arrived`` is
    called with the size of each that has passed all stages, ``dropped`` with those that `stop` has caught.
    """

    def __init__(
        self,
        clock: Clock,
        stages: Sequence[Stage],
        arrived: Callable[[int], None],
        dropped: Callable[[int], None] = lambda size: None,
        *,
        priority: int = 0,
        owner: str = "",
    ) -> None:
        self.clock = clock
        self.stages = stages
        self.priority = priority
        self.owner = owner
        self.stopped = False
        self._arrived, self._dropped = arrived, dropped
        self._waiting: list[deque[int]] = [deque() for _ in stages]
        self._busy = [False] * len(stages)

    def push(self, size: int) -> None:
        """Let a chunk come to the first stage. Raises ValueError after `stop`."""
        if self.stopped:
            raise ValueError("a pipeline that was stopped takes no more chunks")
        self._come(size, 0)

    def stop(self) -> None:
        """Drop the chunks that wait, now, and those in the midst of a stage when they have passed it."""
        self.stopped = True
        for waiting in self._waiting:
            while waiting:
                self._dropped(waiting.popleft())

    def _come(self, size: int, at: int) -> None:
        if at == len(self.stages):
            self._arrived(size)
        elif self.stopped:
            self._dropped(size)
        else:
            self._waiting[at].append(size)
            self._next(at)

    def _next(self, at: int) -> None:
        if self._busy[at] or not self._waiting[at]:
            return
        self._busy[at] = True
        gate = self.stages[at].gate
        if gate is None:
            self._send(at)
            return
        turn = gate.take(1, self.priority, self.owner)
        assert turn.callbacks is not None
        turn.callbacks.append(lambda _: self._send(at))

    def _send(self, at: int) -> None:
        stage = self.stages[at]
        if self.stopped:  # while it waited for its turn
            assert stage.gate is not None
            stage.gate.give(1, self.owner)
            return
        size = self._waiting[at].popleft()
        sent = Event(self.clock)

        def free(_: Event) -> None:
            self._busy[at] = False
            self._next(at)  # before the slot goes back: else a lower priority that waits would get it
            if stage.gate is not None:
                stage.gate.give(1, self.owner)

        def onward(_: Event) -> None:
            self._come(size, at + 1)

        assert sent.callbacks is not None
        sent.callbacks.append(free)
        done = stage.send(size, sent)
        assert done.callbacks is not None
        done.callbacks.append(onward)
