"""Traces of requests to a server of language models, from a proxy in front of it."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tiersim._base.errors import CaptureError, DependencyError
from tiersim._base.registry import build
from tiersim.traces.progress import Progress
from tiersim.traces.schema import REQUEST
from tiersim.traces.serving_journal import Journal
from tiersim.traces.store import LEVEL, StoredTrace, Writer
from tiersim.traces.trace import Trace

if TYPE_CHECKING:
    from aiohttp import web

    from tiersim.traces.serving_proxy import Proxy

__all__ = ["capture_serving", "journal_of"]

GRACE: Final = 10.0  # seconds that requests have to end in when the capture ends
SALT: Final = 64  # bytes at most


def capture_serving(
    upstream: str,
    out: Path | str,
    *,
    listen: str = "127.0.0.1:8080",
    requests: int | None = None,
    seconds: float | None = None,
    block_tokens: int = 64,
    salt: bytes | None = None,
    level: int = LEVEL,
    ready: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Stand in front of an OpenAI-compatible server and store the requests that clients make as a trace.

    Clients send to ``listen`` (host:port; port 0 takes a free one) what they would send to ``upstream``, an address
    with http or https; ``ready`` is called with the address when they may. Chats and completions are noted, the rest
    passes. It ends when as many ``requests`` have ended, after ``seconds``, or when the process is told to by SIGINT or
    SIGTERM: what is under way then has 10 seconds, and a second signal breaks it off.

    No text is kept: prompts become blocks of ``block_tokens``, hashed with the ``salt``, as sessions are; without one
    it is random and forgotten. Until the end all is in a journal beside ``out`` (`journal_of`), which is a trace of its
    own where the capture was killed. Raises CaptureError when nothing came or the file or the address cannot be had,
    DependencyError without aiohttp.
    """
    upstream, host, port = _address(upstream), *_place(listen)
    if salt is not None and not 0 < len(salt) <= SALT:
        raise CaptureError(f"a salt has 1 to {SALT} bytes, and this one {len(salt):,}", None, "take another")
    reader = build("reader", {"use": "serving-journal", "block_tokens": block_tokens})
    try:
        import aiohttp  # noqa: F401 - the proxy needs it
    except ImportError:
        raise DependencyError(
            "a capture in front of a server needs aiohttp", None, "pip install 'tiersim[serving]'"
        ) from None
    path = journal_of(out)
    with Journal(path) as journal:
        key = salt or secrets.token_bytes(SALT)
        told = asyncio.run(_capture(upstream, host, port, journal, key, requests, seconds, ready, progress))
        if not journal.begun:
            raise CaptureError("not one request came", None, f"let clients send here what they send to {upstream}")
    provenance = {"captured": "in front of a server", "block_tokens": block_tokens, **told}
    with path.open("rb") as file, Writer(out, schema=REQUEST, provenance=provenance, level=level) as store:
        for chunk in reader.read(file, path.name):
            store.append(chunk)
    path.unlink()
    return StoredTrace(out)


def journal_of(out: Path | str) -> Path:
    """Where a capture that makes this file notes what comes."""
    return Path(f"{out}.journal")


async def _capture(
    upstream: str,
    host: str,
    port: int,
    journal: Journal,
    salt: bytes,
    requests: int | None,
    seconds: float | None,
    ready: Callable[[str], None] | None,
    progress: Progress | None,
) -> dict[str, Any]:
    from aiohttp import web

    from tiersim.traces.serving_proxy import HEADER, Proxy

    def noted(count: int) -> None:
        if progress is not None:
            progress(count, requests, "requests")

    proxy = Proxy(upstream, journal, salt, requests, noted)
    runner = web.AppRunner(
        proxy.application(),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=GRACE,
        max_line_size=HEADER,
        max_field_size=HEADER,
    )
    try:
        await runner.setup()
        address = await _listening(runner, host, port)
        if ready is not None:
            ready(address)
        stop = await _until(proxy, seconds)
    finally:
        await runner.cleanup()
        await proxy.close()
    return {"server": proxy.server, "stopped_by": stop, "without_usage": journal.uncounted}


async def _listening(runner: web.AppRunner, host: str, port: int) -> str:
    """The address at which clients are served now."""
    from aiohttp import web

    try:
        await web.TCPSite(runner, host, port).start()
    except (OSError, OverflowError) as error:
        raise CaptureError(f"{host}:{port} cannot be listened at: {error}", None, "name another one") from None
    return f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"


async def _until(proxy: Proxy, seconds: float | None) -> str:
    """Wait for the end of the capture. What ends it."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def end() -> None:
        if told.is_set():
            proxy.drop()
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(RuntimeError, ValueError):  # in a thread that is not the main one
            loop.add_signal_handler(number, end)
    waits = {asyncio.create_task(told.wait()): "signal", asyncio.create_task(proxy.finished.wait()): "requests"}
    done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    return waits[done.pop()] if done else "seconds"


def _address(upstream: str) -> str:
    """The server's address without what clients put behind it."""
    parts = urlsplit(upstream)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CaptureError(f"{upstream!r} is no address of a server", None, "such as http://127.0.0.1:8000")
    return upstream.rstrip("/").removesuffix("/v1")


def _place(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()):
        raise CaptureError(f"{listen!r} is no place to listen at", None, "such as 127.0.0.1:8080")
    return host.strip("[]"), int(port)
