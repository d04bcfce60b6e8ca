"""Files of nothing but keys."""

from __future__ import annotations

import codecs
from collections.abc import Generator
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import HEAD, ByteStream
from tiersim.traces.schema import Chunk

BLOCK: Final = 1 << 20
FEWEST: Final = 1000  # keys: fewer do not show what comes again
CONTROLS: Final = {*range(9), *range(14, 27), *range(28, 32)}
Bits = Literal[32, 64]
Order = Literal["little", "big"]


@register("key-binary", family="reader")
class KeyBinary:
    """Keys of 32 or 64 bits one after the other, with no header: one request each.

    The same keys in another order of bytes are other names for the same objects, so ``order`` matters only to what
    looks at the numbers. Both are found out where the keys leave no doubt: small numbers, asked for again and again.
    """

    schema: ClassVar[str] = "object"

    bits: Annotated[Bits | None, Param("bits of a key; found out when not given")] = None
    order: Annotated[Order | None, Param("order of a key's bytes; found out when not given")] = None

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the keys leave no doubt about their width and order."""
        return _found_out(head, None, None) is not None

    @staticmethod
    def suggest(head: bytes) -> str:
        """Which options are needed."""
        if _is_text(head) or len(head) < 4:
            return ""
        return "a file of nothing but keys needs format='key-binary', bits=32 or 64 and order='little' or 'big'"

    def width(self, head: bytes) -> int:
        """The bytes of a key."""
        found = self._form(head)
        return found.itemsize if found is not None else 0

    def _form(self, head: bytes) -> np.dtype[Any] | None:
        if self.bits is not None and self.order is not None:
            return _type(self.bits, self.order)
        return _found_out(head, self.bits, self.order)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every key as a record of the object schema. Raises TraceError when bits or order stay in doubt."""
        form: np.dtype[Any] | None = None
        done = 0
        while data := stream.read(BLOCK):
            if form is None:
                form = self._form(data[:HEAD])
            if form is None:
                raise TraceError(
                    f"{source}: the first keys (byte 0 on: {data[:16].hex(' ', 4)}) do not tell how many bits they "
                    "have and in which order",
                    None,
                    "give both: bits=32 or 64, and order='little' or 'big'",
                )
            keys = np.frombuffer(data, form, len(data) // form.itemsize)
            done += len(keys)
            yield {"id": keys.astype(np.uint64)}
            if left := len(data) % form.itemsize:
                stream.read(1)  # raises if it is the packing that breaks off
                raise TraceError(
                    f"{source}: key {done + 1:,} (byte {done * form.itemsize:,}) breaks off after {left} of "
                    f"{form.itemsize} bytes",
                    None,
                    "fetch the file again, cut it before this key, or give the right bits",
                )
        return 0


def _type(bits: Bits, order: Order) -> np.dtype[Any]:
    return np.dtype(f"{'<' if order == 'little' else '>'}u{bits // 8}")


def _is_text(head: bytes) -> bool:
    """Whether there is no byte that text has not; a character may be cut by the end of the head."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return not set(head) & CONTROLS


def _found_out(head: bytes, bits: Bits | None, order: Order | None) -> np.dtype[Any] | None:
    """The type of the keys of a file that begins so, if only one is likely."""
    if _is_text(head):
        return None
    # whole keys come again where halves and pairs of them do so at some places only, or more seldom
    widths: tuple[Bits, ...] = (32, 64)
    width = bits or next((width for width in widths if _alike(head, width)), None)
    if width is None or len(head) // (width // 8) < FEWEST:
        return None
    if order is None:
        raw = np.frombuffer(head, np.uint8, len(head) // (width // 8) * (width // 8)).reshape(-1, width // 8)
        first, last = (bool((raw[:, place] == raw[0, place]).all()) for place in (0, -1))
        if first == last:  # small numbers have equal bytes at one end, and at one only
            return None
        order = "big" if first else "little"
    return _type(width, order)


def _alike(head: bytes, bits: Bits) -> bool:
    """Whether words are alike at each place of any short period, as the fields of a record are not.

    At each place they come again as often, and are as large in either order of bytes.
    """
    words = np.frombuffer(head, _type(bits, "little"), len(head) // (bits // 8))
    if len(words) < FEWEST:
        return False
    _, word = np.unique(words, return_inverse=True)
    sizes = [np.log2(order.astype(np.float64) + 1) for order in (words, words.byteswap())]
    for period in range(2, 9):
        place = np.arange(len(word)) % period
        count = np.bincount(place)
        held = np.zeros((period, int(word.max()) + 1), bool)
        held[place, word] = True
        elsewhere = held.sum(axis=0)[word] > 1  # at its own place, and at another
        share = np.bincount(place, elsewhere) / count
        if share.min() < max(0.1, 0.75 * share.max()):
            return False
        if any(np.ptp(np.bincount(place, size) / count) > 1 for size in sizes):  # bits
            return False
    return True
