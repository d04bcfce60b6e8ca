"""SRRIP that spares TLB blocks."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.bits import highest, lowest
from tiersim._base.errors import PolicyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.way.contract import TLB, State, Words

WAYS = 0xFFFF
FIELD = 16  # bits, one for each way; a word has four fields
LAST = 48  # where the field of ways predicted last begins; that of those predicted at once begins at 0
ONCE, LATE = 1, 1 << 32  # the bit of way 0 in a field
ALL = 0x1000100010001  # and in all four
STAY = -(1 << LAST)
BEHIND = -(2 << FIELD)  # the ways behind way 0


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

    A set is two words. One has four fields with a bit for each way, of which that of its prediction is set: so all
    predictions grow by a shift. The other tells which ways hold TLB blocks and, above that, which are not yet behind
    the pointer.
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
        first = [((1 << ways) - 1) << LAST, WAYS << FIELD]
        return np.tile(np.array(first, np.uint64).astype(np.int64), (sets, 1))

    @staticmethod
    def hit(s: Words, at: int, way: int, kind: int, pressure: int, aware: bool) -> None:
        old = s[at] >> way & ALL
        new = old >> FIELD | old & ONCE
        if aware and pressure and kind >= TLB:
            new = ONCE
        s[at] ^= (old ^ new) << way

    @staticmethod
    def fill(s: Words, at: int, way: int, kind: int, pressure: int, aware: bool, near: bool) -> None:
        old = s[at] >> way & ALL
        new = ONCE if kind >= TLB and aware and near and pressure else LATE
        s[at] ^= (old ^ new) << way
        s[at + 1] = s[at + 1] & ~(1 << way) | int(kind >= TLB) << way

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int, pressure: int, aware: bool, attempts: int) -> int:
        usable = allowed & ((1 << ways) - 1)
        left = attempts if aware and pressure else 0  # so many blocks may be spared
        word, beside = s[at], s[at + 1]
        while True:
            while not word >> LAST & usable:
                word = (word & ~STAY) << FIELD | word & STAY
            last = word >> LAST & usable
            ahead = last & beside >> FIELD
            if ahead:
                last = ahead
            chosen = last & -last
            way = lowest(chosen)
            beside = beside & WAYS | BEHIND << way
            if left == 0 or not chosen & beside:
                break
            left -= 1
            word ^= chosen << LAST | chosen
        s[at], s[at + 1] = word, beside
        return way

    @staticmethod
    def renew(s: Words, at: int, ways: int, kind: int, pressure: int, aware: bool, near: bool, attempts: int) -> int:
        word, beside = s[at], s[at + 1]
        word <<= (63 - highest(word)) & LAST  # by whole fields, until one is predicted last
        last = word >> LAST & WAYS
        ahead = last & beside >> FIELD
        if ahead:
            last = ahead
        chosen = last & -last
        blocks = beside & WAYS
        if kind < TLB and not (blocks & chosen and aware and pressure and attempts):  # mostly
            way = lowest(chosen)
            s[at] = word ^ (chosen << LAST | chosen << LAST - FIELD)
            s[at + 1] = BEHIND << way | blocks & ~chosen
            return way
        way = TlbAwareSrrip.victim(s, at, -1, ways, pressure, aware, attempts)
        TlbAwareSrrip.fill(s, at, way, kind, pressure, aware, near)
        return way
