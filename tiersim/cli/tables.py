"""Tables of text, for every command that prints one."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["cell", "print_table"]


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)


def print_table(columns: list[str], rows: list[list[str]], right: tuple[str, ...] = ()) -> None:
    """Print rows under the names of their columns; those in `right` are aligned as numbers are."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        justify: Any = "right" if name in right else "left"
        table.add_column(name, overflow="fold", no_wrap=name in ("name", "key", "kind"), justify=justify)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:  # into a file or a pipe: as wide as it needs
        console = Console(width=200)
    console.print(table)
