"""`tiersim capture`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tiersim._base.errors import StudyError
from tiersim.cli.traces import show_info

__all__ = ["capture_command"]


@click.group("capture", short_help="Make a trace of a program or a server of your own.")
def capture_command() -> None:
    """Make a trace of a program or a server of your own."""


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
    _free(target, force)
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
        if status := trace.provenance["exit_code"]:
            click.echo(f"note: {command[0]} ended with status {status}: it may not have done what you wanted to trace")


@capture_command.command("serving", short_help="Requests to a server of language models, from in front of it.")
@click.option("--upstream", required=True, metavar="URL", help="The server, e.g. http://127.0.0.1:8000.")
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where clients come.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("requests.parquet"),
    show_default=True,
    help="The trace file.",
)
@click.option("--requests", metavar="COUNT", help="Stop after this many requests.")
@click.option("--time", "span", metavar="TIME", help="Stop after this time, e.g. 30 min.")
@click.option("--block", default=64, show_default=True, type=click.IntRange(1), help="Tokens of a block of a prompt.")
@click.option(
    "--salt", type=click.Path(path_type=Path), metavar="FILE", help="What hashes depend on. [default: random]"
)
@click.option("--force", is_flag=True, help="Overwrite the file, and what a killed capture left, if they are there.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print what was captured as JSON.")
def serving_command(
    upstream: str,
    listen: str,
    out: Path,
    requests: str | None,
    span: str | None,
    block: int,
    salt: Path | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Stand in front of an OpenAI-compatible server, and store when requests come and how they are answered.

    Chats and completions are noted: arrival, tokens of prompt and answer, hashes of the blocks of the prompt, session,
    model, the time of each piece of the answer and of its end. No text is kept. All else passes. Ctrl-C ends it.
    """
    from tiersim._base import units
    from tiersim.experiments.progress import Bar
    from tiersim.experiments.trace_doctor import check_trace, trace_info
    from tiersim.traces import capture_serving
    from tiersim.traces.serving_capture import journal_of

    _free(out, force)
    if force:
        journal_of(out).unlink(missing_ok=True)
    most = None if requests is None else units.parse(requests, "count").amount
    with Bar("capturing", most or 0, "requests", quiet=quiet) as bar:
        trace = capture_serving(
            upstream,
            out,
            listen=listen,
            requests=most,
            seconds=None if span is None else units.parse(span, "time").amount / 10**12,
            block_tokens=block,
            salt=None if salt is None else _salt(salt),
            ready=lambda address: click.echo(f"clients may send to {address}; Ctrl-C ends the capture", err=True),
            progress=lambda done, *_: bar.update(done),
        )
    check, info = check_trace(out), trace_info(out)
    size = out.stat().st_size
    if as_json:
        found = {"file": str(out), "records": trace.records, "kinds": trace.kinds, "bytes": size}
        told = {name: trace.provenance[name] for name in ("stopped_by", "without_usage")}
        print(json.dumps({**found, **told, "warnings": check.warnings, "info": info.to_dict()}, indent=2))
        return
    show_info(info)
    for text in check.warnings:
        click.secho(f"warning: {text}", fg="yellow")
    if trace.provenance["without_usage"]:
        click.secho(
            f"warning: of {trace.provenance['without_usage']:,} requests the server did not tell the tokens: their "
            "prompts have 0, and their answers one for each piece",
            fg="yellow",
        )
    print(f"{out}: {trace.records:,} requests, {trace.kinds['failed']:,} failed, {size:,} B")


def _salt(path: Path) -> bytes:
    from hashlib import blake2b

    try:
        return blake2b(path.read_bytes()).digest()
    except OSError as error:
        raise StudyError(f"the salt {path} cannot be read: {error.strerror or error}") from None


def _free(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise StudyError(
            f"{target} is there already", None, "name another file with --out, or overwrite it with --force"
        )
