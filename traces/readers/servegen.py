"""Requests drawn from the statistics of the clients of a service."""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.compression import ByteFile
from tiersim.traces.fetch import PREFIX, fetched, find_public
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.request_csv import headed, rows, whole
from tiersim.traces.readers.requests import lines, object_of
from tiersim.traces.schema import Chunk
from tiersim.traces.store import sha256_of

COLUMNS: Final = (b"client", b"window_start_s", b"rate", b"cv", b"pattern", b"arg1", b"arg2")
SECOND: Final = 10**9
WINDOW: Final = 600  # s, of a table that has one window only
MOST_ROWS: Final = 1 << 20
MOST_LENGTHS: Final = 1 << 24  # numbers of tokens with a probability each, of all clients together
MOST: Final = 1 << 23  # requests of a client in a window: they are drawn at once
EXPECTED: Final = (
    "expected client,window_start_s,rate,cv,pattern,arg1,arg2: whole numbers for client and start, requests a second, "
    "Gamma or Weibull with a shape above 0 where there are requests"
)
LENGTHS: Final = (
    'expected {"client": number, "windows": {"start in s": {"input_tokens": "{tokens: probability}", "output_tokens": '
    '"{tokens: probability}"}}}'
)
NUMBERS: Final = re.compile(r"[0-9eE+\-.,:{} ]*")
LONGEST: Final = 1 << 21  # characters of a distribution: Python holds a hundred times as much while it reads them
Choice = tuple[NDArray[np.uint32], NDArray[np.float64]]
Windows = dict[int, tuple[Choice, Choice]]


@dataclass(frozen=True)
class Window:
    """What a client does in a window: how many requests, and how bursty."""

    client: int
    rate: float
    weibull: bool
    shape: float


@register("servegen", family="reader", paper="Xiang et al., arXiv:2505.09999; https://github.com/alibaba/ServeGen")
class ServeGen:
    """ServeGen's statistics of clients (``client,window_start_s,rate,cv,pattern,arg1,arg2``): drawn requests.

    They hold no single requests. In each window of a client there are rate times its length, and of a fraction one as
    often as it says: gaps of the fitted family, Gamma or Weibull with shape ``arg1``, scaled so that one more of them
    than requests fills the window. (The fitted scale, ``arg2`` in seconds, is not used: it would give other counts
    than the rate.) Lengths of prompt and answer are drawn each by itself from those of the client in the file
    ``lengths``, of the last window there that began by then; they are independent, for their pairs are not published. A
    client is a session. Arrivals are in order, and count from the first window with a request.
    """

    schema: ClassVar[str] = "request"

    lengths: Annotated[
        str, Param("of the requests, JSON lines: public/NAME, or a file; a plain name is sought in the mirror too")
    ] = ""
    seed: Annotated[int, Param("of the draws", ge=0)] = 0
    rate_scale: Annotated[float, Param("by which every rate is multiplied", ge=1e-9)] = 1.0
    without_lengths: Annotated[
        Literal["refuse", "skip"], Param("what is done with clients that have no lengths in that file")
    ] = "refuse"
    lengths_sha256: Annotated[str, Param("of the lengths, as packed; found, and checked where it is given")] = ""

    def __post_init__(self) -> None:
        # among the options, so that other lengths make another trace
        if self.lengths:
            found = sha256_of(_located(self.lengths))
            if self.lengths_sha256 not in ("", found):
                raise TraceError(
                    f"{self.lengths} has the sha256 {found}, and lengths_sha256 is {self.lengths_sha256}",
                    None,
                    "fetch the file again, or leave lengths_sha256 out",
                )
            object.__setattr__(self, "lengths_sha256", found)

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 names the seven columns."""
        return headed(head, COLUMNS)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request. Raises TraceError with file, line, byte offset and text, and for clients without lengths."""
        windows = _windows(stream, source)
        if not windows:
            return 0
        if not self.lengths:
            raise TraceError(
                f"{source} has no lengths of requests: they are in a file of their own",
                None,
                "name it, as in lengths='lengths.jsonl', or lengths='public/servegen-deepseek-r1-lengths'",
            )
        lengths = _lengths(_located(self.lengths))
        starts = sorted(windows)
        steps = np.diff(starts)
        width = int(steps.min()) if len(steps) else WINDOW
        first = next((start for start in starts if any(held.rate for held in windows[start])), 0)
        for start in starts:
            made = [
                chunk
                for held in windows[start]
                if (chunk := self._drawn(held, start, width, lengths, source)) is not None
            ]
            if not made:
                continue
            chunk = {name: np.concatenate([each[name] for each in made]) for name in made[0]}
            order = np.argsort(chunk["arrival"], kind="stable")
            chunk = {name: values[order] for name, values in chunk.items()}
            chunk["arrival"] += (start - first) * SECOND
            yield chunk
        return 0

    def _drawn(self, held: Window, start: int, width: int, lengths: dict[int, Windows], source: str) -> Chunk | None:
        """The requests of a client in a window, in ns since its start."""
        count = held.rate * width * self.rate_scale
        if count > MOST:
            raise TraceError(
                f"{source}: client {held.client} has {count:.3g} requests in the window at {start:,} s, and more than "
                f"{MOST:,} are not drawn",
                None,
                "give a smaller rate_scale=",
            )
        # one generator a client and window: what is drawn does not depend on the others
        rng = np.random.Generator(np.random.PCG64([self.seed, held.client, start]))
        near = math.isclose(count, round(count), rel_tol=1e-9)  # rates are counts over seconds, in decimal
        number = round(count) if near else math.floor(count + rng.random())
        if not number:
            return None
        known = lengths.get(held.client, {})
        at = max((time for time in known if time <= start), default=None)
        if at is None:
            if self.without_lengths == "skip":
                return None
            raise TraceError(
                f"{self.lengths} has no lengths of client {held.client} for the window at {start:,} s of {source}",
                None,
                "without_lengths='skip' leaves out the requests of such clients",
            )
        gaps = rng.weibull(held.shape, number + 1) if held.weibull else rng.standard_gamma(held.shape, number + 1)
        total = float(gaps.sum())
        if not 0 < total < math.inf:  # a shape beyond what floating point holds
            gaps, total = np.ones(number + 1), number + 1.0
        ends = np.cumsum(gaps)[:-1] / total
        arrival = np.minimum((ends * (width * SECOND)).astype(np.int64), width * SECOND - 1)
        size, made = (_pick(choice, rng.random(number)) for choice in known[at])
        return {
            "input": size,
            "output": made,
            "arrival": arrival,
            "session": np.full(number, held.client, np.uint64),
        }


