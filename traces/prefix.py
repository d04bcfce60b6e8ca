"""How much of the prompts of a trace an infinite prefix cache would have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiersim._base.errors import StudyError
from tiersim.traces.schema import Chunk

__all__ = ["PrefixHits", "prefix_hits"]


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
    if block_tokens < 1:
        raise StudyError(f"a block of {block_tokens} tokens holds nothing: block_tokens must be at least 1")
    seen: set[int] = set()
    requests = blocks = block_hits = tokens = token_hits = 0
    for chunk in chunks:
        if "blocks" not in chunk:
            raise StudyError("these records name no blocks, and prefixes are made of blocks")
        for ids, size in zip(chunk["blocks"], chunk["input"].tolist(), strict=True):
            names = ids.tolist()
            hit = next((place for place, name in enumerate(names) if name not in seen), len(names))
            seen.update(names[hit:])
            requests += 1
            blocks += len(names)
            block_hits += hit
            tokens += size
            token_hits += min(size, hit * block_tokens)
    return PrefixHits(requests, blocks, block_hits, tokens, token_hits)
