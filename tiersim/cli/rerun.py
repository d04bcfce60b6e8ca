"""`tiersim rerun`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

__all__ = ["rerun_command"]


@click.command("rerun", short_help="Run a bundle of someone's study again, and compare what comes out.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder to work in. [default: rerun/STUDY]")
@click.option("--workers", type=click.IntRange(1), help="Processes to use. [default: one for each core]")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print each run as JSON.")
def rerun_command(bundle: Path, out: Path | None, workers: int | None, quiet: bool, as_json: bool) -> int:
    """Run the study in a BUNDLE again and compare the checksum of each run with that of the bundle.

    A bundle is made by `tiersim report DIR --bundle`. Code that its authors put into it is run. Exit status 1 when a
    run differs: the metrics that do are told, and by how much.
    """
    from tiersim.experiments.paper.rerun import rerun

    told = rerun(bundle, out, workers or os.cpu_count() or 1, quiet=quiet)
    if as_json:
        print(json.dumps(told.to_dict(), indent=2))
    else:
        for line in told.lines():
            click.echo(line)
    return int(not told.equal)
