"""`tiersim timeline`."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["timeline_command"]


@click.command("timeline", short_help="Write what happens in queued time as a file for Perfetto.")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A file that ends in .json or .json.gz.")
@click.option("--variant", help="Which one of the study. [default: the first]")
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key of the file, e.g. system.line=128B."
)
@click.option("--events", type=click.IntRange(1), default=100_000, show_default=True, help="Left out after so many.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def timeline_command(
    study: Path, out: Path, variant: str | None, sets: tuple[str, ...], events: int, quiet: bool, as_json: bool
) -> None:
    """Simulate a variant of the STUDY and write its misses, by core and by channel of the memory.

    https://ui.perfetto.dev opens the file, and so does chrome://tracing.
    """
    from tiersim.experiments.timelines import write_timeline

    made = write_timeline(study, out, sets, variant=variant, events=events, quiet=quiet)
    if as_json:
        print(json.dumps(made.to_dict(), indent=2))
        return
    more = f", {made.left_out:,} left out" if made.left_out else ""
    print(f"{made.path}: {made.events:,} events of {made.variant!r}{more}")
