"""Public traces: a catalogue of where they are, and how they come here.

Each is pinned: an address with a commit in it, and the sha256 of the content, unpacked, which is checked before the
file has its name. What others made stays under their licence and is no part of tiersim.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tiersim._base.errors import AbsentError, TraceError
from tiersim._base.paths import cache_folder
from tiersim._base.registry import nearest
from tiersim.traces.compression import ByteFile
from tiersim.traces.progress import Progress
from tiersim.traces.store import sha256_of

__all__ = ["PREFIX", "Public", "fetch", "fetched", "find_public", "public"]

PREFIX: Final = "public/"
LISTED: Final = Path(__file__).parent / "public.json"
STEP: Final = 1 << 20
PATIENCE: Final = 30.0  # seconds without a byte
SEE: Final = "`tiersim traces list` shows the catalogue"


@dataclass(frozen=True)
class Public:
    """A trace that others published.

    ``url`` is where it is: of a file, or where ``recipe`` says what was cut or repacked, of what to begin with, whose
    own hash is ``upstream_sha256`` where it is one file. ``sha256`` and ``bytes`` are of the content, unpacked, and
    ``file`` its name; ``packed`` is its name in a mirror. ``format`` and ``options`` are said where it does not tell
    how it is to be read.
    """

    name: str
    kind: str
    about: str
    licence: str
    repository: str
    path: str
    commit: str
    url: str
    file: str
    packed: str
    bytes: int
    sha256: str
    citation: str
    recipe: str = ""
    upstream_sha256: str = ""
    format: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@cache
def public() -> dict[str, Public]:
    """The public traces by name."""
    return {item["name"]: Public(**item) for item in json.loads(LISTED.read_text(encoding="utf-8"))}


def find_public(name: str) -> Public:
    """The public trace of a name, with or without ``public/``, or of a file name.

    Raises TraceError with the nearest right spelling.
    """
    for item in public().values():
        if name in (item.name, item.name.removeprefix(PREFIX), item.file, item.packed):
            return item
    known = [*public(), *(short.removeprefix(PREFIX) for short in public())]
    raise TraceError(f"the catalogue has no public trace {name!r}", None, f"{nearest(name, known)} {SEE}".strip())


def fetched(item: Public) -> Path:
    """Where a public trace lies here; it is taken from the mirror if it is only there, and never from the network.

    Raises AbsentError when it is in neither place.
    """
    path = cache_folder("public") / item.file
    if path.exists() or _in_mirror(item) is not None:
        return path if path.exists() else fetch(item)
    raise AbsentError(
        f"{item.name} is not here yet",
        None,
        f"fetch it: tiersim traces fetch {item.name}"
        if not item.recipe
        else "it was cut or repacked, and no address has it as it is: name a folder that has it with "
        f"TIERSIM_TRACE_MIRROR, or make {item.file} from {item.url}: {item.recipe}",
    )


def fetch(item: Public, to: Path | None = None, progress: Progress | None = None) -> Path:
    """Bring a public trace to a folder, the cache folder by default, and check it; the path of the file, unpacked.

    The folder that TIERSIM_TRACE_MIRROR names is tried first. A download that breaks off goes on where it stopped the
    next time. Raises TraceError when there is no way to it, when what came is something else, and when another file is
    in its place.
    """
    folder = cache_folder("public") if to is None else to
    path = folder / item.file
    if path.exists():
        if path.is_file() and sha256_of(path) == item.sha256:
            return path
        if to is not None:
            raise TraceError(
                f"{path} exists and is something else than {item.name}", None, "move it away, or name another folder"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = _in_mirror(item)
        if found is not None:
            _unpack(found, item, path, "remove it from there, or unset TIERSIM_TRACE_MIRROR")
            return path
        if item.recipe:
            raise TraceError(
                f"{item.name} was cut or repacked, and no address has it as it is",
                None,
                f"name a folder that has {item.packed} with TIERSIM_TRACE_MIRROR, or make {item.file} (sha256 "
                f"{item.sha256}) from {item.url}: {item.recipe}",
            )
        part = folder / f".{item.file}.part"
        with _locked(part, item) as file:
            _download(item, file, progress)
            file.flush()
            try:
                _unpack(part, item, path, "fetch it again; if this stays, the address has another file now")
            finally:
                part.unlink(missing_ok=True)  # right or wrong, there is nothing to go on with
    except OSError as error:
        raise TraceError(
            f"{path} cannot be written: {error.strerror or error}", None, "choose a folder with room with --to"
        ) from None
    return path


def _in_mirror(item: Public) -> Path | None:
    mirror = os.environ.get("TIERSIM_TRACE_MIRROR")
    if not mirror:
        return None
    names = (item.packed, item.file, item.url.rpartition("/")[2])
    return next((path for path in (Path(mirror) / name for name in names) if path.is_file()), None)


def _unpack(source: Path, item: Public, path: Path, remedy: str) -> None:
    """Write the content under its name once it is known to be right."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.draft")
    digest, count = hashlib.sha256(), 0
    try:
        with ByteFile(source) as packed, draft.open("wb") as out:
            # no more than is expected, so that a small file cannot fill the disk
            while count <= item.bytes and (data := packed.read(STEP)):
                digest.update(data)
                out.write(data)
                count += len(data)
        if digest.hexdigest() != item.sha256 or count != item.bytes:
            what = f"{count:,} bytes" if count <= item.bytes else f"more than {item.bytes:,} bytes"
            raise TraceError(
                f"{source} is not {item.name}: it holds {what} with sha256 {digest.hexdigest()[:16]}..., and "
                f"{item.bytes:,} bytes with {item.sha256[:16]}... were expected",
                None,
                remedy,
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _locked(part: Path, item: Public) -> Iterator[IO[bytes]]:
    """The file that a download goes to, for one process at a time."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TraceError(f"{item.name} is being fetched already", None, "wait until that is done") from None
        yield file


def _download(item: Public, file: IO[bytes], progress: Progress | None) -> None:
    """Append what is missing of a file. What came stays when it breaks off."""
    try:
        done = file.seek(0, 2)
        with _answer(item, done) as answer:
            if done and answer.status != 206:  # the whole again
                file.truncate(0)
                done = 0
            total = _length(answer, done)
            while data := answer.read(STEP):
                file.write(data)
                done += len(data)
                if progress is not None:
                    progress(done, total, "bytes")
    except HTTPError as error:
        if error.code == 416 and _whole(error) == done:  # it is all here
            return
        if error.code == 416:
            file.truncate(0)
        raise _failed(item, f"the server says {error.code} {error.reason}", "try later, or name a mirror") from None
    except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise _failed(item, f"{why}", "see to the network and fetch again: it goes on where it stopped") from None
    if total is not None and done < total:
        raise _failed(
            item, f"it broke off after {done:,} of {total:,} bytes", "fetch again: it goes on where it stopped"
        )


def _answer(item: Public, done: int) -> Any:
    headers = {"User-Agent": "tiersim", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    answer = urlopen(Request(item.url, headers=headers), timeout=PATIENCE)
    begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    if answer.status == 206 and (begins is None or int(begins[1]) != done):
        answer.close()
        raise http.client.HTTPException("the server sent another part than was asked for")
    return answer


def _length(answer: Any, done: int) -> int | None:
    said = answer.headers.get("Content-Length")
    return done + int(said) if said and said.isdigit() else None


def _whole(error: HTTPError) -> int | None:
    said = re.match(r"bytes \*/(\d+)", error.headers.get("Content-Range") or "")
    return int(said[1]) if said else None


def _failed(item: Public, why: str, remedy: str) -> TraceError:
    return TraceError(f"{item.name} cannot be fetched from {item.url}: {why}", None, remedy)
