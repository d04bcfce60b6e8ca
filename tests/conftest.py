"""What all tests share."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled loops and prepared traces are made once for all tests, and never in the user's own folder."""
    if "TIERSIM_CACHE" in os.environ:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder inside the one of the session
        base = base.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIERSIM_CACHE", str(base / "cache"))
        yield
