"""SRRIP that spares TLB blocks."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.bits import lowest
from tiersim._base.errors import PolicyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.way.contract import TLB, State, Words

WAYS = 0xFFFF
HIGH = 16  # where the high bits of the predictions begin; the low bits begin at 0
BLOCKS = 32
POINTER = 48
PREDICTION = 0x10001  # both bits of way 0
LINE = 0x100010001  # all bits of way 0
REST = (1 << POINTER) - 1  # all but the pointer


@register(
    "tlb-aware-srrip",
    family="way-replacement",
    paper="Kanellopoulos et al., MICRO 2023, doi:10.1145/3613424.3614276",
)
class TlbAwareSrrip:
    """SRRIP that keeps lines holding translations (TLB blocks) longer while address translation is under pressure.

    A new line is predicted late and a hit brings its prediction one nearer. The victim is the first way predicted last
    from a pointer on, which then stands behind it. Under pressure a TLB block is predicted at once when it comes in
    and when it is hit, and a victim that is one is spared: it is predicted at once and another is sought.

    A set is one word: the low and the high bits of its predictions, which of its ways hold TLB blocks, and the pointer.
    """

    aware: Annotated[bool, Param("whether TLB blocks are treated apart under pressure")] = True
    attempts: Annotated[
        int, Param("how often another victim is sought instead of a TLB block", ge=0, le=16, source="the paper's rule")
    ] = 1
    near: Annotated[
        bool, Param("whether a new TLB block is predicted at once, or late as other lines", source="the paper's rule")
    ] = True

    # a second hit brings the prediction nearer again
    hit_is_idempotent: ClassVar[bool] = False

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        if ways > 16:
            raise PolicyError(
                f"tlb-aware-srrip has room for 16 ways, not {ways}", None, "use srrip, or another number of ways"
            )
        return np.full((sets, 1), WAYS * PREDICTION, np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int, kind: int, pressure: int, aware: bool) -> None:
        old = s[at] & (PREDICTION << way)
        low, high = old & WAYS, old >> HIGH
        new = (high & low) << HIGH | (high & ~low)
        if aware and pressure and kind >= TLB:
            new = 0
        s[at] ^= old ^ new

    @staticmethod
    def fill(s: Words, at: int, way: int, kind: int, pressure: int, aware: bool, near: bool) -> None:
        s[at] = TlbAwareSrrip.filled(s[at], way, kind, 1 if aware and near and pressure else 0)

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int, pressure: int, aware: bool, attempts: int) -> int:
        s[at], way = TlbAwareSrrip.sought(s[at], allowed & ((1 << ways) - 1), attempts if aware and pressure else 0)
        return way

    @staticmethod
    def renew(s: Words, at: int, ways: int, kind: int, pressure: int, aware: bool, near: bool, attempts: int) -> int:
        word = s[at]
        last = word & (word >> HIGH) & ((1 << ways) - 1)
        if last and kind < TLB:  # mostly: no prediction has to grow
            ahead = last & -(1 << (word >> POINTER))
            if ahead:
                last = ahead
            chosen = last & -last
            if not (aware and pressure and attempts and (word >> BLOCKS) & chosen):
                way = lowest(chosen)
                s[at] = (word & REST & ~(chosen << BLOCKS | chosen)) | ((way + 1) & 15) << POINTER
                return way
        word, way = TlbAwareSrrip.sought(word, (1 << ways) - 1, attempts if aware and pressure else 0)
        s[at] = TlbAwareSrrip.filled(word, way, kind, 1 if aware and near and pressure else 0)
        return way

    @staticmethod
    def filled(word: int, way: int, kind: int, spare: int) -> int:
        """The word of a set after a line of this kind has come into a way."""
        word &= ~(LINE << way)
        if kind >= TLB:
            word |= 1 << BLOCKS + way
        if not (spare and kind >= TLB):
            word |= 1 << HIGH + way
        return word

    @staticmethod
    def sought(word: int, usable: int, left: int) -> tuple[int, int]:
        """The word of a set after a victim was sought among usable ways, and its way; `left` blocks may be spared."""
        low = word & WAYS
        high = (word >> HIGH) & WAYS
        blocks = (word >> BLOCKS) & WAYS
        pointer = word >> POINTER
        while True:
            while not low & high & usable:
                low, high = (low ^ WAYS) | high, low | high
            last = low & high & usable
            ahead = last & -(1 << pointer)
            if ahead:
                last = ahead
            chosen = last & -last
            way = lowest(chosen)
            pointer = (way + 1) & 15  # a pointer behind the last way finds none ahead, as one at way 0 would
            if left == 0 or not chosen & blocks:
                break
            left -= 1
            low &= ~chosen
            high &= ~chosen
        return low | high << HIGH | blocks << BLOCKS | pointer << POINTER, way
