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
FAULTS: Final = (OSError, EOFError, lzma.LZMAError, zlib.error)

Opener = Callable[[IO[bytes]], Any]
FORMATS: Final[tuple[tuple[bytes, str, Opener], ...]] = (
    (b"\x1f\x8b\x08", "gzip", lambda raw: gzip.GzipFile(fileobj=raw, mode="rb")),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\x00", "xz", lzma.LZMAFile),
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
