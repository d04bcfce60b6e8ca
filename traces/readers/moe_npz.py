"""Experts of whole prompts as numpy arrays, in a zip archive."""

from __future__ import annotations

import math
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO, Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.keys import key_of
from tiersim.traces.ragged import Ragged
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.experts import MOST
from tiersim.traces.readers.text import shown
from tiersim.traces.schema import ROUTING, Chunk

MAGIC: Final = b"PK\x03\x04"
NAMES: Final = ("experts.npy", "offsets.npy", "prompts.npy")
STEP: Final = 1 << 20  # bytes
RECORDS: Final = 1 << 16
MOST_PROMPTS: Final = 1 << 20
WIDEST: Final = 1 << 24  # bytes of a token's experts, or of a prompt's name
LONGEST_HEADER: Final = 4096
HEADER: Final = re.compile(
    rb"\{ *'descr': *'([^']*)', *'fortran_order': *(True|False), *'shape': *\(([0-9, ]*)\),? *\}\s*"
)
NUMBERS: Final = re.compile(r"[|<>][ui][1248]")
TEXTS: Final = re.compile(r"[|<>][US][1-9][0-9]{0,7}")
# what zipfile and the modules behind it raise for bytes that are no archive, or none that they know
FAULTS: Final = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)
REMEDY: Final = (
    "expected what np.savez(path, experts=..., offsets=..., prompts=...) writes: whole numbers [token, layer, place], "
    "the first token of each prompt with the number of all tokens at the end, and the name of each prompt"
)


