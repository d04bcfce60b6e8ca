"""What an infinite prefix cache has: by hand, and against a cache of whole prefixes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import StudyError
from tiersim.traces.chunks import rechunk
from tiersim.traces.prefix import PrefixHits, prefix_hits, server_hits
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


def test_a_server_computes_the_last_token_and_keeps_no_partial_block() -> None:
    prompts = [[1, 2], [1, 2], [1, 2, 3], [1, 2, 3], [1]]
    rows = requests(prompts, [8, 8, 10, 10, 4])
    # all but the last token of 8 and of 4 are one and no whole block; block 3 is never whole
    assert server_hits([rows], 4) == PrefixHits(requests=5, blocks=11, block_hits=5, tokens=40, token_hits=20)
    failed = {**rows, "status": np.array([1, 0, 0, 0, 0], np.uint8)}
    assert server_hits([failed], 4) == PrefixHits(requests=4, blocks=9, block_hits=4, tokens=32, token_hits=16)
    # a record with more blocks than its prompt fills
    assert server_hits([requests([[1, 2, 3], [1, 2, 3]], [5, 5])], 4) == PrefixHits(2, 4, 1, 10, 4)


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=20), st.booleans()), min_size=1, max_size=25),
    st.integers(1, 5),
    st.integers(1, 30),
)
def test_a_server_against_prompts_of_tokens(rows: list[tuple[list[int], bool]], size: int, cut: int) -> None:
    """Prompts are lists of tokens, and a block is named by all tokens up to its end."""
    names: dict[tuple[int, ...], int] = {}
    prompts, kept = [], set[tuple[int, ...]]()
    hits = 0
    for text, fails in rows:
        ends = [min(at + size, len(text)) for at in range(0, len(text), size)]
        prompts.append([names.setdefault(tuple(text[:end]), len(names)) for end in ends])
        if fails:
            continue
        hits += max(end for end in range(0, len(text), size) if not end or tuple(text[:end]) in kept)
        kept |= {tuple(text[:end]) for end in range(size, len(text) + 1, size)}
    chunk = requests(prompts, [len(text) for text, _ in rows])
    chunk["status"] = np.array([fails for _, fails in rows], np.uint8)
    served = [text for text, fails in rows if not fails]
    found = server_hits(rechunk([chunk], cut), size)
    assert found.token_hits == size * found.block_hits == hits
    assert (found.requests, found.tokens) == (len(served), sum(map(len, served)))
    assert found.blocks == sum(-(-len(text) // size) for text in served)


def test_nothing_to_count() -> None:
    none = prefix_hits([], 4)
    assert (none.by_blocks, none.by_tokens) == (0, 0)
    with pytest.raises(StudyError, match="name no blocks"):
        prefix_hits([{"input": np.ones(1, np.uint32)}], 4)
    with pytest.raises(StudyError, match="at least 1"):
        prefix_hits([], 0)
    assert server_hits([], 4).by_tokens == 0
    with pytest.raises(StudyError, match="name no blocks"):
        server_hits([{"input": np.ones(1, np.uint32)}], 4)
    with pytest.raises(StudyError, match="at least 1"):
        server_hits([], 0)
