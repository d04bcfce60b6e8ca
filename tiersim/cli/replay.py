"""`tiersim replay` and `tiersim mrc`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tiersim.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiersim.experiments.replays import ReplayResult, Row

__all__ = ["mrc_command", "replay_command"]

MOST_ROWS = 100  # of a table for people; --json has them all


def _of_the_trace(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that both commands have."""
    for option in reversed(
        (
            click.argument("trace"),
            click.option("--format", "format_", metavar="NAME", help="Reader of the file. [default: found by content]"),
            click.option(
                "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the reader or generator."
            ),
            click.option("--limit", metavar="COUNT", help="Use only so many requests, e.g. 5M."),
            click.option("--sample", metavar="SHARE", help="Keep this share of the objects, e.g. 1%, and estimate."),
            click.option("--ignore-sizes", is_flag=True, help="Take every object as equally large."),
            click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all that is random."),
            click.option("--workers", type=click.IntRange(1), help="Threads to use. [default: one for each core]"),
            click.option("--quiet", is_flag=True, help="No progress on standard error."),
            click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        )
    ):
        command = option(command)
    return command


@click.command("replay", short_help="Replay requests for objects under many policies and sizes.")
@_of_the_trace
@click.option("--policy", "policies", default="lru", show_default=True, metavar="A,B", help="Policies; see below.")
@click.option("--size", "sizes", default="1%", show_default=True, metavar="A,B", help="Sizes: 1%, 64MiB, 1000obj.")
@click.option("--quota", "quotas", metavar="equal|TENANT=SHARE,...", help="A part of the cache for each tenant alone.")
@click.option("--warm-up", default="0", metavar="COUNT|SHARE", help="First requests that are not counted.")
@click.option("--windows", type=click.IntRange(1), default=1, help="Also count in so many parts of the trace.")
@click.option("--seeds", type=click.IntRange(1), default=1, help="Run random policies so many times.")
@click.option("--no-regret", is_flag=True, help="Do not compare with Belady's policy, which knows the future.")
@click.option("--why", "key", metavar="ID", help="Tell the life of this object instead.")
@click.option(
    "--plot", "plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the rows: .png, .svg, .pdf."
)
def replay_command(
    trace: str,
    format_: str | None,
    options: tuple[str, ...],
    limit: str | None,
    sample: str | None,
    ignore_sizes: bool,
    seed: int,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    policies: str,
    sizes: str,
    quotas: str | None,
    warm_up: str,
    windows: int,
    seeds: int,
    no_regret: bool,
    key: str | None,
    plot: Path | None,
) -> None:
    """Replay TRACE, a file or a catalogue name, and print hits and misses of each policy at each size.

    A policy is a name (`tiersim list object-replacement`), with parameters slru(protected=60%), behind an admission
    tinylfu+lru, or a class of your own path/to/file.py:Name. Sizes in % are shares of all different objects of the
    trace.
    """
    from tiersim._base.errors import StudyError
    from tiersim.experiments import replays

    common: dict[str, Any] = {
        "format": format_,
        "ignore_sizes": ignore_sizes,
        "seed": seed,
        "limit": _count(limit),
        "quiet": quiet,
        **_options(options),
    }
    if key is not None:
        ignored = {"sample": sample, "quota": quotas, "windows": windows > 1, "plot": plot, "seeds": seeds > 1}
        _no_others(ignored | {"warm-up": warm_up != "0"})
        _why(trace, replays.names_in(policies), replays.names_in(sizes), key, common, as_json)
        return
    result = replays.replay(
        trace,
        policies,
        sizes,
        quotas=_quotas(quotas),
        share=_share(sample),
        warm_up=warm_up,
        windows=windows,
        seeds=seeds,
        regret=not no_regret,
        workers=workers or os.cpu_count() or 1,
        **common,
    )
    if not result.rows:
        raise StudyError(
            "\n  ".join(["nothing was replayed", *(f"{no['what']}: {no['why']}" for no in result.skipped)])
        )
    drawn = _drawn(plot, result)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        _show(result)
        if drawn:
            click.echo(drawn)


