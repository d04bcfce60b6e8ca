"""What all tests share."""

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

# a machine that does other things as well is slow now and then, and that is no fault of what is tested
settings.register_profile("tiersim", deadline=None)
settings.load_profile("tiersim")


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Where the folder of public traces is at hand, a test that does without one of them has looked away."""
    report = yield
    mirror = os.environ.get("TIERSIM_TRACE_MIRROR", "")
    if report.skipped and mirror and os.path.isdir(mirror) and "TIERSIM_TRACE_MIRROR" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped though {mirror} is there: {report.longrepr[2]}"
    return report
