"""The terminal's view of verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tiersim.experiments.claims.verdicts import VERDICTS, Verdict

__all__ = ["counted", "make_console", "show_verdicts"]

STYLES = {"holds": "green", "fails": "bold red", "skipped": "yellow", "not-reproduced": "yellow"}


def make_console() -> Console:
    """The terminal, or a page of 120 columns where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 120))


def show_verdicts(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print a line a claim, the reasons below, and how many there are of each verdict."""
    several = len({held.study for held in verdicts}) > 1
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in [*(["study"] if several else []), "claim", "published", "measured", "allowed", "verdict"]:
        table.add_column(name, overflow="fold", no_wrap=name == "verdict")
    for held in verdicts:
        figure = held.figure
        claim = Text.assemble((figure.claim, "bold"), f" {figure.what}" if figure.what else "")
        measured = "\n".join([held.measured(), held.interval()]).strip() or "-"
        cells = [Text(figure.published), Text(measured), Text(figure.tolerance)]
        table.add_row(
            *([Text(held.study)] if several else []), claim, *cells, Text(held.verdict, style=STYLES[held.verdict])
        )
    console.print(table)
    for held in verdicts:
        if held.why:
            console.print(Text(f"{held.figure.claim} {held.verdict}: {held.why}"))
    console.print(Text(counted(verdicts)))


WORDS = {"holds": "hold", "fails": "fail"}


def counted(verdicts: Sequence[Verdict]) -> str:
    """How many claims there are of each verdict."""
    found = Counter(held.verdict for held in verdicts)
    several = "claims" if len(verdicts) != 1 else "claim"
    parts = [f"{found[name]} {name if found[name] == 1 else WORDS.get(name, name)}" for name in VERDICTS if found[name]]
    return f"{len(verdicts)} {several}: {', '.join(parts)}"
