"""What stands between clients and a server of language models, passes everything on, and notes it in a journal."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from tiersim.traces.readers.requests import object_of
from tiersim.traces.serving_journal import Answer, Journal, prompt_of, salted, session_of

__all__ = ["HEADER", "Proxy"]

LARGEST: Final = 32 << 20  # bytes of a request
HEADER: Final = 1 << 16  # bytes of a line of a head
CONNECT: Final = 30.0  # seconds
PATHS: Final = ("/chat/completions", "/completions")
REFUSED: Final = (400, 422)
BLANK: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
HOPS: Final = {  # what is of a connection, and not of what is sent over it (RFC 9110, section 7.6.1)
    "connection",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


class Proxy:
    """Answers requests as the upstream server does, and notes up to ``most`` of them in a journal.

    ``noted`` is called after each with how many have ended. ``finished`` is set when all have, or when the journal
    cannot be written any more. ``server`` is what the server calls itself.
    """

    def __init__(
        self, upstream: str, journal: Journal, salt: bytes, most: int | None, noted: Callable[[int], None]
    ) -> None:
        self.upstream, self.journal, self.salt, self.most, self.noted = upstream, journal, salt, most, noted
        self.finished = asyncio.Event()
        self.server = ""
        self._asks = True  # whether the server takes the wish to be told of tokens
        self._tasks: set[asyncio.Task[Any]] = set()
        self._session = ClientSession(
            # a connection that is kept may be closed by the server just when the next request is on its way
            connector=TCPConnector(limit=0, force_close=True),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            max_line_size=HEADER,
            max_field_size=HEADER,
        )

    def application(self) -> web.Application:
        """What serves the clients."""
        made = web.Application(client_max_size=LARGEST)
        made.router.add_route("*", "/{path:.*}", self._handle)
        return made

    def drop(self) -> None:
        """Break off all that is not finished."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Let go of the connections to the server."""
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        arrival = time.perf_counter_ns()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if request.method != "POST" or not request.path.endswith(PATHS):
                return await self._passed(request, request.content if request.body_exists else None)
            raw = await request.read()
            body = object_of(raw)
            if not body or self.journal.error or (self.most is not None and self.journal.begun >= self.most):
                return await self._passed(request, raw)
            return await self._noted(request, raw, body, arrival)
        finally:
            self._tasks.discard(task)

    async def _passed(self, request: web.Request, data: Any) -> web.StreamResponse:
        """The answer to a request that is not noted."""
        try:
            async with self._ask(request, data) as held:
                return await _relayed(request, held)
        except ClientError as error:
            return _unreachable(error)

    async def _noted(self, request: web.Request, raw: bytes, body: dict[str, Any], arrival: int) -> web.StreamResponse:
        number = self.journal.begin(arrival, self._facts(request, body), prompt_of(body, self.salt), self.salt)
        answer = Answer(arrival)
        try:
            return await self._answered(request, raw, body, answer)
        except ClientError as error:
            return _unreachable(error)
        finally:
            if not answer.served:
                answer.end = time.perf_counter_ns()
            self.journal.end(number, answer)
            self.noted(self.journal.ended)
            if self.journal.error or self.journal.ended == self.most:
                self.finished.set()

    def _facts(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        model, session = body.get("model"), session_of(request.headers, body)
        return {
            "kind": "chat" if request.path.endswith(PATHS[0]) else "completion",
            "model": model if isinstance(model, str) else "",
            "session": None if session is None else salted(session, self.salt),
        }

    async def _answered(
        self, request: web.Request, raw: bytes, body: dict[str, Any], answer: Answer
    ) -> web.StreamResponse:
        options = body.get("stream_options")
        wishes = options if isinstance(options, dict) else {}
        if body.get("stream") is True and self._asks and wishes.get("include_usage") is not True:
            asking = json.dumps(body | {"stream_options": wishes | {"include_usage": True}}).encode()
            async with self._ask(request, asking, plain=True) as held:
                if held.status not in REFUSED:
                    return await _relayed(request, held, answer, hide=True)
            async with self._ask(request, raw, plain=True) as held:
                self._asks = held.status in REFUSED  # what is refused in both forms is not refused for the wish
                return await _relayed(request, held, answer)
        async with self._ask(request, raw, plain=True) as held:
            return await _relayed(request, held, answer)

    @asynccontextmanager
    async def _ask(self, request: web.Request, data: Any, *, plain: bool = False) -> AsyncIterator[ClientResponse]:
        """The server's answer; ``plain`` asks for one that is not packed, so that it can be read on the way."""
        headers = _onward(request.headers)
        if isinstance(data, bytes):
            headers.popall("Content-Length", None)
        if plain:
            headers["Accept-Encoding"] = "identity"
        async with self._session.request(
            request.method,
            URL(self.upstream + request.raw_path, encoded=True),
            headers=headers,
            data=data,
            allow_redirects=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ) as held:
            self.server = held.headers.get("Server", self.server)
            yield held


async def _relayed(
    request: web.Request, held: ClientResponse, answer: Answer | None = None, *, hide: bool = False
) -> web.StreamResponse:
    """Pass an answer on as it comes, and note what it tells; one that breaks off does so for the client too."""
    headers = _onward(held.headers)
    if hide:
        headers.popall("Content-Length", None)
    response = web.StreamResponse(status=held.status, reason=held.reason, headers=headers)
    await response.prepare(request)
    streamed = held.content_type == "text/event-stream"
    came = bytearray()
    try:
        if answer is None or not streamed:
            async for piece in held.content.iter_any():
                if answer is not None:
                    came += piece
                await response.write(piece)
        else:
            async for event, now in _events(held):
                if seen := answer.event(event, now, hide):
                    await response.write(seen)
        if answer is not None and not streamed:
            answer.body(bytes(came), time.perf_counter_ns())
        await response.write_eof()
    except (ClientError, ConnectionError):
        if answer is not None:
            answer.wrong = True
        if request.transport is not None:
            request.transport.close()
    if answer is not None and not 200 <= held.status < 300:
        answer.wrong = True
    return response


async def _events(held: ClientResponse) -> AsyncIterator[tuple[bytes, int]]:
    """The events of a stream, each with the time at which its end came; what is left at the end is one too."""
    rest = b""
    async for piece in held.content.iter_any():
        now = time.perf_counter_ns()
        rest += piece
        start = 0
        for blank in BLANK.finditer(rest):
            yield rest[start : blank.end()], now
            start = blank.end()
        rest = rest[start:]
    if rest:
        yield rest, time.perf_counter_ns()


def _unreachable(error: ClientError) -> web.Response:
    held = {"message": f"the server behind `tiersim capture serving` does not answer: {error}", "type": "bad_gateway"}
    return web.json_response({"error": held}, status=502)


def _onward(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers of what is sent, without those of the connection."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOPS | named)
