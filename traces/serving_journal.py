"""The journal of a capture in front of a server of language models: no text, only hashes, lengths and times.

A line of JSON when a request has come, another when it has ended, each written at once: what kills the capture loses
nothing but a line that is being written. `tiersim.traces.readers.serving_journal` reads it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self

from tiersim._base.errors import CaptureError
from tiersim.traces.readers.requests import object_of
from tiersim.traces.schema import FAILED, SERVED, STATUSES

__all__ = ["HEAD", "MARK", "STEP", "Answer", "Journal", "marks", "prompt_of", "salted", "session_of"]

STEP: Final = 64  # bytes of a prompt from a mark to the next
MARK: Final = 8  # bytes of a mark
HEAD: Final = {"tiersim": "serving", "version": 1, "step": STEP}
MEDIA: Final = 1 << 10  # characters of JSON: a part of a message that is no text is replaced by a hash if it is longer
SESSIONS: Final = ("session_id", "prompt_cache_key", "user")  # fields of a request, the first that is there


def prompt_of(body: Mapping[str, Any], salt: bytes) -> bytes:
    """The prompt of a request as bytes, such that prompts that begin alike are bytes that begin alike.

    Tools come first, then the messages, or the prompt of a completion; a prompt of tokens takes 4 bytes for each.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return _utf8(prompt)
    if isinstance(prompt, list):
        whole = all(type(token) is int and 0 <= token < 1 << 32 for token in prompt)
        return b"".join(token.to_bytes(4, "little") for token in prompt) if whole else _utf8(json.dumps(prompt))
    messages = body.get("messages")
    parts = [body.get("tools"), *(messages if isinstance(messages, list) else [messages])]
    return b"".join(_message(part, salt) for part in parts if part)


def _message(part: Any, salt: bytes) -> bytes:
    if isinstance(part, dict) and isinstance(part.get("content"), list):
        part = part | {"content": [_small(each, salt) for each in part["content"]]}
    return _utf8(json.dumps(part, ensure_ascii=False, sort_keys=True))


def _small(part: Any, salt: bytes) -> Any:
    """A part of a message; of an image or a sound only a hash, for its bytes are not in proportion to its tokens."""
    if isinstance(part, dict) and part.get("type") != "text" and len(text := json.dumps(part)) > MEDIA:
        return salted(text, salt)
    return part


def session_of(headers: Mapping[str, str], body: Mapping[str, Any]) -> str | None:
    """The conversation that a request says it belongs to."""
    told = [headers.get("x-session-id"), *(body.get(name) for name in SESSIONS)]
    return next((name for name in told if isinstance(name, str) and name), None)


def salted(name: str, salt: bytes) -> int:
    """A name as a number that tells nothing to who does not have the salt."""
    return int.from_bytes(blake2b(_utf8(name), key=salt, digest_size=MARK).digest(), "little")


def marks(prompt: bytes, salt: bytes, model: str = "") -> bytes:
    """For each step of a prompt to a model, and for its end, a hash of all before it (BLAKE2b with the salt as key)."""
    made = blake2b(_utf8(model), key=salt, digest_size=MARK)
    found = bytearray()
    for start in range(0, len(prompt), STEP):
        made.update(prompt[start : start + STEP])
        found += made.digest()
    return bytes(found)


class Answer:
    """What an answer tells as it comes: when its pieces came, how many tokens there were, whether it is whole.

    Times are ns since some moment, those that are told since the arrival.
    """

    def __init__(self, arrival: int) -> None:
        self.arrival = arrival
        self.end = arrival
        self.pieces: list[int] = []
        self.input: int | None = None
        self.output: int | None = None
        self.whole = False
        self.wrong = False

    def body(self, raw: bytes, now: int) -> None:
        """Take an answer that came whole."""
        self.end = now
        held = object_of(raw)
        self._take(held)
        self.whole = bool(held.get("choices"))

    def event(self, raw: bytes, now: int, hide: bool) -> bytes:
        """Take an event of a stream. What the client is to see of it: no usage if that is to be hidden."""
        self.end = now
        data = b"\n".join(line[5:].strip() for line in raw.splitlines() if line.startswith(b"data:"))
        if data == b"[DONE]":
            self.whole = True
            return raw
        held = object_of(data)
        if self._take(held):
            self.pieces.append(now - self.arrival)
        if not hide or "usage" not in held:
            return raw
        if held["usage"] is not None:
            return b"" if not held.get("choices") else raw
        return (
            b"data: " + json.dumps({name: value for name, value in held.items() if name != "usage"}).encode() + b"\n\n"
        )

    def _take(self, held: Mapping[str, Any]) -> bool:
        """Note what it says of tokens, ends and errors. Whether it has something of the answer."""
        usage = held.get("usage")
        if isinstance(usage, dict):
            self.input, self.output = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        self.wrong |= bool(held.get("error"))
        choices = held.get("choices")
        told = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
        self.whole |= any(choice.get("finish_reason") for choice in told)
        return any(_says(choice) for choice in told)

    @property
    def served(self) -> bool:
        """Whether it came to its end."""
        return self.whole and not self.wrong


class Journal:
    """Writes the journal, and counts what is in it.

    One that cannot be written any more sets ``error`` and stays as it is: clients that wait for an answer have no part
    in it. Use it as a context manager: it raises that error at the end, and leaves no file where nothing came. Raises
    CaptureError when the file cannot be made, or is there already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = self.ended = self.failed = self.uncounted = 0
        self.error: CaptureError | None = None
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            raise CaptureError(
                f"{path} is there already, of a capture that was killed",
                None,
                f"keep what it holds with `tiersim traces convert {path} NEW.parquet`, and remove it",
            ) from None
        except OSError as error:
            raise self._unwritten(error) from None
        self._write(HEAD)

    def begin(self, at: int, facts: Mapping[str, Any], prompt: bytes, salt: bytes) -> int:
        """A request came at this time, in ns. Its number, counted from 1."""
        self.begun += 1
        held = base64.b64encode(marks(prompt, salt, str(facts.get("model", "")))).decode()
        self._write({"n": self.begun, "at": at, **facts, "bytes": len(prompt), "marks": held})
        return self.begun

    def end(self, number: int, answer: Answer) -> None:
        """It ended so."""
        output, served = answer.output, answer.served
        if output is None:  # a server that does not tell: most of them make a piece of every token
            output = len(answer.pieces)
            self.uncounted += served
        status = STATUSES[SERVED if served else FAILED]
        times = {"end": answer.end - answer.arrival, "pieces": answer.pieces}
        self._write({"n": number, "input": answer.input or 0, "output": output, "status": status, **times})
        self.ended += 1
        self.failed += not served

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        os.close(self._file)
        if not self.begun:
            self.path.unlink(missing_ok=True)
        if self.error is not None and error is None:
            raise self.error

    def _write(self, held: Mapping[str, Any]) -> None:
        line = memoryview(json.dumps(held, separators=(",", ":")).encode() + b"\n")
        try:
            while line and self.error is None:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            self.error = self._unwritten(error)

    def _unwritten(self, error: OSError) -> CaptureError:
        why = error.strerror or error
        return CaptureError(f"{self.path} cannot be written: {why}", None, "choose a folder with room to write")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    held = usage.get(name)
    return held if type(held) is int and 0 <= held < 1 << 32 else None


def _says(choice: Mapping[str, Any]) -> bool:
    delta = choice.get("delta")
    held = delta if isinstance(delta, dict) else {"text": choice.get("text")}
    return any(value for name, value in held.items() if name != "role")
