"""Unpacking, as a layer that no reader knows of: gzip, bzip2, xz and zstd, found by content and never by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import pyarrow as pa

from tiersim._base.errors import TraceError

__all__ = ["BrokenStreamError", "ByteFile"]

STEP: Final = 1 << 18  # a fault inside one step costs the bytes of that step, so steps are smaller than reads
PACKED: Final = 1 << 16  # packed bytes that are taken at once
WINDOW: Final = 256 << 20  # bytes that xz may hold to unpack; -9 needs a quarter. zstd itself stops at half of it
FAULTS: Final = (OSError, EOFError, lzma.LZMAError, zlib.error)


class _Members:
    """The streams of a bzip2 or xz file one after another, unpacked.

    Python's own readers take what follows the first stream for nothing if it begins no other, damaged or not; here it
    must be one, or zeros that fill up a block.
    """

    def __init__(self, raw: IO[bytes], begin: Callable[[], Any]) -> None:
        self._raw = raw
        self._begin = begin
        self._member = begin()

    def read1(self, size: int) -> bytes:
        """At most so many bytes, none at the end. Raises EOFError, OSError or LZMAError."""
        made = b""
        while not made:
            packed = b""
            if self._member.eof:
                packed = self._next()
                if not packed:
                    break
                self._member = self._begin()
            elif self._member.needs_input:
                packed = self._raw.read(PACKED)
                if not packed:
                    raise EOFError
            made = self._member.decompress(packed, size)
        return made

    def _next(self) -> bytes:
        """What comes after a stream and the zeros behind it, if anything does."""
        packed: bytes = self._member.unused_data or self._raw.read(PACKED)
        while packed and not (packed := packed.lstrip(b"\0")):
            packed = self._raw.read(PACKED)
        return packed

    def close(self) -> None:
        """Let go of what is held."""
        self._member = None


Opener = Callable[[IO[bytes]], Any]
FORMATS: Final[tuple[tuple[bytes, str, Opener], ...]] = (
    (b"\x1f\x8b\x08", "gzip", lambda raw: gzip.GzipFile(fileobj=raw, mode="rb")),
    (b"BZh", "bzip2", lambda raw: _Members(raw, bz2.BZ2Decompressor)),
    (b"\xfd7zXZ\x00", "xz", lambda raw: _Members(raw, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, WINDOW))),
    (b"\x28\xb5\x2f\xfd", "zstd", lambda raw: pa.CompressedInputStream(raw, "zstd")),
)


class BrokenStreamError(TraceError):
    """A file that breaks off, or whose packing is damaged."""


class ByteFile:
    """The bytes of a file, unpacked if it is packed.

    ``offset`` counts the unpacked bytes that were read, ``position`` the bytes of the file itself. Whatever comes
    before a fault is delivered; the read after it raises BrokenStreamError. Raises TraceError when the file cannot be
    opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        try:
            self._raw = path.open("rb")
            magic = self._raw.read(8)
        except OSError as error:
            raise TraceError(
                f"{path} cannot be read: {error.strerror}", None, "name a file that you are allowed to read"
            ) from None
        self._raw.seek(0)
        self.packing, opener = next(
            ((name, made) for start, name, made in FORMATS if magic.startswith(start)), ("", _as_it_is)
        )
        self._file: Any = opener(self._raw)
        self._fault: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._raw.close()

    @property
    def position(self) -> int:
        """Bytes of the file itself that were taken so far."""
        return 0 if self._raw.closed else self._raw.tell()

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes; fewer only before the end or a fault, none at the end. Raises BrokenStreamError."""
        if not self.packing and self._fault is None:
            with suppress(OSError):  # then in steps, to deliver what comes before the fault
                piece: bytes = self._raw.read(size)  # not a copy more: a replay may be as fast as memory
                self.offset += len(piece)
                return piece
            self._raw.seek(self.offset)
        made = bytearray()
        while len(made) < size and self._fault is None:
            try:
                piece = self._file.read1(min(size - len(made), STEP))
            except FAULTS as fault:
                self._fault = fault
                break
            if not piece:
                break
            made += piece
        self.offset += len(made)
        if not made and self._fault is not None:
            raise self._broken(self._fault)
        return bytes(made)

    def _broken(self, fault: BaseException) -> BrokenStreamError:
        if "emory" in str(fault):
            return BrokenStreamError(
                f"{self.path.name}: the {self.packing} stream needs more memory to unpack than it may take, at byte "
                f"{self.offset:,} of what it holds",
                None,
                "unpack it first, as with `xz -d` or `zstd -d --long=31`",
            )
        cut = isinstance(fault, EOFError) or "runcated" in str(fault)
        what = f"the {self.packing} stream" if self.packing else "the file"
        how = "breaks off" if cut else f"is damaged ({fault})"
        return BrokenStreamError(
            f"{self.path.name}: {what} {how} at byte {self.offset:,} of what it holds",
            None,
            "copy or fetch the file again; a whole one ends properly",
        )


def _as_it_is(raw: IO[bytes]) -> Any:
    return raw
