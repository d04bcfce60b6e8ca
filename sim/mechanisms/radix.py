"""A walk of the page table for each translation that no TLB has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiersim.sim.cache_loop import fill
from tiersim.sim.translation_loop import Tlb, TranslationWriter

__all__ = ["RadixLoop"]


@dataclass(frozen=True)
class RadixLoop:
    """Nothing between the TLBs and the page table."""

    cache: ClassVar[None] = None
    holders: ClassVar[tuple[int, ...]] = ()
    watches: ClassVar[bool] = False
    parts: ClassVar[tuple[Tlb, ...]] = ()
    words: ClassVar[tuple[str, ...]] = ()

    def verbs(self) -> None:
        return None

    def functions(self, writer: TranslationWriter) -> str:
        return fill(
            """
            @inline
            def missing($state, u, time):
                walk($state, u, 1)
                return time + $delay
            """,
            state=writer.state,
            delay=writer.own("delay"),
        )