@click.command("mrc", short_help="Miss ratio by cache size.")
@_of_the_trace
@click.option("--policy", "policies", default="lru", show_default=True, metavar="A,B", help="Policies, as for replay.")
@click.option("--points", type=click.IntRange(2), default=20, show_default=True, help="How many sizes.")
@click.option("--size", "sizes", metavar="A,B", help="Sizes instead, as for replay.")
@click.option("--warm-up", default="0", metavar="COUNT|SHARE", help="First requests that are not counted.")
@click.option("--plot", "plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg or .pdf.")
def mrc_command(
    trace: str,
    format_: str | None,
    options: tuple[str, ...],
    limit: str | None,
    sample: str | None,
    ignore_sizes: bool,
    seed: int,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    policies: str,
    points: int,
    sizes: str | None,
    warm_up: str,
    plot: Path | None,
) -> None:
    """Print the miss ratio of TRACE at many cache sizes.

    LRU is exact at all sizes in one pass; any other policy is replayed once for each size. --sample estimates from a
    share of the objects and says how far it may be off.
    """
    from tiersim.experiments.miss_ratio_curve import miss_ratio_curve
    from tiersim.experiments.replays import names_in, read_requests

    name, requests = read_requests(
        trace, format=format_, share=_share(sample), seed=seed, limit=_count(limit), quiet=quiet, **_options(options)
    )
    curves = [
        miss_ratio_curve(
            requests,
            policy,
            points=points,
            sizes=names_in(sizes) if sizes else None,
            ignore_sizes=ignore_sizes,
            warm_up=warm_up,
            seed=seed,
            workers=workers or os.cpu_count() or 1,
            quiet=quiet,
        )
        for policy in names_in(policies)
    ]
    for curve in curves:
        curve.trace = name
    drawn = ""
    if plot is not None:
        from tiersim.experiments.curve_figures import draw_curves, saved

        drawn = saved(draw_curves(curves), plot)
    if as_json:
        held = [curve.to_dict() for curve in curves]
        print(json.dumps(held[0] if len(held) == 1 else {"curves": held}, indent=2))
        return
    for curve in curves:
        click.secho(f"{curve.policy} on {curve.trace}: {curve.requests:,} requests, {curve.method}", bold=True)
        sized = curve.unit == "bytes"
        columns = [f"size ({curve.unit})", "miss ratio", *(["byte miss ratio"] if sized else [])]
        columns += ["standard error"] if curve.error else []
        rows = []
        for at, size in enumerate(curve.sizes):
            row = [f"{size:,}", _percent(curve.miss_ratio[at])]
            row += [_percent(curve.byte_miss_ratio[at])] if sized else []
            rows.append([*row, _percent(curve.error[at])] if curve.error else row)
        print_table(columns, rows, right=tuple(columns))
        for note in curve.notes:
            click.echo(f"note: {note}")
    if drawn:
        click.echo(drawn)


def _options(given: tuple[str, ...]) -> dict[str, Any]:
    from tiersim._base.errors import StudyError

    made: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise StudyError(f"--option {text!r} is no KEY=VALUE")
        from tiersim.experiments.replays import value_of

        made[key] = value_of(value)
    return made


def _no_others(given: dict[str, Any]) -> None:
    from tiersim._base.errors import StudyError

    if said := [name for name, value in given.items() if value]:
        raise StudyError(f"--why tells the life of one object, and --{said[0]} means nothing to it")


def _count(text: str | None) -> int | None:
    from tiersim._base.errors import StudyError
    from tiersim._base.units import parse

    if text is None:
        return None
    amount = parse(text, "count").amount
    if not amount:
        raise StudyError("a limit of 0 leaves no request")
    return amount


def _share(text: str | None) -> float:
    from tiersim._base.errors import StudyError
    from tiersim._base.units import parse

    if text is None:
        return 1.0
    amount = parse(text, "ratio").amount / 10**9
    if not 0 < amount <= 1:
        raise StudyError(f"a sample of {text} is no share of the objects: it must lie above 0 and not above 100 %")
    return amount


