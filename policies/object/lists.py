"""Doubly linked lists, for policies that need neighbours: most are better served by `queues`.

A list is a ring through a sentinel row. ``link`` has two words a row: the next newer row and the next older one, so
that ``link[2 * head + 1]`` is the newest of a list and ``link[2 * head]`` the oldest. Rows 0 .. objects - 1 are
the objects, the sentinels come after them. A row that is in no list holds -1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiersim.policies.object.contract import Words

__all__ = ["oldest", "push", "rings", "unlink"]


def rings(objects: int, lists: int) -> NDArray[np.int32]:
    """The ``link`` array of so many objects and empty lists; list k has the sentinel objects + k."""
    link = np.full(2 * (objects + lists), -1, np.int32)
    for head in range(objects, objects + lists):
        link[2 * head] = link[2 * head + 1] = head
    return link


def push(link: Words, head: int, x: int) -> None:
    """Put x into a list as its newest."""
    before = link[2 * head + 1]
    link[2 * x] = head
    link[2 * x + 1] = before
    link[2 * before] = x
    link[2 * head + 1] = x


def unlink(link: Words, x: int) -> None:
    """Take x out of the list that it is in; its own row is left as it was."""
    newer = link[2 * x]
    older = link[2 * x + 1]
    link[2 * older] = newer
    link[2 * newer + 1] = older


def oldest(link: Words, head: int) -> int:
    """The oldest object of a list, or its head when it is empty."""
    return link[2 * head]
