"""Bits of machine words."""

from __future__ import annotations

__all__ = ["highest", "lowest"]


def lowest(mask: int) -> int:
    """The place of the lowest bit of a mask that is not 0. In verbs of a policy it is one instruction when compiled."""
    return (int(mask) & -int(mask)).bit_length() - 1


def highest(mask: int) -> int:
    """The place of the highest bit of a mask of 64 that is not 0, also of a negative one. In verbs as `lowest`."""
    return (int(mask) & (1 << 64) - 1).bit_length() - 1