def _quotas(text: str | None) -> Any:
    from tiersim._base.errors import StudyError

    if text is None or text == "equal":
        return text
    made = {}
    for item in text.split(","):
        tenant, equals, share = item.partition("=")
        if not equals:
            raise StudyError(f"--quota {item!r} is no TENANT=SHARE")
        made[tenant.strip()] = share.strip()
    return made


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _show(result: ReplayResult) -> None:
    seeded = any(row.seed is not None for row in result.rows)
    sized = any(row.bytes != row.requests for row in result.rows)
    columns = ["policy", "size", *(["seed"] if seeded else []), "requests", "misses", "miss ratio"]
    regret, error = (any(getattr(row, name) is not None for row in result.rows) for name in ("regret", "error"))
    columns += [*(["standard error"] if error else []), *(["byte miss ratio"] if sized else []), "evictions"]
    columns += ["above Belady"] if regret else []
    rows = []
    for row in result.rows:
        cells = [row.policy, row.size, *(["" if row.seed is None else str(row.seed)] if seeded else [])]
        cells += [f"{row.requests:,}", f"{row.misses:,}", _percent(row.miss_ratio)]
        cells += [_percent(row.error or 0)] if error else []
        cells += [_percent(row.byte_miss_ratio)] if sized else []
        cells += ["" if row.evictions is None else f"{row.evictions:,}"]
        rows.append([*cells, *([f"{100 * (row.regret or 0):.2f} points"] if regret else [])])
    click.secho(result.trace, bold=True)
    print_table(columns, rows, right=tuple(columns[2:]))
    _show_more("tenant", result.tenants)
    _show_more("window", result.windows)
    for item in result.skipped:
        click.secho(f"skipped: {item['what']}: {item['why']}", fg="yellow")
    for note in result.notes:
        click.echo(f"note: {note}")


def _show_more(what: str, found: list[Row]) -> None:
    """Rows of tenants or of windows."""
    if not found:
        return
    columns = ["policy", "size", what, *(["ends at"] if what == "window" else []), "requests", "misses", "miss ratio"]
    rows = []
    for row in found[:MOST_ROWS]:
        end = [] if row.end is None else [f"{row.end:,}"]
        counts = [f"{row.requests:,}", f"{row.misses:,}", _percent(row.miss_ratio)]
        rows.append([row.policy, row.size, str(getattr(row, what)), *end, *counts])
    click.secho(f"by {what}", bold=True)
    print_table(columns, rows, right=tuple(columns[2:]))
    if len(found) > MOST_ROWS:
        click.echo(f"... and {len(found) - MOST_ROWS:,} more rows; --json prints all")


def _drawn(plot: Path | None, result: ReplayResult) -> str:
    if plot is None:
        return ""
    from tiersim.experiments.curve_figures import draw_replay, saved

    return saved(draw_replay(result), plot)


def _why(trace: str, policies: list[str], sizes: list[str], key: str, common: dict[str, Any], as_json: bool) -> None:
    from tiersim._base.errors import StudyError
    from tiersim.experiments.replays import ask_why

    if len(policies) != 1 or len(sizes) != 1:
        raise StudyError("--why tells the life of one object under one policy at one size")
    requests, life = ask_why(trace, policies[0], sizes[0], key, **common)
    words = ("miss", "hit", "")
    if as_json:
        rows = [
            {
                "request": event.request,
                "asked": int(requests.keys[event.asked]),
                "outcome": words[event.outcome] or "none",
                "before": event.before,
                "after": event.after,
            }
            for event in life
        ]
        print(json.dumps({"object": key, "policy": policies[0], "size": sizes[0], "life": rows}, indent=2))
        return
    click.secho(f"object {key} under {policies[0]} at {sizes[0]}", bold=True)
    for event in life:
        asked = str(requests.keys[event.asked])
        own = event.asked == life[0].asked  # nothing moves an object before it was asked for
        what = f"{words[event.outcome] or 'no demand'}" if own else f"by a request for {asked}"
        moved = f"{event.before} -> {event.after}" if event.before != event.after else f"stays {event.after}"
        click.echo(f"request {event.request:>12,}  {moved:24} {what}")
    click.echo(f"{len(life):,} events")
