"""Traces of one's own programs, through valgrind's lackey tool."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tiersim._base.errors import CaptureError
from tiersim._base.registry import build
from tiersim.traces.chunks import window
from tiersim.traces.progress import Progress
from tiersim.traces.readers.contract import Records
from tiersim.traces.store import LEVEL, StoredTrace, Writer, sha256_of
from tiersim.traces.trace import Trace

__all__ = ["capture_memory"]

PATIENCE = 0.1  # seconds between looks at the clock and at the program while it is silent
GRACE = 2.0  # seconds that a program has to end when told to
PIPE = 1 << 20


def capture_memory(
    command: list[str],
    out: Path | str,
    *,
    fetches: bool = False,
    limit: int | None = None,
    seconds: float | None = None,
    skip: int = 0,
    children: bool = False,
    silent: bool = False,
    environment: Mapping[str, str] | None = None,
    folder: Path | str | None = None,
    level: int = LEVEL,
    progress: Progress | None = None,
) -> Trace:
    """Run a program under valgrind and store its memory accesses as a trace.

    The first ``skip`` records are left out; after ``limit`` records or ``seconds`` the program is ended, and the trace
    is what was recorded until then. ``fetches`` keeps instruction fetches as records. ``children`` follows programs
    that this one starts, their records mixed with its own. ``silent`` throws the program's output away.
    ``environment`` and ``folder`` are what the program runs in, ``level`` is how hard zstd tries. Addresses are not
    randomised where the system allows that, so that captures repeat. Raises CaptureError when valgrind or the program
    is absent, or when nothing could be recorded; a file is left only when the capture succeeds.
    """
    program = _program(command, environment, folder)
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CaptureError("valgrind is not installed, and a capture needs it", None, "apt install valgrind")
    fixed = _fixed_addresses()
    follow = ["--trace-children=yes"] if children else ["--trace-children=no", "--child-silent-after-fork=yes"]
    options = ["--tool=lackey", "--trace-mem=yes", "--basic-counts=no", *follow]
    provenance: dict[str, Any] = {
        "command": command,
        "program_sha256": sha256_of(program),
        "environment": None if environment is None else dict(environment),
        "tracer": _version(valgrind),
        "tracer_options": options,
        "fixed_addresses": bool(fixed),
        "fetches": fetches,
        "skip": skip,
        "limit": limit,
        "seconds": seconds,
    }
    reader = build("reader", {"use": "lackey", "fetches": fetches})
    quiet = subprocess.DEVNULL if silent else None
    read_end, write_end = os.pipe()
    with suppress(OSError):  # the usual 64 KiB make the two sides wait for each other
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE)
    with open(read_end, "rb", buffering=0) as pipe, Writer(out, provenance=provenance, level=level) as store:
        try:
            process = subprocess.Popen(
                [*fixed, valgrind, *options, f"--log-fd={write_end}", "--", *command],
                pass_fds=[write_end],
                stdout=quiet,
                stderr=quiet,
                env=environment,
                cwd=folder,
            )
        except OSError as error:
            raise CaptureError(f"{command[0]} cannot be started: {error.strerror}") from None
        finally:
            os.close(write_end)
        try:
            text = _Text(pipe.fileno(), process, seconds)
            records = Records(reader.read(text, command[0]))
            for chunk in window(records, skip, limit):
                store.append(chunk)
                if progress is not None:
                    progress(store.records, limit, "records")
        finally:
            pipe.close()  # a tracer that waits for somebody to read would not hear that it should end
            ended = _end(process)
        whole = limit is None or store.records < limit
        stop = "limit" if not whole else "seconds" if text.late else "exit"
        if not store.records:
            raise _nothing(command, ended, stop, skip, text.offset)
        store.tail_instructions = records.tail if whole else 0
        store.provenance |= {"stopped_by": stop, "exit_code": ended if stop == "exit" else None}
    return StoredTrace(out)


class _Text:
    """What the tracer writes, whole lines at a time, until the program or its time ends."""

    def __init__(self, pipe: int, process: subprocess.Popen[bytes], seconds: float | None) -> None:
        self._pipe = pipe
        self._process = process
        self._until = None if seconds is None else time.monotonic() + seconds
        self._rest = b""
        self.late = False
        self.offset = 0

    def read(self, size: int, /) -> bytes:
        """Some whole lines, about ``size`` bytes of them; none at the end."""
        held = bytearray(self._rest)
        while len(held) < size and (piece := self._piece()):
            held += piece
        # a line that time cut in two is dropped; one that the program's end cut is left for the reader to refuse
        cut = held.rfind(b"\n") + 1 if self.late or len(held) >= size else len(held)
        self._rest = b"" if self.late else bytes(held[cut:])
        self.offset += cut
        return bytes(held[:cut])

    def _piece(self) -> bytes:
        while not self.late:
            self.late = self._until is not None and time.monotonic() >= self._until
            gone = self._process.poll() is not None
            if select.select([self._pipe], [], [], 0 if gone else PATIENCE)[0]:
                return os.read(self._pipe, PIPE)
            if gone:  # a program that it left behind may still hold the pipe open
                return b""
        return b""


def _program(command: list[str], environment: Mapping[str, str] | None, folder: Path | str | None) -> Path:
    if not command:
        raise CaptureError("there is no program to capture", None, "tiersim capture memory -- PROGRAM ARGUMENTS")
    name = command[0] if os.sep not in command[0] else os.path.join(folder or ".", command[0])
    found = shutil.which(name, path=None if environment is None else environment.get("PATH"))
    if found is None:
        raise CaptureError(
            f"there is no program {command[0]!r}, or it may not be executed",
            None,
            "give its path, or install it",
        )
    return Path(found)


def _fixed_addresses() -> list[str]:
    """What to put before a command so that its addresses are not randomised; nothing where that is not allowed."""
    setarch = shutil.which("setarch")
    if setarch is None:
        return []
    tried = subprocess.run([setarch, "-R", "true"], capture_output=True, check=False)
    return [setarch, "-R"] if tried.returncode == 0 else []


def _version(valgrind: str) -> str:
    return subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=False).stdout.strip()


def _end(process: subprocess.Popen[bytes]) -> int:
    """End the program if it still runs. What it exited with."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def _nothing(command: list[str], ended: int, stop: str, skip: int, heard: int) -> CaptureError:
    if stop == "seconds":
        remedy = "give it more seconds, or skip fewer records"
        return CaptureError(f"{command[0]} made no record in its time", None, remedy)
    if heard and skip:
        return CaptureError(f"{command[0]} ended before record {skip:,}", None, "skip fewer records")
    return CaptureError(
        f"{command[0]} ended with exit code {ended} before it made one access that could be recorded",
        None,
        f"see what `valgrind --tool=none -- {command[0]}` says; it must be a program for this machine, and not set-uid",
    )
