"""Bits of machine words."""

from __future__ import annotations

__all__ = ["lowest"]


def lowest(mask: int) -> int:
    """The place of the lowest bit of a mask that is not 0. In verbs of a policy it is one instruction when compiled."""
    return (int(mask) & -int(mask)).bit_length() - 1
