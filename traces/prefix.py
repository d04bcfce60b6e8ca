"""How much of the prompts of a trace an infinite prefix cache would have, and how large its blocks are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import SERVED, Chunk

__all__ = ["BlockSize", "PrefixHits", "block_size", "hit_blocks", "prefix_hits", "server_hits"]

ROUNDED: Final = 0.9  # of the prompts that fit: so many round alike where a trace rounds one way
ANY: Final = 1 << 62
Numbers = NDArray[Any]


@dataclass(frozen=True)
class PrefixHits:
    """Blocks and tokens of the prompts, and how many of them come from a cache that never forgets."""

    requests: int
    blocks: int
    block_hits: int
    tokens: int
    token_hits: int

    @property
    def by_blocks(self) -> float:
        """The share of blocks that hit."""
        return self.block_hits / max(1, self.blocks)

    @property
    def by_tokens(self) -> float:
        """The share of tokens of the prompts that hit."""
        return self.token_hits / max(1, self.tokens)


def prefix_hits(chunks: Iterable[Chunk], block_tokens: int) -> PrefixHits:
    """The hits of an infinite cache that has the blocks of every request before, in the order of the records.

    A request hits as many blocks as its list begins with that are there; what comes after the first miss is a miss. A
    block holds ``block_tokens`` tokens, and no request hits more tokens than its prompt has. Memory grows with the
    number of distinct blocks. Raises StudyError for records without blocks and for blocks without a token.
    """
    seen: set[int] = set()
    requests = blocks = block_hits = tokens = token_hits = 0
    for chunk in _checked(chunks, block_tokens):
        hits, sizes = hit_blocks(chunk["blocks"], seen), chunk["input"].astype(np.int64)
        requests += len(hits)
        blocks += len(chunk["blocks"].values)
        block_hits += int(hits.sum())
        tokens += int(sizes.sum())
        token_hits += int(np.minimum(sizes, hits * block_tokens).sum())
    return PrefixHits(requests, blocks, block_hits, tokens, token_hits)


def server_hits(chunks: Iterable[Chunk], block_tokens: int) -> PrefixHits:
    """The hits of a server with endless memory that serves each request before the next one comes.

    They are fewer than those of `prefix_hits`, for such a server keeps whole blocks only and computes the last token of
    every prompt: a request hits whole blocks of at most all its tokens but one. Requests that failed count for
    nothing, and blocks beyond what a prompt fills neither. Raises StudyError as `prefix_hits`.
    """
    seen: set[int] = set()
    requests = blocks = block_hits = tokens = 0
    for chunk in _checked(chunks, block_tokens):
        served = chunk["status"] == SERVED if "status" in chunk else np.ones(len(chunk["input"]), bool)
        for ids, length, counts in zip(chunk["blocks"], chunk["input"].tolist(), served.tolist(), strict=True):
            if counts:
                names = ids[: length // block_tokens].tolist()
                requests += 1
                blocks += min(len(ids), -(-length // block_tokens))
                tokens += length
                block_hits += min(_first_miss(names, seen), max(length - 1, 0) // block_tokens)
                seen.update(names)
    return PrefixHits(requests, blocks, block_hits, tokens, block_hits * block_tokens)


def _checked(chunks: Iterable[Chunk], block_tokens: int) -> Iterator[Chunk]:
    if block_tokens < 1:
        raise StudyError(f"a block of {block_tokens} tokens holds nothing: block_tokens must be at least 1")
    for chunk in chunks:
        if "blocks" not in chunk:
            raise StudyError("these records name no blocks, and prefixes are made of blocks")
        yield chunk


def hit_blocks(blocks: Ragged, seen: set[int]) -> NDArray[np.int64]:
    """How many blocks each request hits of an infinite cache that has those of ``seen``; all blocks are added to it."""
    hits = np.empty(len(blocks), np.int64)
    for at, ids in enumerate(blocks):
        names = ids.tolist()
        hits[at] = hit = _first_miss(names, seen)
        seen.update(names[hit:])
    return hits


def _first_miss(names: list[int], seen: set[int]) -> int:
    """The first place of what is not there, or how many there are."""
    return next((place for place, name in enumerate(names) if name not in seen), len(names))


@dataclass(frozen=True)
class BlockSize:
    """How many tokens a block holds, as lengths and numbers of blocks tell, and the records that it does not fit.

    ``rounding`` is ``up`` where a block that is not full counts, ``down`` where it does not, and ``either`` where some
    records have it so and others so.
    """

    tokens: int
    rounding: str
    misfits: NDArray[np.int64]


def block_size(input: Numbers, counts: Numbers) -> BlockSize | None:
    """The size that fits most prompts of so many tokens and blocks; of equals the roundest in binary.

    ``n`` blocks fit ``length`` tokens in blocks of ``size`` when n is length / size, rounded up or down; records may
    round each its own way only where much fewer fit otherwise. None where no prompt has a block.
    """
    length, number = np.asarray(input, np.int64), np.asarray(counts, np.int64)
    if not (number > 0).any():
        return None
    some, many = length[length > 0], number[length > 0]
    # rounded up: length / n <= size < length / (n - 1); down: length / (n + 1) < size <= length / n
    most = np.where(many > 1, -(-some // np.maximum(many - 1, 1)) - 1, ANY)
    least = some // (many + 1) + 1
    full = np.where(many > 0, some // np.maximum(many, 1), ANY)
    ends = {"up": (np.where(many > 0, -(-some // np.maximum(many, 1)), ANY + 1), most), "down": (least, full)}
    found = {rounding: _best(*held, int(some.max(initial=0)) + 1) for rounding, held in ends.items()}
    rounding = max(found, key=lambda name: found[name][1])
    either = _best(least, most, int(some.max(initial=0)) + 1)
    if found[rounding][1] < ROUNDED * either[1]:
        rounding, found["either"] = "either", either
    size = found[rounding][0]
    up, down = number == -(-length // size), number == length // size
    fits = {"up": up, "down": down, "either": up | down}[rounding]
    return BlockSize(size, rounding, np.flatnonzero(~fits))


def _best(low: Numbers, high: Numbers, largest: int) -> tuple[int, int]:
    """The size within the most of these ranges, up to the largest, and how many they are."""
    high = np.minimum(high, largest)
    low, high = low[low <= high], high[low <= high]
    if not len(low):
        return 1, 0
    ends, place = np.unique(np.concatenate([low, high + 1]), return_inverse=True)
    step = np.bincount(place[: len(low)], minlength=len(ends)) - np.bincount(place[len(low) :], minlength=len(ends))
    count = np.cumsum(step)
    at = int(np.argmax(count))
    return _roundest(int(ends[at]), int(ends[at + 1]) - 1), int(count[at])


def _roundest(first: int, last: int) -> int:
    """The number from first to last that the largest power of two divides."""
    step = 1
    while -(-first // (2 * step)) * 2 * step <= last:
        step *= 2
    return -(-first // step) * step
