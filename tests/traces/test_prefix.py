"""What an infinite prefix cache has: by hand, and against a cache of whole prefixes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import StudyError
from tiersim.traces.chunks import rechunk
from tiersim.traces.prefix import PrefixHits, prefix_hits
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import Chunk


def requests(prompts: list[list[int]], sizes: list[int]) -> Chunk:
    return {"input": np.array(sizes, np.uint32), "blocks": Ragged.of(prompts)}


def test_by_hand() -> None:
    # 1 2 3 are new; 1 2 hit and 4 is new; 1 hits, 5 is new, and 2 after it does not count
    found = prefix_hits([requests([[1, 2, 3], [1, 2, 4], [1, 5, 2], []], [10, 12, 9, 1])], 4)
    assert found == PrefixHits(requests=4, blocks=9, block_hits=3, tokens=32, token_hits=12)
    assert found.by_blocks == 3 / 9
    assert found.by_tokens == 12 / 32


def test_a_last_block_that_is_not_full() -> None:
    found = prefix_hits([requests([[1, 2], [1, 2]], [6, 6])], 4)
    assert (found.block_hits, found.token_hits) == (2, 6)


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=5), st.integers(0, 3)), min_size=1, max_size=25),
    st.integers(1, 30),
)
def test_against_a_cache_of_whole_prefixes(rows: list[tuple[list[int], int]], cut: int) -> None:
    # blocks that stand for all before them: the number of the path from the root
    paths: dict[tuple[int, ...], int] = {}
    prompts = [[paths.setdefault(tuple(text[: end + 1]), len(paths)) for end in range(len(text))] for text, _ in rows]
    sizes = [max(0, 4 * len(text) - short) for text, short in rows]
    kept: set[tuple[int, ...]] = set()
    blocks = tokens = 0
    for (text, _), size in zip(rows, sizes, strict=True):
        longest = max(end for end in range(len(text) + 1) if not end or tuple(text[:end]) in kept)
        kept |= {tuple(text[:end]) for end in range(1, len(text) + 1)}
        blocks += longest
        tokens += min(size, 4 * longest)
    found = prefix_hits(rechunk([requests(prompts, sizes)], cut), 4)
    assert (found.block_hits, found.token_hits) == (blocks, tokens)
    assert (found.requests, found.blocks, found.tokens) == (len(rows), sum(map(len, prompts)), sum(sizes))


def test_nothing_to_count() -> None:
    none = prefix_hits([], 4)
    assert (none.by_blocks, none.by_tokens) == (0, 0)
    with pytest.raises(StudyError, match="name no blocks"):
        prefix_hits([{"input": np.ones(1, np.uint32)}], 4)
    with pytest.raises(StudyError, match="at least 1"):
        prefix_hits([], 0)