@register("moe-npz", family="reader", paper="https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html")
class MoeNpz:
    """A numpy archive (npz) of ``experts`` [token, layer, place], ``offsets`` and ``prompts``, compressed or not.

    The tokens of prompt ``i`` are ``offsets[i]`` to ``offsets[i + 1]``; its name, hashed, is the ``sequence``. A record
    is a token at a layer; all layers of a token come together, numbered from ``first_layer`` on. The list of contents
    is at the end of an archive, so that it is put into a temporary file first. Pickles are refused.
    """

    schema: ClassVar[str] = ROUTING.name

    first_layer: Annotated[int, Param("number that the first layer has in the model", ge=0, le=MOST - 1)] = 0

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether a zip archive begins here, and with one of the three arrays."""
        size = int.from_bytes(head[26:28], "little")  # of the first name, which comes after 30 bytes
        return head.startswith(MAGIC) and head[30 : 30 + size] in [each.encode() for each in NAMES]

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every routed token. Raises TraceError with array, place and what was expected."""
        with _spooled(stream, source) as file:
            with _whole(source):
                archive = zipfile.ZipFile(file)
            prompts = _prompts(archive, source)
            with _member(archive, NAMES[0], NUMBERS, 3, source) as experts:
                yield from self._chunks(experts, *prompts)
        return 0

    def _chunks(self, experts: _Array, ends: NDArray[np.int64], names: NDArray[np.uint64]) -> Iterator[Chunk]:
        tokens, layers, places = experts.shape
        if not layers or not places or self.first_layer + layers > MOST or places > MOST:
            raise experts.wrong(f"has {layers:,} layers from {self.first_layer:,} on and {places:,} experts of a token")
        if ends[-1] != tokens:
            raise experts.wrong(f"has {tokens:,} tokens, and offsets.npy ends with {ends[-1]:,}")
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        step = max(min(STEP // experts.width, RECORDS // layers), 1)
        for begin in range(0, tokens, step):
            held = experts.next(min(step, tokens - begin))
            wrong = ((held < 0) | (held >= MOST)).any(2)
            ordered = np.sort(held, axis=2)
            wrong |= (ordered[:, :, 1:] == ordered[:, :, :-1]).any(2)
            if wrong.any():
                token, layer = np.argwhere(wrong)[0]
                raise experts.wrong(
                    f"has at token {begin + token:,} and layer {layer} what are not different experts below {MOST:,}: "
                    f"{held[token, layer, :9].tolist()}"
                )
            token = np.arange(begin, begin + len(held))
            prompt = np.searchsorted(ends, token, "right")
            yield {
                "layer": np.tile(np.arange(layers, dtype=np.uint16) + np.uint16(self.first_layer), len(held)),
                "token": np.repeat((token - starts[prompt]).astype(np.uint32), layers),
                "experts": Ragged.counted(
                    held.astype(np.uint16).reshape(-1), np.full(len(held) * layers, places, np.int64)
                ),
                "sequence": np.repeat(names[prompt], layers),
            }
        experts.close()


def _prompts(archive: zipfile.ZipFile, source: str) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Of each prompt the token after its last, and its name hashed."""
    with _member(archive, NAMES[1], NUMBERS, 1, source) as offsets:
        if not 1 < offsets.shape[0] <= MOST_PROMPTS + 1:
            raise offsets.wrong(f"is of {offsets.shape[0] - 1:,} prompts, and can be of 1 to {MOST_PROMPTS:,}")
        held = offsets.next(offsets.shape[0])
        bad = np.flatnonzero((held[1:] < held[:-1]) | (held[1:] >= 1 << 62))
        if held[0] != 0 or len(bad):
            at = 0 if held[0] != 0 else int(bad[0]) + 1
            raise offsets.wrong(f"does not rise from 0 on: entry {at:,} is {held[at]}")
        offsets.close()
    with _member(archive, NAMES[2], TEXTS, 1, source) as prompts:
        if prompts.shape[0] != len(held) - 1:
            raise prompts.wrong(f"has {prompts.shape[0]:,} names, and offsets.npy is of {len(held) - 1:,} prompts")
        names: list[int] = []
        step = max(STEP // prompts.width, 1)
        while len(names) < prompts.shape[0]:
            names += [key_of(name) for name in prompts.next(min(step, prompts.shape[0] - len(names))).tolist()]
        prompts.close()
        keys = np.array(names, np.uint64)
        if len(np.unique(keys)) < len(keys):
            raise prompts.wrong("has a name twice, so that two prompts would be one")
    return held[1:].astype(np.int64), keys


class _Array:
    """An array of an archive, read piece by piece: its shape, its type, and the bytes ``width`` of a first index."""

    def __init__(self, file: IO[bytes], name: str, source: str) -> None:
        self.shape: tuple[int, ...] = ()
        self.width = 0
        self._type = np.dtype(np.uint8)
        self._file = file
        self._name = name
        self._source = source

    def wrong(self, what: str, remedy: str = REMEDY) -> TraceError:
        """The message that the array is not what it should be."""
        return TraceError(f"{self._source}: {self._name} {what}", None, remedy)

    def begin(self, size: int, kinds: re.Pattern[str], axes: int) -> None:
        """Reads the header of a member that is said to have so many bytes, and makes sure that they fit."""
        with _whole(self._source):
            start = self._file.read(8)
            wide = 2 if start[6:7] == b"\x01" else 4
            length = int.from_bytes(self._file.read(wide), "little")
            text = self._file.read(min(length, LONGEST_HEADER))
        if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\x01", b"\x02", b"\x03") or len(text) != length:
            raise self.wrong(f"is no array of numpy: {shown(start + text)}")
        found = HEADER.fullmatch(text)
        kind = found[1].decode("latin-1") if found else ""
        if b"'|O'" in text:
            raise self.wrong(
                "holds Python objects as pickles, which run whatever code is in them and are not read",
                f"save it as an array of numbers or of text; {REMEDY}",
            )
        shape = [int(number) for number in found[3].replace(b",", b" ").split()] if found else []
        if found is None or found[2] == b"True" or not kinds.fullmatch(kind) or len(shape) != axes:
            what = f"whole numbers along {axes} axes" if kinds is NUMBERS else "text along one axis"
            raise self.wrong(f"has not {what}, in C order: {shown(text)}")
        self._type = np.dtype(kind)
        self.shape = tuple(shape)
        self.width = math.prod(shape[1:]) * self._type.itemsize
        told = len(start) + wide + length + shape[0] * self.width
        if told != size:
            raise self.wrong(f"has {size:,} bytes, and its header tells of {told:,}: {shown(text)}")
        if self.width > WIDEST:
            raise self.wrong(f"has {self.width:,} bytes in one entry, and no more than {WIDEST:,} are read")

    def next(self, count: int) -> NDArray[Any]:
        """So many more entries along the first axis."""
        size = count * self.width
        with _whole(self._source):
            data = self._file.read(size)
        if len(data) != size:
            raise self.wrong(f"breaks off {size - len(data):,} bytes before its end")
        if self._type.kind == "U" and np.frombuffer(data, self._type.str[0] + "u4").max(initial=0) > 0x10FFFF:
            raise self.wrong("has text that is none")
        return np.frombuffer(data, self._type).reshape(count, *self.shape[1:])

    def close(self) -> None:
        """Makes sure that the sum over its bytes, which stands in the archive, is right."""
        with _whole(self._source):
            self._file.read(1)


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, kinds: re.Pattern[str], axes: int, source: str) -> Iterator[_Array]:
    """An array of the archive, of these kinds of numbers or text along so many axes."""
    if name not in archive.namelist():
        found = ", ".join(map(repr, archive.namelist()[:9])) or "nothing"
        raise TraceError(f"{source}: the archive has no {name}, but {found}", None, REMEDY)
    told = archive.getinfo(name)
    if told.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TraceError(
            f"{source}: {name} is compressed in a way (number {told.compress_type}) that numpy does not use",
            None,
            REMEDY,
        )
    with _whole(source):
        file = archive.open(told)
    with file:
        made = _Array(file, name, source)
        made.begin(told.file_size, kinds, axes)
        yield made


@contextmanager
def _spooled(stream: ByteStream, source: str) -> Iterator[IO[bytes]]:
    """A temporary file with all that a stream holds."""
    data = stream.read(STEP)
    if not data.startswith(MAGIC):
        raise TraceError(f"{source}: byte 0 does not begin a zip archive: {shown(data)}", None, REMEDY)
    with _room(source):
        file = tempfile.TemporaryFile()  # noqa: SIM115
    with file:
        while data:
            with _room(source):
                file.write(data)
            data = stream.read(STEP)
        yield file


@contextmanager
def _room(source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TraceError(
            f"{source} cannot be put into a temporary file: {error.strerror}",
            None,
            "give the environment variable TMPDIR a folder with room for it",
        ) from None


@contextmanager
def _whole(source: str) -> Iterator[None]:
    try:
        yield
    except FAULTS as fault:
        raise TraceError(
            # a name that is wrong can be as long as the archive
            f"{source}: the zip archive breaks off, or is damaged ({str(fault)[:60]})",
            None,
            f"fetch the file again; {REMEDY}",
        ) from None
