"""The floors of the house: which folder may import which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY = {
    "_base": set(),
    "traces": {"_base"},
    "policies": {"_base"},
    "sim": {"_base"},
    "models": {"_base", "traces", "policies", "sim"},
    "experiments": {"_base", "traces", "policies", "sim", "models"},
}
WHERE = {"_base": ROOT / "tiersim" / "_base"} | {name: ROOT / name for name in MAY if name != "_base"}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("floor", MAY)
def test_a_floor_imports_only_what_is_below(floor: str) -> None:
    for path in WHERE[floor].rglob("*.py"):
        for name in imported(path):
            first, _, rest = name.partition(".")
            assert first not in MAY, f"{path}: write tiersim.{name}"
            if first == "tiersim":
                room = rest.split(".")[0]
                assert room == floor or room in MAY[floor], f"{path} imports {name}"


def test_policies_know_no_engine() -> None:
    for path in (ROOT / "policies").rglob("*.py"):
        rooms = {name.split(".")[0] for name in imported(path)}
        assert not rooms & {"numba", "simpy", "pyarrow", "io", "os"}, path


def test_links_lead_to_the_floors() -> None:
    for floor in MAY:
        if floor != "_base":
            assert (ROOT / "tiersim" / floor).resolve() == (ROOT / floor).resolve()


@pytest.mark.parametrize("floor", ["sim", "models", "policies", "traces", "experiments"])
def test_nothing_generic_is_importable(floor: str) -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        for name in imported(path):
            assert name.split(".")[0] != floor, f"{path}: write tiersim.{name}"
