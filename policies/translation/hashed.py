"""Hashed page tables."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register


@register(
    "hashed",
    family="translation",
    aliases=("hashed-page-table",),
    paper="Yaniv, Tsafrir, SIGMETRICS 2016, doi:10.1145/2896377.2901456",
)
class Hashed:
    """Walks hashed page tables instead of radix ones: one read or a few in a row, and no page-walk caches.

    A bucket is a line with the translations of eight neighbouring pages, found by open addressing. Each page size has a
    table of its own, and both are searched at once, since the size of a page is not known beforehand.
    """

    load: Annotated[
        int, Param("share of the buckets that are taken", unit="ratio", ge=10**7, le=10**9, source="assumed")
    ] = 5 * 10**8
