"""`tiersim verify`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

__all__ = ["verify_command"]


@click.command("verify", short_help="Run studies and judge what they claim of published figures.")
@click.argument("studies", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder with a folder for each study. [default: results]")
@click.option("--workers", type=click.IntRange(1), help="Processes to use. [default: one for each core]")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def verify_command(studies: tuple[Path, ...], out: Path | None, workers: int | None, quiet: bool, as_json: bool) -> int:
    """Run the STUDIES, by default those of the library that make claims, and print a verdict on each claim.

    A claim holds, fails, is skipped (its trace or an extra is absent: that never counts as holding) or is
    not-reproduced (outside its range, and the study says why). Exit status 1 when one fails.
    """
    from tiersim.experiments.claims.verify import verify

    verdicts = verify(studies, out=out, workers=workers or os.cpu_count() or 1, quiet=quiet)
    if as_json:
        print(json.dumps({"claims": [held.public() for held in verdicts]}, indent=2))
    elif not verdicts:
        click.echo("no study of the library makes a claim")
    else:
        from tiersim.experiments.claims.show import make_console, show_verdicts

        show_verdicts(verdicts, make_console())
    return int(any(held.verdict == "fails" for held in verdicts))
