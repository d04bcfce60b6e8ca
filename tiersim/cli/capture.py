"""`tiersim capture`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tiersim._base.errors import StudyError
from tiersim.cli.traces import show_info

if TYPE_CHECKING:
    from tiersim.traces.prompts import Prompt
    from tiersim.traces.trace import Trace

__all__ = ["capture_command"]

NO_EVIDENCE = "the weights are random: this is no evidence of how any trained model routes"


@click.group("capture", short_help="Make a trace of a program, a server or a model of your own.")
def capture_command() -> None:
    """Make a trace of a program, a server or a model of your own."""


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
    told = {name: trace.provenance[name] for name in ("stopped_by", "without_usage")}
    odd = []
    if trace.provenance["without_usage"]:
        odd.append(
            f"of {trace.provenance['without_usage']:,} requests the server did not tell the tokens: their "
            "prompts have 0, and their answers one for each piece"
        )
    _tell(out, trace, f"{trace.records:,} requests, {trace.kinds['failed']:,} failed", odd, told, as_json)


@capture_command.command("moe", short_help="Experts that the routers of a language model choose.")
@click.argument("model", required=False)
@click.option("--random", "random_", metavar="NAME", help="Instead of MODEL a small one with random weights.")
@click.option(
    "--prompts", required=True, metavar="FILE", help="Prompts, one a line, or JSON lines; - is standard input."
)
@click.option("--tokens", default=0, show_default=True, type=click.IntRange(0), help="Tokens to generate after each.")
@click.option(
    "--temperature",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Draw them; at 0 the likeliest.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Of random weights and drawn tokens."
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda, ...; auto: all there are.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("experts.parquet"),
    show_default=True,
    help="The trace file.",
)
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print what was captured as JSON.")
def moe_command(
    model: str | None,
    random_: str | None,
    prompts: str,
    tokens: int,
    temperature: float,
    seed: int,
    device: str,
    out: Path,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run MODEL on prompts with transformers, and store which experts its routers choose for each token at each layer.

    MODEL is a name or a folder, as from_pretrained takes it. A line of JSON has "prompt", a text or token numbers, or
    "messages", a chat. Ctrl-C ends it, and what is captured by then is kept.
    """
    from tiersim.experiments.progress import Bar
    from tiersim.traces import capture_moe
    from tiersim.traces.moe_models import random_model

    if (model is None) == (random_ is None):
        raise StudyError(
            "name one model to capture", None, "tiersim capture moe MODEL --prompts FILE, or --random mixtral to try it"
        )
    _free(out, force)
    asked = _prompts(prompts)
    given: Any = model if random_ is None else random_model(random_, seed, device)
    with ExitStack() as stack:
        bars: list[Bar] = []

        def progress(done: int, total: int | None, unit: str) -> None:
            if not bars:  # only now is known how much there is
                bars.append(stack.enter_context(Bar("capturing", total or 0, unit)))
            bars[0].update(done)

        trace = capture_moe(
            given,
            asked,
            out,
            tokenizer=None if random_ is None else _bytes,
            tokens=tokens,
            temperature=temperature,
            seed=seed,
            device=device,
            caution="" if random_ is None else NO_EVIDENCE,
            progress=None if quiet else progress,
        )
    kept = ("model", "layers", "experts", "prompts", "prompt_tokens", "generated_tokens", "stopped_by")
    told = {name: trace.provenance[name] for name in kept}
    what = f"{told['prompt_tokens']:,} tokens of {told['prompts']:,} prompts, {told['generated_tokens']:,} generated"
    _tell(out, trace, f"{trace.records:,} routed tokens ({what})", [], told, as_json)


def _tell(out: Path, trace: Trace, what: str, odd: list[str], told: dict[str, Any], as_json: bool) -> None:
    """Say what a captured trace is like, what is odd about it, and what it is."""
    from tiersim.experiments.trace_doctor import check_trace, trace_info

    check, info = check_trace(out), trace_info(out)
    size = out.stat().st_size
    warnings = [*check.warnings, *odd]
    if as_json:
        found = {"file": str(out), "records": trace.records, "kinds": trace.kinds, "bytes": size}
        print(json.dumps({**found, **told, "warnings": warnings, "info": info.to_dict()}, indent=2))
        return
    show_info(info)
    for text in warnings:
        click.secho(f"warning: {text}", fg="yellow")
    print(f"{out}: {what}, {size:,} B")


def _prompts(name: str) -> list[Prompt]:
    from tiersim.traces.prompts import read_prompts

    source = "standard input" if name == "-" else name
    try:
        with click.open_file(name, encoding="utf-8-sig") as file:
            return read_prompts(file, source)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StudyError(f"the prompts of {source} cannot be read: {why}") from None


def _bytes(text: str) -> list[int]:
    return list(text.encode())


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
