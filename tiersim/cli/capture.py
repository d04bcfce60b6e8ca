"""`tiersim capture`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tiersim._base.errors import StudyError

__all__ = ["capture_command"]


@click.group("capture", short_help="Make a trace of a program of your own.")
def capture_command() -> None:
    """Make a trace of a program of your own."""


@capture_command.command("memory", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--out", type=click.Path(path_type=Path), help="The trace file. [default: PROGRAM.parquet]")
@click.option("--limit", metavar="COUNT", help="Stop after this many records, e.g. 5M.")
@click.option("--time", "span", metavar="TIME", help="Stop after this time, e.g. 30 s.")
@click.option("--skip", metavar="COUNT", default="0", help="Leave out this many records first.")
@click.option("--fetches", is_flag=True, help="Keep instruction fetches as records too.")
@click.option("--children", is_flag=True, help="Follow the programs that it starts.")
@click.option("--silent", is_flag=True, help="Throw the program's own output away.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print what was captured as JSON.")
def memory_command(
    command: tuple[str, ...],
    out: Path | None,
    limit: str | None,
    span: str | None,
    skip: str,
    fetches: bool,
    children: bool,
    silent: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run COMMAND under valgrind and store its memory accesses: tiersim capture memory -- PROGRAM ARGS.

    Programs run hundreds to thousands of times slower while they are traced. The file replays with `trace: FILE`.
    """
    from tiersim._base import units
    from tiersim.experiments.progress import Bar
    from tiersim.traces import capture_memory

    target = out or Path(f"{Path(command[0]).name}.parquet")
    if target.exists() and not force:
        raise StudyError(
            f"{target} is there already", None, "name another file with --out, or overwrite it with --force"
        )
    most = None if limit is None else units.parse(limit, "count").amount
    seconds = None if span is None else units.parse(span, "time").amount / 10**12
    with Bar(f"capturing {command[0]}", most or 0, "records", quiet=quiet or as_json) as bar:
        trace = capture_memory(
            list(command),
            target,
            fetches=fetches,
            limit=most,
            seconds=seconds,
            skip=units.parse(skip, "count").amount,
            children=children,
            silent=silent or as_json,
            progress=lambda done, *_: bar.update(done),
        )
    found = {
        "file": str(target),
        "records": trace.records,
        "instructions": trace.instructions,
        "kinds": trace.kinds,
        "bytes": target.stat().st_size,
    }
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        kinds = ", ".join(f"{count:,} {kind}s" for kind, count in trace.kinds.items() if count)
        print(
            f"{target}: {trace.records:,} records ({kinds}), {trace.instructions:,} instructions, {found['bytes']:,} B"
        )
