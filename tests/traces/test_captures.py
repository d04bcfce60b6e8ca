"""The bundled captures are what the catalogue says, and tell cache sizes apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiersim.traces import load_trace
from tiersim.traces.captured.make import PROGRAMS, RECIPES
from tiersim.traces.catalogue import BUNDLED, bundled
from tiersim.traces.schema import FETCH
from tiersim.traces.store import sha256_of

NAMES = ["captured/graph-bfs", "captured/random-access", "captured/sort", "captured/sqlite-query"]


def test_the_catalogue_and_the_folder_agree() -> None:
    assert sorted(bundled()) == sorted(recipe.name for recipe in RECIPES) == NAMES
    assert {entry.file for entry in bundled().values()} == {item.name for item in BUNDLED.glob("*.parquet")}


def test_they_are_small() -> None:
    assert sum(item.stat().st_size for item in BUNDLED.glob("*.parquet")) <= 6 * 10**6


@pytest.mark.parametrize("name", NAMES)
def test_bytes_and_counts(name: str) -> None:
    entry = bundled()[name]
    trace = load_trace(name)
    assert sha256_of(entry.path) == entry.sha256 == trace.fingerprint
    chunks = list(trace.chunks())
    kind = np.concatenate([chunk["kind"] for chunk in chunks])
    gaps = sum(int(chunk["gap"].sum(dtype=np.uint64)) for chunk in chunks)
    assert trace.records == entry.records == len(kind)
    assert gaps <= trace.instructions == entry.instructions
    assert list(trace.kinds.values()) == np.bincount(kind, minlength=4).tolist()
    assert trace.has_fetches == bool((kind == FETCH).any()) == (name == "captured/sort")
    assert trace.provenance["tracer"].startswith("valgrind-")
    assert not any(part.startswith("/") for part in trace.provenance["command"])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_recipe_is_the_one_in_the_catalogue(recipe: object) -> None:
    from tiersim.traces.captured.make import Recipe

    assert isinstance(recipe, Recipe)
    entry = bundled()[recipe.name]
    assert (entry.recipe, entry.about) == (recipe.text(), recipe.about)
    provenance = load_trace(recipe.name).provenance
    said = (tuple(provenance["command"]), provenance["skip"], provenance["limit"], provenance["fetches"])
    assert said == (recipe.command, recipe.skip, recipe.limit, recipe.fetches)
    for step in recipe.before:
        if isinstance(step, str) and "." in step:
            assert any(item.name in step for item in Path(PROGRAMS).iterdir()) or "graph.bin" in step


def lines_of(name: str) -> int:
    found = [np.unique(chunk["address"] >> np.uint64(6)) for chunk in load_trace(name).chunks()]
    return len(np.unique(np.concatenate(found)))


@pytest.mark.parametrize("name", ["captured/graph-bfs", "captured/random-access", "captured/sqlite-query"])
def test_working_sets_pass_a_megabyte(name: str) -> None:
    assert lines_of(name) * 64 > 1 << 20
