"""Where tiersim keeps what it can make again: prepared traces and compiled loops."""

from __future__ import annotations

import os
from pathlib import Path

from tiersim._base.errors import StudyError

__all__ = ["cache_folder"]


def cache_folder(part: str = "") -> Path:
    """The user's cache folder, made if absent: ``TIERSIM_CACHE``, else ``XDG_CACHE_HOME``/tiersim, else ~/.cache."""
    said = os.environ.get("TIERSIM_CACHE")
    base = Path(said) if said else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tiersim"
    folder = base / part
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"the cache folder {folder} cannot be made: {error.strerror}",
            None,
            "name one that can be written to with the environment variable TIERSIM_CACHE",
        ) from None
    return folder
