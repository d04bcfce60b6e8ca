"""A few objects are popular, most are not."""

from __future__ import annotations

from tiersim._base.registry import register
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.objects import PopularObjects


@register(
    "zipf-objects",
    family="generator",
    paper="Hoermann and Derflinger, ACM TOMACS 6(3), 1996, doi:10.1145/235025.235029",
)
class ZipfObjects(PopularObjects):
    """Independent requests for objects, the k-th most popular with a probability proportional to 1 / k**skew."""

    def keys(self, index: Words) -> Words:
        """The key of each request, from the number of its record."""
        return self.popular(index)
