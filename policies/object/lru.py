"""Least recently used."""

from __future__ import annotations

from typing import ClassVar

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words, oldest, push, rings, unlink


@register(
    "lru", family="object-replacement", paper="Mattson et al., IBM Systems Journal 9(2), 1970, doi:10.1147/sj.92.0078"
)
class Lru:
    """Evicts the object that was asked for longest ago."""

    stack: ClassVar[bool] = True

    @staticmethod
    def state(objects: int) -> State:
        return {"link": rings(objects, 1)}

    @staticmethod
    def lookup(link: Words, x: int) -> bool:
        return link[2 * x] >= 0

    @staticmethod
    def touch(link: Words, objects: int, x: int) -> None:
        if link[2 * x] != objects:  # the newest is where it should be
            unlink(link, x)
            push(link, objects, x)

    @staticmethod
    def insert(link: Words, objects: int, x: int) -> None:
        push(link, objects, x)

    @staticmethod
    def victim(link: Words, objects: int) -> int:
        return oldest(link, objects)

    @staticmethod
    def remove(link: Words, x: int) -> None:
        unlink(link, x)
        link[2 * x] = -1
