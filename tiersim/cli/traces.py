"""`tiersim traces`: what there is, whether it can be trusted, and what it is like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tiersim.cli.tables import print_table

if TYPE_CHECKING:
    from tiersim.experiments.doctor.contract import Info
    from tiersim.experiments.trace_tools import Made

__all__ = ["show_info", "traces_command"]


@click.group("traces", short_help="Look up, fetch, check, describe and convert traces.")
def traces_command() -> None:
    """Look up, fetch, check, describe and convert traces."""


def _of_a_trace(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of all that read a trace."""
    for option in reversed(
        (
            click.option("--format", "format_", metavar="NAME", help="Reader of the file. [default: found by content]"),
            click.option(
                "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the reader or generator."
            ),
            click.option("--quiet", is_flag=True, help="No progress on standard error."),
        )
    ):
        command = option(command)
    return command


def _options(given: tuple[str, ...]) -> dict[str, Any]:
    from tiersim._base.errors import StudyError
    from tiersim.experiments.replays import value_of

    made: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise StudyError(f"--option {text!r} is no KEY=VALUE")
        made[key] = value_of(value)
    return made


@traces_command.command("list", short_help="What there is: bundled, generated and public.")
@click.option("--kind", metavar="TEXT", help="Only of kinds that have this in their name.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_command(kind: str | None, as_json: bool) -> None:
    """List the traces that come along, the generators, and the public traces with their licences.

    A public trace is fetched before it is used; what is here already says so.
    """
    from tiersim._base.errors import StudyError
    from tiersim._base.paths import cache_folder
    from tiersim.experiments.catalogue import listing
    from tiersim.traces.catalogue import bundled
    from tiersim.traces.fetch import public

    folder = cache_folder("public")
    rows: list[dict[str, Any]] = []
    for row in listing("traces"):
        name = row["name"]
        if name in public():
            item = public()[name]
            here = (folder / item.file).exists()
            made: dict[str, Any] = {"kind": item.kind, "bytes": item.bytes, "licence": item.licence, "here": here}
            made |= {"url": item.url, "sha256": item.sha256, "recipe": item.recipe, "citation": item.citation}
        elif name in bundled():
            made = {"kind": "bundled", "licence": bundled()[name].licence, "here": True}
        else:
            made = {"kind": "generated", "licence": "", "here": True}
        rows.append({"name": name, **made, "about": row["about"]})
    if kind is not None:
        kinds = list(dict.fromkeys(row["kind"] for row in rows))
        rows = [row for row in rows if kind.lower() in row["kind"].lower()]
        if not rows:
            raise StudyError(f"there is no kind {kind!r}; there are: {', '.join(kinds)}")
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    cells = [[row["name"], row["kind"], "yes" if row["here"] else "", row["licence"], row["about"]] for row in rows]
    print_table(["name", "of", "here", "licence", "about"], cells)


@traces_command.command("fetch", short_help="Bring a public trace here, and check it.")
@click.argument("name")
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="Folder for it. [default: the cache folder]")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def fetch_command(name: str, to: Path | None, quiet: bool, as_json: bool) -> None:
    """Bring the public trace NAME here, and check its sha256.

    The folder that TIERSIM_TRACE_MIRROR names is tried before the network. A download that breaks off goes on where it
    stopped. Afterwards the trace is known by its name: `tiersim traces info public/arc-oltp`.
    """
    from tiersim.experiments.progress import Bar
    from tiersim.traces.fetch import fetch, find_public

    item = find_public(name)
    with Bar(f"fetching {item.name}", item.bytes, "bytes", quiet=quiet) as bar:

        def progress(done: int, total: int | None, unit: str) -> None:
            bar.total = total or 0
            bar.update(done)

        path = fetch(item, to, progress)
    if as_json:
        told = {"path": str(path), "bytes": item.bytes, "sha256": item.sha256}
        print(json.dumps({"name": item.name, **told, "licence": item.licence, "citation": item.citation}, indent=2))
        return
    click.echo(
        f"{path}\n{item.name}: {item.bytes:,} bytes, as published\nlicence: {item.licence}\ncite: {item.citation}"
    )


