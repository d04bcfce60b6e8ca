"""POM-TLB: a TLB that is a part of memory."""

from __future__ import annotations

from typing import Annotated, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register


@register("pom-tlb", family="translation", paper="Ryoo et al., ISCA 2017, doi:10.1145/3079856.3080210")
class PomTlb:
    """Keeps a large TLB in memory, which is looked up through the caches before the page table is walked.

    It takes what leaves the last TLB, in entries of 16 B, and evicts the one used longest ago. Since the size of a page
    is not known beforehand, two sets are looked up at once. The defaults are those of the comparison with Victima,
    which reads one line of a set though 16 ways fill four; the paper of the POM-TLB has 4 ways, which fill one.
    """

    entries: Annotated[
        int, Param("translations that it holds, of 16 B", unit="count", ge=1, source="Victima's comparison")
    ] = 65536
    ways: Annotated[int, Param("entries in a set", ge=1, source="Victima's comparison")] = 16
    read: Annotated[
        Literal["line", "set"],
        Param("what a lookup reads: a set's first line, or all its lines at once", source="Victima's comparison"),
    ] = "line"
    store: Annotated[bool, Param("whether an entry is written through the caches as it enters")] = True
