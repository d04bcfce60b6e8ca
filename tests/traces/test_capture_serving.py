"""A capture in front of servers that are scripted here: what clients see, what is noted, what dies in the middle."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import CaptureError, DependencyError
from tiersim.cli import main
from tiersim.traces import capture_serving, load_trace, stream_trace
from tiersim.traces.serving_capture import journal_of
from tiersim.traces.serving_journal import STEP, Answer, Journal, marks, prompt_of, session_of
from tiersim.traces.trace import Trace

web = pytest.importorskip("aiohttp.web")
from tiersim.traces import serving_proxy  # noqa: E402 - needs aiohttp

Handler = Callable[[Any], Awaitable[Any]]
CHAT = "/v1/chat/completions"
SECRET = "the quick brown fox"


def asked(text: str = SECRET, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def event(**held: Any) -> bytes:
    return b"data: " + json.dumps(held).encode() + b"\n\n"


def word(text: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}])


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
FIRST = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
LAST = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
DONE = b"data: [DONE]\n\n"


async def streaming(request: Any) -> Any:
    """Three words, 20 ms apart, and the usage where it is asked for, as OpenAI's own servers do it."""
    body = await request.json()
    told = bool((body.get("stream_options") or {}).get("include_usage"))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", "Server": "scripted"})
    await response.prepare(request)
    for piece in (FIRST, word("one"), word(" two"), word(" three"), LAST):
        if told:
            held = json.loads(piece[6:])
            piece = event(**held, usage=None)
        await response.write(piece)
        await asyncio.sleep(0.02)
    if told:
        await response.write(event(choices=[], usage=USAGE))
    await response.write(DONE)
    return response


