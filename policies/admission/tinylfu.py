"""TinyLFU admission."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.sketch import count, counted, sketch


@register(
    "tinylfu",
    family="admission",
    aliases=("tiny-lfu",),
    paper="Einziger, Friedman, Manes, ACM Transactions on Storage 13(4), 2017, doi:10.1145/3149371",
)
class TinyLfu:
    """Lets a missed object take the place of a victim only when it was asked for more often lately.

    Every request is counted, in the ageing sketch of `tiersim.policies.object.sketch`, before it is decided on; at a
    tie the victim stays. As long as there is room everything enters. An object that needs the room of several victims
    contests with each in turn, and those it has won against are gone when it loses.
    """

    doorkeeper: Annotated[bool, Param("keep first requests out of the sketch", source="the paper")] = True

    def state(self, most: int) -> State:
        return sketch(most, self.doorkeeper)

    @staticmethod
    def seen(sketch: Words, sketch_n: Words, door: Words, x: int, size: int, capacity: int, doorkeeper: bool) -> None:
        count(sketch, sketch_n, door, x, size, capacity, doorkeeper)

    @staticmethod
    def contest(sketch: Words, sketch_n: Words, door: Words, x: int, v: int, doorkeeper: bool) -> bool:
        return counted(sketch, sketch_n, door, x, doorkeeper) > counted(sketch, sketch_n, door, v, doorkeeper)
