"""The sources that a class is made of, as one number: what names results must change when the code does."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

__all__ = ["code_hash"]


def code_hash(cls: type, *modules: str) -> str:
    """The sha256 over the files of a class, of the classes it derives from, and of these modules.

    Classes of the standard library do not count.
    """
    names = {base.__module__ for base in cls.__mro__} - set(sys.stdlib_module_names)
    digest = hashlib.sha256()
    for name in sorted({*names, *modules}):
        file = sys.modules[name].__file__
        digest.update(Path(file).read_bytes() if file else name.encode())
    return digest.hexdigest()
