"""The copy engines of a device: how many copies it does at a time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from tiersim.models.links.duplex import Duplex
from tiersim.models.pool import Pool

__all__ = ["CopyEngines"]


class CopyEngines(Pool):
    """Engines that copy, each one thing at a time; who finds none free waits, by priority."""

    def copy(
        self,
        connection: Duplex,
        size: int,
        forth: bool = True,
        *,
        priority: int = 0,
        weight: int = 1,
        owner: str = "",
    ) -> Event:
        """An event for when so many bytes have been copied over a connection; its value is how long that took.

        An engine is held until the last byte is sent.
        """
        return self.clock.process(self._copy(connection, size, forth, priority, weight, owner))

    def _copy(
        self, connection: Duplex, size: int, forth: bool, priority: int, weight: int, owner: str
    ) -> Generator[Event, Any, int]:
        begun = self.clock.now
        yield self.take(1, priority, owner)
        sent = Event(self.clock)
        arrived = connection.send(size, forth, weight=weight, owner=owner, sent=sent)
        yield sent
        self.give(1, owner)
        yield arrived
        return self.clock.now - begun