def _located(name: str) -> Path:
    if name.startswith(PREFIX):
        return fetched(find_public(name))
    path = Path(name).expanduser()
    mirror = os.environ.get("TIERSIM_TRACE_MIRROR")
    return Path(mirror) / name if mirror and path.name == name and not path.exists() else path


def _pick(choice: Choice, draws: NDArray[np.float64]) -> NDArray[np.uint32]:
    values, ends = choice
    made: NDArray[np.uint32] = values[
        np.minimum(np.searchsorted(ends, draws * ends[-1], side="right"), len(values) - 1)
    ]
    return made


def _windows(stream: ByteStream, source: str) -> dict[int, list[Window]]:
    """What each client does, by the start of the window in s."""
    made: dict[int, list[Window]] = {}
    seen: set[tuple[int, int]] = set()
    for line, held in rows(stream, source, COLUMNS, EXPECTED):
        client, start = whole(held[b"client"]), whole(held[b"window_start_s"])
        rate, shape = _real(held[b"rate"]), _real(held[b"arg1"])
        busy = held[b"pattern"] in (b"Gamma", b"Weibull") and shape > 0
        if client is None or start is None or not (rate == 0 or (rate > 0 and busy)) or (client, start) in seen:
            raise line.wrong(
                "a window of a client, or is one more of the same", f"{EXPECTED}; cut the file before this line"
            )
        if len(seen) >= MOST_ROWS:
            raise line.wrong(f"among the first {MOST_ROWS:,} windows", "they are all held: cut the file into parts")
        seen.add((client, start))
        made.setdefault(start, []).append(Window(client, rate, held[b"pattern"] == b"Weibull", shape))
    return made


def _real(text: bytes) -> float:
    try:
        made = float(text.decode("ascii").replace("_", "?"))
    except ValueError:
        return -1.0
    return made if math.isfinite(made) else -1.0


def _lengths(path: Path) -> dict[int, Windows]:
    """The lengths of each client by the start of their window in s."""
    made: dict[int, Windows] = {}
    count = 0
    with ByteFile(path) as file:
        for line in lines(file, path.name):
            held = object_of(line.text)
            client, windows = held.get("client"), held.get("windows")
            found = _choices(windows)
            if type(client) is not int or found is None or client in made:
                raise line.wrong("the lengths of a client", f"{LENGTHS}; each client once")
            count += sum(len(size[0]) + len(answer[0]) for size, answer in found.values())
            if count > MOST_LENGTHS:
                raise line.wrong(f"among the first {MOST_LENGTHS:,} lengths", "they are all held: leave clients out")
            made[client] = found
    return made


def _choices(windows: Any) -> Windows | None:
    if not isinstance(windows, dict):
        return None
    made: Windows = {}
    for start, held in windows.items():
        time = whole(start.encode("utf-8", "replace"))
        if time is None or not isinstance(held, dict):
            return None
        size, answer = _choice(held.get("input_tokens")), _choice(held.get("output_tokens"))
        if size is None or answer is None:
            return None
        if len(size[0]) and len(answer[0]):  # a window without a request has none
            made[time] = size, answer
    return made


def _choice(text: Any) -> Choice | None:
    """The numbers of tokens and the probabilities summed up to each."""
    if not isinstance(text, str) or len(text) > LONGEST or not NUMBERS.fullmatch(text):
        return None
    try:
        held = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    if not isinstance(held, dict):
        return None
    for tokens, share in held.items():
        if type(tokens) is not int or not 0 <= tokens < 1 << 32 or type(share) not in (int, float):
            return None
        if not 0 <= share <= 1:  # and no NaN
            return None
    ends = np.cumsum(np.array([*held.values()], np.float64))
    if len(held) and not ends[-1] > 0:
        return None
    return np.array([*held], np.uint32), ends
