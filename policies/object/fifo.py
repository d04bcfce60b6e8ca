"""First in, first out."""

from __future__ import annotations

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words, oldest, push, rings, unlink


@register("fifo", family="object-replacement", paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078")
class Fifo:
    """Evicts the object that entered longest ago."""

    @staticmethod
    def state(objects: int) -> State:
        return {"link": rings(objects, 1)}

    @staticmethod
    def lookup(link: Words, x: int) -> bool:
        return link[2 * x] >= 0

    @staticmethod
    def touch() -> None:
        return

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
