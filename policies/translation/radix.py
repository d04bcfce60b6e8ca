"""A walk of the radix page table."""

from __future__ import annotations

from tiersim._base.registry import register


@register("radix", family="translation")
class Radix:
    """Walks the page table for each translation that no TLB has: nothing stands between."""
