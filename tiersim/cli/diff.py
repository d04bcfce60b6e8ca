"""`tiersim diff`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

__all__ = ["diff_command"]


@click.command("diff", short_help="Explain the difference of two results by its causes.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--metric", metavar="NAME", help="What is compared. [default: the first that A shows]")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the waterfall: a file .svg, .pdf or .png.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the runs between both. [default: results/diff]")
@click.option("--workers", type=click.IntRange(1), help="Processes to use. [default: one for each core]")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print the difference as JSON.")
def diff_command(
    a: str,
    b: str,
    metric: str | None,
    plot: Path | None,
    out: Path | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Explain how a metric differs from A to B, by steps that sum to the difference exactly.

    A and B are folders of studies, such as results/NAME, or FOLDER:LABEL for one run or variant of it. What differs is
    switched from A to B cause by cause; runs between both that are stored nowhere are made.
    """
    from tiersim.experiments.diff import diff
    from tiersim.experiments.diff.show import show_diff

    if plot is not None:
        from tiersim.experiments.curve_figures import check_kind

        check_kind(plot)
    found = diff(a, b, metric, out=out, workers=workers or os.cpu_count() or 1, quiet=quiet)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        show_diff(found)
    if plot is not None:
        from tiersim.experiments.curve_figures import saved
        from tiersim.experiments.diff.figure import draw_diff

        click.echo(saved(draw_diff(found), plot), err=as_json)
    return 0
