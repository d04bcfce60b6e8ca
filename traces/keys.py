"""Names as numbers: keys that are text, and whatever else a trace calls by name."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["key_of", "keys_of"]


def key_of(name: str | bytes) -> int:
    """A name as a number of 64 bits: BLAKE2b of its bytes (UTF-8), digest of 8 bytes, little-endian."""
    raw = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else name
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")


def keys_of(names: Iterable[bytes]) -> NDArray[np.uint64]:
    """Many names, each as `key_of` turns it into a number."""
    made = b"".join([blake2b(name, digest_size=8).digest() for name in names])
    return np.frombuffer(made, "<u8").astype(np.uint64)
