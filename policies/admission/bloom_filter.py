"""Admission at the second miss."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.way.random_ import mix

OTHER_HASH = 0x3C6EF372
LN_2_PPB = 693_147_181
NEW, FULL_AT, RECORDED, FILTER_MASK, HASHES = range(5)


@register(
    "bloom-filter",
    family="admission",
    aliases=("bloom", "second-hit"),
    paper="Maggs, Sitaraman, SIGCOMM CCR 45(3), 2015, doi:10.1145/2805789.2805800 (cache on second hit)",
)
class BloomFilter:
    """Lets a missed object in when it was missed before, as far as a Bloom filter remembers.

    Three quarters of the objects of a content network are asked for once; this rule keeps them out. With `remember`
    there are two filters: when that many objects stand in the newer one, the older is emptied and becomes the newer.
    Without, one filter with room for all objects of the trace remembers for good. ``bits: 0`` is a flag for each object
    instead of a filter, without false positives: then, with ``remember: 0``, the outcome of each request equals
    libCacheSim 0.3.5, which keeps a table of all objects.
    """

    bits: Annotated[int, Param("for each object; 0: exact", ge=0, le=64, source="1 % false positives")] = 10
    remember: Annotated[int, Param("objects that fill a filter; 0: all of the trace", ge=0)] = 0

    def state(self, objects: int) -> State:
        room = min(self.remember or objects, objects)
        size = objects if self.bits == 0 else room * self.bits
        bytes_ = 1 << max(size - 1, 7).bit_length() - 3
        hashes = max(1, self.bits * LN_2_PPB // 10**9)
        # the filters lie one after the other
        return {
            "filters": np.zeros(2 * bytes_, np.uint8),
            "filters_n": np.array([0, self.remember, 0, 8 * bytes_ - 1, hashes], np.int64),
        }

    @staticmethod
    def admit(filters: Words, filters_n: Words, x: int, bits: int) -> bool:
        room = filters_n[FILTER_MASK] + 1 >> 3
        known = found(filters, filters_n, x, bits, filters_n[NEW] * room, True)
        before = known or found(filters, filters_n, x, bits, (1 - filters_n[NEW]) * room, False)
        if not known:
            filters_n[RECORDED] += 1
            if filters_n[RECORDED] == filters_n[FULL_AT]:
                filters_n[RECORDED] = 0
                filters_n[NEW] = 1 - filters_n[NEW]
                for at in range(filters_n[NEW] * room, (filters_n[NEW] + 1) * room):
                    filters[at] = 0
        return before


def found(filters: Words, filters_n: Words, x: int, bits: int, base: int, mark: bool) -> bool:
    """Whether the filter that begins at `base` knows x; it is told about x if wanted."""
    at = x
    step = 0
    count = 1
    if bits > 0:
        at = mix(x)
        step = mix(at ^ OTHER_HASH) | 1
        count = filters_n[HASHES]
    known = True
    for _ in range(count):
        bit = at & filters_n[FILTER_MASK]
        if not filters[base + (bit >> 3)] >> (bit & 7) & 1:
            known = False
            if mark:
                filters[base + (bit >> 3)] |= 1 << (bit & 7)
        at += step
    return known