async def whole(request: Any) -> Any:
    await request.read()
    return web.json_response({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": USAGE})


@contextmanager
def serving(*routes: tuple[str, Handler]) -> Iterator[str]:
    """A server with these answers, on a free port."""
    loop = asyncio.new_event_loop()

    async def start() -> tuple[Any, int]:
        app = web.Application(client_max_size=1 << 30)
        for path, handler in routes:
            app.router.add_route("*", path, handler)
        sizes = {"max_line_size": 1 << 16, "max_field_size": 1 << 16}
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1, **sizes)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, runner.addresses[0][1]

    runner, port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Capture:
    """A capture in a thread; ``address`` is where clients come."""

    def __init__(self, upstream: str, out: Path, **options: Any) -> None:
        self.out, self.trace, self.error = out, None, None  # type: tuple[Path, Trace | None, Exception | None]
        self.address = ""
        up = threading.Event()

        def ready(address: str) -> None:
            self.address = address
            up.set()

        def run() -> None:
            try:
                self.trace = capture_serving(upstream, out, listen="127.0.0.1:0", ready=ready, **options)
            except Exception as error:
                self.error = error
            finally:
                up.set()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert up.wait(20)
        if self.error is not None:
            raise self.error

    def end(self) -> dict[str, list[Any]]:
        """The columns of what was captured."""
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        assert self.trace is not None
        return columns(self.trace)


def columns(trace: Trace) -> dict[str, list[Any]]:
    (chunk,) = trace.chunks()
    return {name: [np.asarray(each).tolist() for each in held] for name, held in chunk.items()}


def send(address: str, body: Any, path: str = CHAT, method: str = "POST", **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of an answer; a body that breaks off ends with where it broke."""
    line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    line.request(method, path, raw, {"Content-Type": "application/json", **headers})
    held = line.getresponse()
    try:
        return held.status, held.headers, held.read()
    except http.client.IncompleteRead as error:
        return held.status, held.headers, error.partial + b"<cut>"
    finally:
        line.close()


def wait_for(out: Path, lines: int) -> None:
    """Until the journal of a capture has so many lines."""
    while journal_of(out).read_bytes().count(b"\n") < lines:
        time.sleep(0.01)


def in_vain(address: str, body: Any) -> None:
    """Send what is never answered."""
    with suppress(OSError, http.client.HTTPException):
        send(address, body)


def test_a_stream(tmp_path: Path) -> None:
    with serving((CHAT, streaming)) as upstream:
        alone = send(upstream, asked(stream=True))
        capture = Capture(upstream, tmp_path / "r.parquet", requests=1)
        status, headers, body = send(capture.address, asked(stream=True), **{"X-Session-Id": "s"})
        found = capture.end()
    assert (status, body) == (alone[0], alone[2])
    assert headers["Content-Type"] == alone[1]["Content-Type"]
    assert headers["Server"] == "scripted"
    assert (found["input"], found["output"], found["arrival"]) == ([7], [3], [0])
    assert len(found["session"]) == 1
    assert "status" not in found
    (pieces,) = found["pieces"]
    assert len(pieces) == 3
    assert all(later - sooner > 15_000_000 for sooner, later in pairwise(pieces))
    assert pieces[0] > 15_000_000  # the role that comes first is no piece
    assert found["end"][0] >= pieces[2] + 30_000_000
    assert capture.trace is not None
    said = capture.trace.provenance
    assert (said["server"], said["stopped_by"], said["without_usage"]) == ("scripted", "requests", 0)
    assert [item.name for item in tmp_path.iterdir()] == ["r.parquet"]


@pytest.mark.parametrize("options", [{"include_usage": True}, {"include_usage": True, "other": 1}])
def test_who_asks_for_the_usage_sees_it(tmp_path: Path, options: dict[str, Any]) -> None:
    with serving((CHAT, streaming)) as upstream:
        body = asked(stream=True, stream_options=options)
        capture = Capture(upstream, tmp_path / "r.parquet", requests=1)
        through = send(capture.address, body)
        assert through[2] == send(upstream, body)[2]
        assert b"prompt_tokens" in through[2]
        assert capture.end()["input"] == [7]


def test_an_answer_that_comes_whole(tmp_path: Path) -> None:
    with serving(("/v1/completions", whole)) as upstream:
        capture = Capture(f"{upstream}/v1/", tmp_path / "r.parquet", requests=2)
        for _ in range(2):
            body = {"prompt": SECRET, "stream": False, "model": "m"}
            assert send(capture.address, body, "/v1/completions")[2] == send(upstream, body, "/v1/completions")[2]
        found = capture.end()
    assert (found["input"], found["output"]) == ([7, 7], [3, 3])
    assert "pieces" not in found
    assert "session" not in found
    assert found["arrival"][1] >= found["end"][0] > 0


def test_all_else_passes(tmp_path: Path) -> None:
    async def echo(request: Any) -> Any:
        raw = await request.read()
        held = {"X-Method": request.method, "X-Query": request.raw_path, "X-Got": request.headers.get("X-Sent", "")}
        return web.Response(body=raw[::-1], status=418, headers=held)

    big = os.urandom(3 << 20)
    with serving(("/{path:.*}", echo)) as upstream:
        capture = Capture(upstream, tmp_path / "r.parquet", seconds=3.0)
        for method, body in (("GET", None), ("DELETE", None), ("PUT", big), ("POST", b"")):
            path = "/v1/models/a%2Fb?x=1&y=%20"
            status, headers, back = send(capture.address, body, path, method, **{"X-Sent": "so"})
            assert (status, back) == (418, (body or b"")[::-1])
            assert (headers["X-Method"], headers["X-Query"], headers["X-Got"]) == (method, path, "so")
        long = "x" * 20_000  # longer than servers in Python take unless told
        status, headers, _ = send(capture.address, None, "/health", "GET", **{"X-Sent": long})
        assert (status, headers["X-Got"]) == (418, long)
        status, headers, back = send(capture.address, None, "/health", "HEAD")
        assert (status, headers["X-Method"], back) == (418, "HEAD", b"")
        assert send(capture.address, b"no json", CHAT)[2] == b"nosj on"  # nobody can tell what it asks
        with pytest.raises(CaptureError, match="not one request came"):
            capture.end()
    assert not list(tmp_path.iterdir())


def test_a_server_that_refuses_the_wish_for_usage(tmp_path: Path) -> None:
    seen: list[bool] = []

    async def strict(request: Any) -> Any:
        body = await request.json()
        seen.append("stream_options" in body)
        if seen[-1] or "bad" in body:
            return web.json_response({"error": {"message": "unknown field"}}, status=400)
        return await streaming(request)

    with serving((CHAT, strict)) as upstream:
        capture = Capture(upstream, tmp_path / "r.parquet", requests=4)
        statuses = [send(capture.address, asked(stream=True, **more))[0] for more in ({"bad": 1}, {}, {}, {"bad": 1})]
        found = capture.end()
    assert statuses == [400, 200, 200, 400]
    assert seen == [True, False, True, False, False, False]
    assert found["status"] == [1, 0, 0, 1]
    assert (found["input"], found["output"]) == ([0] * 4, [0, 3, 3, 0])
    assert capture.trace is not None
    assert capture.trace.provenance["without_usage"] == 2


def test_the_server_dies_in_the_middle(tmp_path: Path) -> None:
    async def dying(request: Any) -> Any:
        streamed = (await request.json())["stream"]
        held = {"Content-Type": "text/event-stream"} if streamed else {"Content-Length": "5000"}
        response = web.StreamResponse(headers=held)
        await response.prepare(request)
        await response.write(FIRST + word("one"))
        await asyncio.sleep(0.05)
        request.transport.abort()
        return response

    with serving((CHAT, dying)) as upstream:
        capture = Capture(upstream, tmp_path / "r.parquet", requests=2)
        assert send(capture.address, asked(stream=True))[2] == FIRST + word("one") + b"<cut>"
        assert send(capture.address, asked(stream=False))[2].endswith(b"<cut>")
        found = capture.end()
    assert (found["status"], found["input"], found["output"]) == ([1, 1], [0, 0], [1, 0])
    assert [len(pieces) for pieces in found["pieces"]] == [1, 0]
    assert found["end"][0] > 50_000_000


def test_an_error_in_a_stream(tmp_path: Path) -> None:
    async def failing(request: Any) -> Any:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(word("one") + event(error={"message": "out of memory"}) + DONE)
        return response

    with serving((CHAT, failing)) as upstream:
        capture = Capture(upstream, tmp_path / "r.parquet", requests=1)
        assert b"out of memory" in send(capture.address, asked(stream=True))[2]
        assert capture.end()["status"] == [1]


def test_a_server_that_closes_connections_without_saying_so(tmp_path: Path) -> None:
    """Some do after each answer: what is sent over such a connection is never answered."""
    raw = b'{"choices": [{"text": "a"}]}'
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(5):
                line, _ = listener.accept()
                threading.Thread(target=once, args=(line,)).start()

        def once(line: socket.socket) -> None:
            with line:
                line.recv(1 << 16)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw))
                line.settimeout(1)
                with suppress(OSError):
                    line.recv(1 << 16)  # another request, or the end

        thread = threading.Thread(target=serve)
        thread.start()
        capture = Capture(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path / "r.parquet", requests=5)
        assert [send(capture.address, asked())[0] for _ in range(5)] == [200] * 5
        assert "status" not in capture.end()
        thread.join()


def test_no_server(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        capture = Capture(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "r.parquet", requests=1)
        assert send(capture.address, None, "/v1/models", "GET")[0] == 502
        status, _, body = send(capture.address, asked())
        assert (status, json.loads(body)["error"]["type"]) == (502, "bad_gateway")
        assert capture.end()["status"] == [1]


def test_the_client_dies_in_the_middle(tmp_path: Path) -> None:
    left = threading.Event()

    async def endless(request: Any) -> Any:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            while True:
                await response.write(word("again"))
                await asyncio.sleep(0.01)
        finally:
            left.set()

    async def silent(request: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            left.set()

    for handler in (endless, silent):
        left.clear()
        with serving((CHAT, handler)) as upstream:
            capture = Capture(upstream, tmp_path / f"{handler.__name__}.parquet", requests=1)
            raw = json.dumps(asked(stream=True)).encode()
            place = urlsplit(capture.address)
            with socket.create_connection((place.hostname, place.port)) as line:
                line.sendall(
                    b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (CHAT.encode(), len(raw), raw)
                )
                time.sleep(0.3)
            assert left.wait(10), "the server is told that nobody waits any more"
            assert capture.end()["status"] == [1]


def test_nothing_that_is_said_is_kept(tmp_path: Path) -> None:
    with serving((CHAT, whole)) as upstream:
        capture = Capture(upstream, tmp_path / "r.parquet", seconds=2.0)
        body = asked(user="somebody", tools=[{"name": "hammer"}], stream_options=None)
        send(capture.address, body, Authorization="Bearer token-of-mine")
        held = journal_of(tmp_path / "r.parquet").read_bytes()
        capture.end()
    held += (tmp_path / "r.parquet").read_bytes()
    for word in (*SECRET.split(), "somebody", "hammer", "token-of-mine", "yes"):
        assert word.encode() not in held


def test_a_salt_makes_captures_comparable(tmp_path: Path) -> None:
    def once(salt: bytes | None, text: str = SECRET) -> tuple[Any, Any]:
        (tmp_path / "r.parquet").unlink(missing_ok=True)
        capture = Capture(upstream, tmp_path / "r.parquet", requests=1, salt=salt, block_tokens=2)
        send(capture.address, asked(text, user="u"))
        found = capture.end()
        return found["blocks"][0], found["session"][0]

    with serving((CHAT, whole)) as upstream:
        first = once(b"salt")
        assert len(first[0]) == 3
        assert first == once(b"salt")
        for other in (once(b"pepper"), once(None), once(None)):
            assert other[1] != first[1]
            assert not set(other[0]) & set(first[0])
        changed = once(b"salt", f"{SECRET} again")
    assert changed[1] == first[1]
    assert changed[0] != first[0]


COMMAND = "import sys; from tiersim.cli import main; main(sys.argv[1:])"


@contextmanager
def command(upstream: str, out: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and where clients come."""
    arguments = ["capture", "serving", "--upstream", upstream, "--out", str(out), "--listen", "127.0.0.1:0", *more]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        while "clients may send to " not in said:
            assert said, "it ended"
            said = process.stderr.readline()
        yield process, said.split("clients may send to ")[1].split(";")[0]
    finally:
        process.kill()
        process.communicate()


def test_killed(tmp_path: Path) -> None:
    """What came before is there, and what was under way has failed."""

    async def mixed(request: Any) -> Any:
        body = await request.json()
        await asyncio.sleep(60 if body.get("slow") else 0)
        return await whole(request)

    out = tmp_path / "r.parquet"
    with serving((CHAT, mixed)) as upstream:
        with command(upstream, out) as (process, address):
            for _ in range(3):
                send(address, asked())
            threading.Thread(target=in_vain, args=(address, asked(slow=1))).start()
            wait_for(out, 8)
            process.kill()
            process.wait()
        assert not out.exists()
        found = columns(stream_trace(journal_of(out)))
        assert (found["status"], found["input"]) == ([0, 0, 0, 1], [7, 7, 7, 0])
        with pytest.raises(CaptureError, match=r"r.parquet.journal is there already, of a capture that was killed"):
            capture_serving(upstream, out)
    assert columns(load_trace(journal_of(out))) == found


def test_ctrl_c(tmp_path: Path) -> None:
    """What is under way has time to end."""

    async def slow(request: Any) -> Any:
        await asyncio.sleep(1)
        return await whole(request)

    out = tmp_path / "r.parquet"
    with serving((CHAT, slow)) as upstream, command(upstream, out, "--json") as (process, address):
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.append(send(address, asked())[0]))
        thread.start()
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        thread.join()
    told = json.loads(said)
    assert (got, process.returncode) == ([200], 0)
    assert (told["records"], told["kinds"], told["stopped_by"]) == (1, {"served": 1, "failed": 0}, "signal")
    assert told["info"]["input_tokens"] == 7


def test_ctrl_c_twice(tmp_path: Path) -> None:
    async def endless(request: Any) -> Any:
        await asyncio.sleep(60)

    out = tmp_path / "r.parquet"
    with serving((CHAT, endless)) as upstream, command(upstream, out, "--quiet") as (process, address):
        threading.Thread(target=in_vain, args=(address, asked())).start()
        wait_for(out, 2)
        begin = time.monotonic()
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        said, _ = process.communicate(timeout=60)
        assert time.monotonic() - begin < serving_proxy.CONNECT
    assert process.returncode == 0
    assert "1 requests, 1 failed" in said


def test_a_journal_that_cannot_be_written_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving((CHAT, whole)) as upstream:
        capture = Capture(upstream, tmp_path / "r.parquet", seconds=20.0)
        send(capture.address, asked())
        wait_for(tmp_path / "r.parquet", 3)

        def full(*_: Any) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("tiersim.traces.serving_journal.os.write", full)
            assert send(capture.address, asked())[0] == 200
            with pytest.raises(CaptureError, match="journal cannot be written: No space left"):
                capture.end()
    assert columns(stream_trace(tmp_path / "r.parquet.journal"))["input"] == [7]


def test_what_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, server = tmp_path / "r.parquet", "http://127.0.0.1:1"
    for wrong in ("127.0.0.1:8000", "ftp://x", "http://"):
        with pytest.raises(CaptureError, match="is no address of a server"):
            capture_serving(wrong, out)
    for wrong in ("8080", ":8080", "127.0.0.1:http", "127.0.0.1:"):
        with pytest.raises(CaptureError, match="is no place to listen at"):
            capture_serving(server, out, listen=wrong)
    for salt in (b"", b"x" * 65):
        with pytest.raises(CaptureError, match="a salt has 1 to 64 bytes"):
            capture_serving(server, out, salt=salt)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CaptureError, match="cannot be listened at"):
        capture_serving(server, out, listen=f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(CaptureError, match="cannot be listened at"):
        capture_serving(server, out, listen="127.0.0.1:70000")
    with pytest.raises(CaptureError, match="cannot be written: No such file"):
        capture_serving(server, tmp_path / "no" / "r.parquet")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(DependencyError, match="needs aiohttp"):
        capture_serving(server, out)
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("requests.parquet").write_bytes(b"")
    arguments = ["capture", "serving", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "requests.parquet is there already" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--force", "--salt", "nothing"])
    assert ended.value.code == 2
    assert "the salt nothing cannot be read" in capsys.readouterr().err
    Path("requests.parquet.journal").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--force", "--time", "100 ms"])
    assert ended.value.code == 2
    assert "not one request came" in capsys.readouterr().err
    assert not Path("requests.parquet.journal").exists()


# what is noted


EVENTS = [FIRST, word("one"), LAST, DONE, b": beat\r\n\r\n", b"data: a\ndata: b\n\n", b"data: "]


@given(st.lists(st.sampled_from(EVENTS)), st.data())
def test_events_however_they_are_cut(events: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(events)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)))

    class Held:
        @staticmethod
        async def iter_any() -> AsyncIterator[bytes]:
            for start, end in pairwise([0, *cuts, len(raw)]):
                yield raw[start:end]

    async def read() -> list[bytes]:
        held: Any = type("Answer", (), {"content": Held})
        return [made async for made, _ in serving_proxy._events(held)]

    ends = raw.replace(b"\r\n\r\n", b"\r\n\r\n\0").replace(b"\n\n", b"\n\n\0")
    assert asyncio.run(read()) == [each for each in ends.split(b"\0") if each]


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_marks_are_equal_as_far_as_prompts_are(shared: bytes, one: bytes, other: bytes) -> None:
    first, second = marks(shared + one, b"salt"), marks(shared + other, b"salt")
    same = [left == right for left, right in zip(shared + one, shared + other, strict=False)]
    whole = (*same, False).index(False) // STEP * 8
    assert first[:whole] == second[:whole]
    assert (first == second) == (shared + one == shared + other)
    assert len(first) == -(-len(shared + one) // STEP) * 8


def test_another_salt_or_model_makes_other_marks() -> None:
    found = {marks(b"x" * 100, salt, model) for salt in (b"a", b"b") for model in ("", "m", "n")}
    assert len(found) == 6


def test_prompts_as_bytes() -> None:
    def prompt(**body: Any) -> bytes:
        return prompt_of(body, b"salt")

    assert prompt(prompt="a text") == b"a text"
    assert prompt(prompt=[1, 256, 2**32 - 1]) == b"\1\0\0\0\0\1\0\0\xff\xff\xff\xff"
    assert prompt(prompt=["a", "b"]) != prompt(prompt=["a", "c"])
    assert prompt(prompt=[-1]) == b"[-1]"
    assert prompt() == prompt(messages=[]) == prompt(messages=None) == b""
    one, two = {"role": "user", "content": "one"}, {"role": "assistant", "content": "\ud800"}
    assert prompt(messages=[one, two]).startswith(prompt(messages=[one]))
    assert not prompt(messages=[one], tools=[{"name": "t"}]).startswith(prompt(messages=[one]))
    text = [{"type": "text", "text": "x" * 5000}]
    picture = [{"type": "image_url", "image_url": {"url": "data:" + "x" * 5000}}]
    assert len(prompt(messages=[{"role": "user", "content": text}])) > 5000
    assert len(prompt(messages=[{"role": "user", "content": picture}])) < 100


def test_sessions() -> None:
    assert session_of({"x-session-id": "h"}, {"user": "u"}) == "h"
    assert session_of({}, {"user": "u", "prompt_cache_key": "k"}) == "k"
    assert session_of({}, {"session_id": 5, "user": "u"}) == "u"
    assert session_of({}, {"user": ""}) is None


def test_what_an_answer_tells() -> None:
    answer = Answer(100)
    thought = event(choices=[{"delta": {"reasoning_content": "hm"}}])
    tool = event(choices=[{"delta": {"tool_calls": [{"index": 0}]}}])
    text = event(choices=[{"text": "a"}])
    for place, raw in enumerate((FIRST, thought, tool, text, b": beat\n\n", b"data: [1]\n\n", b"data: {\n\n")):
        assert answer.event(raw, 110 + place, True) == raw
    assert (answer.pieces, answer.end, answer.served) == ([11, 12, 13], 116, False)
    both = event(choices=[{"delta": {}, "finish_reason": "stop"}], usage=USAGE)
    assert answer.event(both, 120, True) == both  # some servers tell it so without being asked
    assert (answer.input, answer.output, answer.served) == (7, 3, True)
    assert answer.event(event(choices=[], usage=USAGE), 121, True) == b""
    assert answer.event(event(choices=[], usage=None), 121, True) == event(choices=[])
    assert answer.event(event(usage={"prompt_tokens": -1, "completion_tokens": True}), 122, False)
    assert (answer.input, answer.output) == (None, None)
    answer.event(event(error=None, choices=[]), 123, False)
    assert answer.served
    answer.event(event(error={"message": "no"}), 124, False)
    assert not answer.served


def test_a_journal_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"):
        assert (tmp_path / "j").exists()
    assert not (tmp_path / "j").exists()
