"""The command line. Each command lives in a module of its own, imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from tiersim import __version__
from tiersim._base.errors import StudyError, TiersimError

__all__ = ["main"]

COMMANDS = {
    "run": ("tiersim.cli.run", "Run a study from a YAML file."),
    "report": ("tiersim.cli.report", "Write the report of a finished study again, and what a paper takes from it."),
    "diff": ("tiersim.cli.diff", "Explain the difference of two results by its causes."),
    "rerun": ("tiersim.cli.rerun", "Run a bundle of someone's study again, and compare what comes out."),
    "verify": ("tiersim.cli.verify", "Run studies and judge what they claim of published figures."),
    "replay": ("tiersim.cli.replay", "Replay requests for objects under many policies and sizes."),
    "mrc": ("tiersim.cli.replay", "Miss ratio by cache size, of LRU for all sizes in one pass."),
    "traces": ("tiersim.cli.traces", "Look up, fetch, check, describe and convert traces."),
    "timeline": ("tiersim.cli.timeline", "Write what happens in queued time as a file for Perfetto."),
    "capture": ("tiersim.cli.capture", "Make a trace of a program, a server or a model of your own."),
    "list": ("tiersim.cli.show", "List what exists: policies, presets, traces, metrics, claims ..."),
    "explain": ("tiersim.cli.show", "Explain a key, policy, preset, metric or claim: unit, default, source."),
    "schema": ("tiersim.cli.show", "Print the JSON Schema of a study, for editors."),
    "new": ("tiersim.cli.new", "Write a commented study to start from."),
    "presets": ("tiersim.cli.presets", "Make presets of hardware and models of your own."),
    "calibrate": ("tiersim.cli.calibrate", "Fit a time model of language models to measured times."),
}


class _Lazy(click.Group):
    """Knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(COMMANDS[name][0]), f"{name}_command")
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from tiersim._base.registry import nearest

            hint = nearest(args[0], COMMANDS) or f"there are: {', '.join(COMMANDS)}"
            raise StudyError(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tiersim")
def _tiersim() -> None:
    """Ask what-if questions about memory hierarchies and cache policies, on real traces.

    Start with `tiersim new memory-hierarchy`, then `tiersim run memory-hierarchy.yaml`.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Failures that a user can act on end with one message and exit status 2."""
    try:
        status = _tiersim.main(arguments, prog_name="tiersim", standalone_mode=False)
    except click.exceptions.Abort as error:
        print(str(error.__cause__ or "") or "interrupted; what is finished is kept", file=sys.stderr)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except TiersimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe left
        sys.stderr.close()
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
