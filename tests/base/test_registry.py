"""The register of everything that has a name."""

import ast
import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from tiersim._base import registry
from tiersim._base.errors import StudyError
from tiersim._base.registry import Entry, build, families, find, import_file, index, load, nearest

WAY = "way-replacement"


def test_the_index_imports_nothing() -> None:
    code = (
        "import sys\n"
        "from tiersim._base.registry import index\n"
        "assert 'lru' in index('way-replacement')\n"
        "loaded = [name for name in sys.modules if name.startswith(('tiersim.policies', 'numpy', 'numba'))]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_registered_class_is_overlooked() -> None:
    classes = [
        node.name
        for floor in registry.FLOORS
        for path in (registry.ROOT / floor).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and any("register(" in ast.unparse(mark) for mark in node.decorator_list)
    ]
    known = {(entry.module, entry.attribute) for family in families() for entry in index(family).values()}
    assert sorted(classes) == sorted(name for module, name in known if module.startswith("tiersim."))


@pytest.mark.parametrize("family", families())
def test_every_entry_loads_under_all_its_names(family: str) -> None:
    for name, entry in index(family).items():
        cls = load(family, name)
        assert cls.__name__ == entry.attribute
        assert cls.registered.name == entry.name
        assert cls.registered.summary == entry.summary != ""
        assert name in (entry.name, *entry.aliases)


@pytest.mark.parametrize("name", sorted({entry.name for entry in index(WAY).values()}))
def test_every_policy_names_its_source(name: str) -> None:
    assert find(WAY, name).paper


def test_an_alias_is_the_same_class() -> None:
    assert load(WAY, "opt") is load(WAY, "belady")


@pytest.mark.parametrize(
    ("family", "name", "message"),
    [
        (WAY, "srip", "no way-replacement is called 'srip'; did you mean 'srrip'?"),
        (
            "scenario",
            "zzz",
            (
                "no scenario is called 'zzz'; there are: expert-offload, expert-routing, memory-hierarchy, "
                "object-cache, serving, translation"
            ),
        ),
        (WAY, "none.py:Lru", "there is no file 'none.py' to take 'Lru' from"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(family: str, name: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        load(family, name)
    assert caught.value.message == message


def test_nearest() -> None:
    assert nearest("polcy", ["policy", "ways"]) == "did you mean 'policy'?"
    assert nearest("zzz", ["policy"]) == ""


@pytest.mark.parametrize("value", ["srrip", {"use": "srrip"}, {"use": "srrip", "bits": 2}])
def test_a_bare_name_means_use(value: Any) -> None:
    assert build(WAY, value) == load(WAY, "srrip")(bits=2)


def test_an_instance_passes_through() -> None:
    made = load(WAY, "srrip")(bits=3)
    assert build(WAY, made) is made


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({"use": "srip"}, ("use",), "no way-replacement is called 'srip'; did you mean 'srrip'?"),
        ({"use": "srrip", "bit": 3}, ("bit",), "unknown key 'bit'; did you mean 'bits'?"),
        ({"use": "srrip", "bits": 99}, ("bits",), "must be at most 16"),
        ({"use": "lru", "bits": 2}, ("bits",), "unknown key 'bits'; it takes none"),
    ],
)
def test_a_wrong_parameter_is_told_with_its_path(value: Any, path: tuple[str, ...], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        build(WAY, value)
    assert getattr(caught.value, "detail", None) == [(path, message)]


@pytest.mark.parametrize("value", [3, None, ["lru"], {"bits": 3}, {"use": 3}])
def test_what_is_no_name_is_refused(value: Any) -> None:
    with pytest.raises(StudyError, match="must be the name of a way-replacement"):
        build(WAY, value)


def test_two_classes_of_one_name_are_refused() -> None:
    found: dict[str, dict[str, Entry]] = {}
    registry._add(found, Entry("a", "f", "one", "A", aliases=("b",)))
    registry._add(found, Entry("b", "g", "two", "B"))  # another family
    with pytest.raises(StudyError, match="two f classes are called 'b': one and three"):
        registry._add(found, Entry("b", "f", "three", "B"))


def test_a_plug_in_joins_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("mine", "decimal:Decimal", "tiersim.way-replacement")])
    monkeypatch.setattr(registry, "entry_points", lambda: points)
    found = registry._all.__wrapped__()[WAY]
    assert (found["mine"].module, found["mine"].attribute) == ("decimal", "Decimal")
    assert "lru" in found


SOURCE = """
class Mine:
    '''Mine.'''
    bits: int = 2

class Other(Mine):
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_a_class_of_a_file(file: Path) -> None:
    made = build(WAY, {"use": f"{file}:Mine", "bits": 5})
    assert made.bits == 5
    assert made.registered.name == f"{file}:Mine"
    assert pickle.loads(pickle.dumps(made)) == made
    assert import_file(file) is import_file(file)


def test_a_class_that_inherits_from_a_policy_is_not_taken_for_it(file: Path) -> None:
    first, second = load(WAY, f"{file}:Mine"), load(WAY, f"{file}:Other")
    assert issubclass(second, first)
    assert (first.registered.attribute, second.registered.attribute) == ("Mine", "Other")


def test_another_process_can_unpickle_an_object_of_such_a_class(file: Path, tmp_path: Path) -> None:
    made = build(WAY, {"use": f"{file}:Mine", "bits": 5})
    (tmp_path / "made").write_bytes(pickle.dumps(made))
    code = "import pickle; made = pickle.load(open('made', 'rb')); print(made.registered.name, made.bits)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [f"{file}:Mine", "5"], done.stderr


def test_a_file_that_was_edited_is_imported_again(file: Path) -> None:
    before = load(WAY, f"{file}:Mine")
    assert load(WAY, f"{file}:Mine") is before
    file.write_text(SOURCE.replace("bits: int = 2", "bits: int = 3"), encoding="utf-8")
    assert (before().bits, load(WAY, f"{file}:Mine")().bits) == (2, 3)


def test_a_class_that_the_file_does_not_have(file: Path) -> None:
    with pytest.raises(StudyError, match=r"has no class 'Mina'; did you mean 'Mine'\?"):
        load(WAY, f"{file}:Mina")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def x(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text, encoding="utf-8")
    for _ in range(2):  # a second try finds nothing half made
        with pytest.raises(StudyError, match="cannot be imported") as caught:
            load(WAY, f"{path}:Mine")
        assert why in caught.value.message
