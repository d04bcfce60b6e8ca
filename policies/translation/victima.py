"""Victima: translations in blocks of a data cache."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.translation.predictors import AtLeastOnce


@register("victima", family="translation", paper="Kanellopoulos et al., MICRO 2023, doi:10.1145/3613424.3614276")
class Victima:
    """Turns lines of a data cache into blocks of eight translations, which are looked for before the page table.

    A block is made of the line of the page table that a walk has read: after a walk that a program waited for
    (`on_miss`), and after one in the background for what leaves the last TLB (`on_eviction`). A predictor chooses the
    pages that are worth it; while data misses often in the cache all are. The cache's policy keeps blocks longer while
    TLBs miss often if it is ``tlb-aware-srrip``.

    With ``profile: artifact`` it is what the simulator of the released artifact does, commit bdcbda5: a block is read
    through all caches as data is, and looked for in all of them; nothing predicts, and nothing is walked for in the
    background.
    """

    profile: Annotated[
        Literal["paper", "artifact"], Param("what is modelled: the design of the paper, or its released simulator")
    ] = "paper"

    cache: Annotated[str, Param("the cache that holds the blocks", source="the paper")] = "l2"
    predictor: Annotated[Any, Param("which pages are costly to walk for", family="walk-cost-predictor")] = field(
        default_factory=AtLeastOnce
    )
    on_miss: Annotated[bool, Param("make blocks of what no TLB has", source="the paper")] = True
    on_eviction: Annotated[bool, Param("make blocks of what leaves the last TLB", source="the paper")] = True
    nested_blocks: Annotated[
        bool,
        Param("with `system.nested`, make nested blocks too, of translations of guests' memory", source="the paper"),
    ] = True
    translation_pressure: Annotated[
        int,
        Param("misses of the last TLB in 1,000 instructions above which pressure is high", ge=0, source="the paper"),
    ] = 5
    data_pressure: Annotated[
        int,
        Param(
            "misses of data in the cache in 1,000 instructions above which all pages are costly",
            ge=0,
            source="the paper",
        ),
    ] = 5
