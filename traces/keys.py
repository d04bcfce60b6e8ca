"""Names as numbers: keys that are text, and whatever else a trace calls by name."""

from __future__ import annotations

import hashlib

__all__ = ["key_of"]


def key_of(name: str | bytes) -> int:
    """A name as a number of 64 bits: BLAKE2b of its bytes (UTF-8), digest of 8 bytes, little-endian."""
    raw = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else name
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
