"""What every trace offers, whether it rests in a file or is made while it is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiersim._base.errors import DependencyError
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import SCHEMAS, Chunk

if TYPE_CHECKING:
    import pandas

__all__ = ["CHUNK", "Trace"]

CHUNK = 1 << 20


class Trace(ABC):
    """A table of records that is read in chunks.

    ``path`` is the file it is read from, or None for a generated one; ``schema`` names its columns
    (`tiersim.traces.schema`); ``records`` counts its rows and ``kinds`` them by kind of access or request;
    ``instructions`` is what was executed from its first record to its end, 0 when the source does not say;
    ``provenance`` says where it comes from.
    """

    name: str
    path: Path | None
    schema: str
    records: int
    instructions: int
    kinds: dict[str, int]
    provenance: dict[str, Any]

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """The sha256 that names the content: of the file it came from, or of a generator's specification."""

    @abstractmethod
    def chunks(self, records: int = CHUNK, skip: int = 0, limit: int | None = None) -> Iterator[Chunk]:
        """Columns, ``records`` rows at a time, from row ``skip`` on and at most ``limit`` of them, in bounded memory.

        Raises TraceError when the file turns out to be damaged.
        """

    @property
    def has_fetches(self) -> bool:
        """Whether instruction fetches are records of their own."""
        return self.kinds.get("fetch", 0) > 0

    @property
    def has_spaces(self) -> bool:
        """Whether records of accesses tell their address space."""
        return False

    def to_pandas(self) -> pandas.DataFrame:
        """The whole trace as one pandas table. Raises DependencyError without pandas."""
        try:
            import pandas
        except ImportError:
            raise DependencyError("a table needs pandas", None, "pip install pandas") from None
        pieces = list(self.chunks())
        columns = {name: joined([piece[name] for piece in pieces]) for name in pieces[0]}
        texts = {column.name for column in SCHEMAS[self.schema].columns if column.text}
        return pandas.DataFrame(
            {
                name: held.strings if name in texts else list(held) if isinstance(held, Ragged) else held
                for name, held in columns.items()
            }
        )

    def __repr__(self) -> str:
        return f"<{self.schema} trace {self.name}: {self.records:,} records>"