@traces_command.command("check", short_help="Read every record, and tell what is wrong and what is odd.")
@click.argument("trace")
@_of_a_trace
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check_command(trace: str, format_: str | None, options: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    """Read every record of TRACE, a file or a catalogue name, and tell what is wrong and what is odd.

    The exit status is 2 when the trace is damaged, missing or of no known format, and 0 with warnings only.
    """
    from tiersim.experiments.progress import aloud
    from tiersim.experiments.trace_doctor import check_trace

    with aloud(not quiet):
        found = check_trace(trace, format=format_, quiet=quiet, **_options(options))
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
        return 2 if found.errors else 0
    click.secho(f"{trace}: {found.format or 'format not known'}, {found.records:,} records", bold=True)
    for text in found.errors:
        click.secho(f"error: {text}", fg="red", err=True)
    for text in found.warnings:
        click.secho(f"warning: {text}", fg="yellow")
    if not found.errors and not found.warnings:
        click.echo("nothing wrong, nothing odd")
    return 2 if found.errors else 0


@traces_command.command("info", short_help="What a trace is like: reuse, lengths, bursts, sharing, ...")
@click.argument("trace")
@_of_a_trace
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def info_command(
    trace: str, format_: str | None, options: tuple[str, ...], quiet: bool, plot: Path | None, as_json: bool
) -> None:
    """Tell what TRACE, a file or a catalogue name, is like.

    What is told depends on its records: reuse, popularity, bursts and working set of accesses and requests for objects;
    lengths, arrivals, sessions and shared prefixes of requests to language models; and so on.

    A reuse distance counts the different objects asked for since the last request for the same one, itself included:
    an LRU cache of as many objects hits. Memory accesses count as requests for lines of 64 bytes.
    """
    from tiersim.experiments.progress import aloud
    from tiersim.experiments.trace_doctor import trace_info

    with aloud(not quiet):
        found = trace_info(trace, format=format_, quiet=quiet, **_options(options))
    drawn = ""
    if plot is not None:
        from tiersim.experiments.curve_figures import saved
        from tiersim.experiments.trace_figures import draw_info

        drawn = saved(draw_info(found), plot)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
        return
    show_info(found)
    if drawn:
        click.echo(drawn)


def show_info(info: Info) -> None:
    """Print the fingerprint of a trace as a person reads it."""
    kinds = ", ".join(f"{count:,} {name}" for name, count in info.kinds.items())
    rows = [("format", f"{info.format}, {info.schema} records"), ("records", f"{info.records:,} ({kinds})")]
    click.secho(info.trace, bold=True)
    print_table(["what", "value"], [list(row) for row in rows + info.rows()])
    for note in info.notes:
        click.echo(f"note: {note}")


_OUT = click.argument("out", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@traces_command.command("convert", short_help="Write a trace as .parquet, .csv, .jsonl or .oracleGeneral.")
@click.argument("trace")
@_OUT
@click.option("--spread-times", is_flag=True, help="Spread records of one time evenly up to the next.")
@_of_a_trace
@_JSON
def convert_command(
    trace: str,
    out: Path,
    spread_times: bool,
    format_: str | None,
    options: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Write TRACE in the form that the name OUT says: .parquet, .csv, .jsonl (JSON lines) or .oracleGeneral.

    Tables hold no lists; JSON lines do. Times are in seconds there, kinds are words, and what is no number is null.
    """
    from tiersim.experiments.progress import aloud
    from tiersim.experiments.trace_tools import convert

    with aloud(not quiet):
        made = convert(trace, out, spread_times=spread_times, format=format_, quiet=quiet, **_options(options))
    _tell(made, as_json)


@traces_command.command("sample", short_help="Write all requests for a share of the objects, or of the sessions.")
@click.argument("trace")
@_OUT
@click.option("--share", required=True, metavar="SHARE", help="Of the objects, or sessions, e.g. 1%.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another draws other objects.")
@_of_a_trace
@_JSON
def sample_command(
    trace: str,
    out: Path,
    share: str,
    seed: int,
    format_: str | None,
    options: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Write all requests of TRACE for a share of its objects to OUT, and say what error that makes.

    Objects are drawn by a hash of the key; of memory accesses, lines of 64 bytes. The error is the standard error of
    the miss ratios of LRU, from disjoint parts of the sample. Of requests to language models whole sessions are drawn,
    or single requests where sessions are not known; the error is how far the hit ratios of LRU are from those of all.
    """
    from tiersim._base.units import parse
    from tiersim.experiments.progress import aloud
    from tiersim.experiments.trace_tools import sample

    amount = parse(share, "ratio").amount / 10**9
    with aloud(not quiet):
        made = sample(trace, out, amount, seed=seed, format=format_, quiet=quiet, **_options(options))
    _tell(made, as_json)


@traces_command.command("split", short_help="Write consecutive parts of a trace.")
@click.argument("trace")
@click.option("--parts", type=click.IntRange(1), help="How many.")
@click.option("--every", metavar="COUNT", help="Or how many records in each, e.g. 1M.")
@click.option("--out", "pattern", required=True, metavar="PATTERN", help="Names, with {} for the number: part-{}.csv.")
@_of_a_trace
@_JSON
def split_command(
    trace: str,
    parts: int | None,
    every: str | None,
    pattern: str,
    format_: str | None,
    options: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Write consecutive parts of TRACE, numbered from 1."""
    from tiersim._base.errors import StudyError
    from tiersim._base.units import parse
    from tiersim.experiments.progress import aloud
    from tiersim.experiments.trace_tools import split

    count = None if every is None else parse(every, "count").amount
    if count == 0:
        raise StudyError("parts of 0 records hold nothing")
    with aloud(not quiet):
        made = split(trace, pattern, parts=parts, every=count, format=format_, quiet=quiet, **_options(options))
    _tell(made, as_json)


@traces_command.command("merge", short_help="Write several traces as one.")
@click.argument("traces", nargs=-1, required=True)
@_OUT
@click.option("--same-ids", is_flag=True, help="Equal ids are the same things.")
@click.option(
    "--separate-ids", is_flag=True, help="Equal ids of two traces are not: hash them with the trace's number."
)
@_of_a_trace
@_JSON
def merge_command(
    traces: tuple[str, ...],
    out: Path,
    same_ids: bool,
    separate_ids: bool,
    format_: str | None,
    options: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Write TRACES as one to OUT: by time where all have times, else one after the other.

    Ids are those of objects, of blocks and sessions, of trees, of nodes of graphs, of users and groups of questions.
    """
    from tiersim.experiments.progress import aloud
    from tiersim.experiments.trace_tools import merge

    given = _options(options)
    with aloud(not quiet):
        made = merge(traces, out, same_ids=same_ids, separate_ids=separate_ids, format=format_, quiet=quiet, **given)
    _tell(made, as_json)


@traces_command.command("annotate", short_help="Add to each request the next one for the same object.")
@click.argument("trace")
@_OUT
@_of_a_trace
@_JSON
def annotate_command(
    trace: str, out: Path, format_: str | None, options: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Write TRACE with the number of the next request for the same object, as OUT.oracleGeneral.

    Each block of a prompt counts as a request for an object, and so does each expert of a token.
    """
    from tiersim.experiments.progress import aloud
    from tiersim.experiments.trace_tools import annotate

    with aloud(not quiet):
        made = annotate(trace, out, format=format_, quiet=quiet, **_options(options))
    _tell(made, as_json)


def _tell(made: Made, as_json: bool) -> None:
    if as_json:
        print(json.dumps(made.to_dict(), indent=2))
        return
    for path in made.paths:
        click.echo(str(path))
    click.echo(f"{made.records:,} records")
    for note in made.notes:
        click.echo(f"note: {note}")
