"""Small traces of any schema, stored from plain lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim.traces import Writer
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import SCHEMAS

Stored = Callable[..., Path]


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """What stores the columns of a schema and gives the path."""

    def store(schema: str, name: str = "t.parquet", **columns: Any) -> Path:
        chunk: dict[str, Any] = {}
        for column in SCHEMAS[schema].present(columns):
            held = columns[column.name]
            if column.text:
                chunk[column.name] = Ragged.texts(held)
            elif column.ragged:
                chunk[column.name] = Ragged.of(held, column.dtype)
            else:
                chunk[column.name] = np.array(held, column.dtype)
        with Writer(tmp_path / name, schema=SCHEMAS[schema]) as out:
            out.append(chunk)
        return tmp_path / name

    return store


@pytest.fixture
def one() -> Callable[[list[str], str], str]:
    """What gives the only warning that has some words."""

    def only(warnings: list[str], words: str) -> str:
        (found,) = [text for text in warnings if words in text]
        return found

    return only
