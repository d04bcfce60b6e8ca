"""A bundle runs elsewhere and is compared: equal, or different in the metrics that are told."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiersim
from tests.experiments.paper.test_folder import Call
from tests.experiments.test_opened import TREES
from tiersim._base.errors import StudyError
from tiersim.experiments.opened import open_result
from tiersim.experiments.paper import bundle as bundles
from tiersim.experiments.paper.bundle import write_bundle
from tiersim.experiments.paper.rerun import rerun
from tiersim.experiments.paper.written import to_yaml
from tiersim.experiments.yaml_tree import Node, from_data, load_text, plain

OWN = """\
# Is mine better?
study: mine
scenario: object-cache
trace: {use: data/requests.csv}
cache: {capacity: 300 B}
what_if:
  mine: {cache.policy: "mine.py:Mine"}
  "yes: # 1": {cache.capacity: 1_00 B}
"""
POLICY = '''\
"""Last in, first out."""

from helper import last


class Mine:
    def start(self, capacity: int) -> None:
        self.capacity, self.sizes = capacity, {}

    def __len__(self) -> int:
        return len(self.sizes)

    def on_access(self, x: int, size: int) -> bool:
        if x in self.sizes:
            return True
        while sum(self.sizes.values()) + size > self.capacity:
            del self.sizes[last(self.sizes)]
        self.sizes[x] = size
        return False
'''
HELPER = "def last(held):\n    return list(held)[-1]\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that one works in: a study with a policy and a trace of the user's own, which has run."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "s.yaml").write_text(OWN)
    (folder / "mine.py").write_text(POLICY)
    (folder / "helper.py").write_text(HELPER)
    (folder / "data").mkdir()
    lines = [f"{at},{at * at % 97},10,get" for at in range(3000)]
    (folder / "data/requests.csv").write_text("\n".join(["time,key,size,op", *lines]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        tiersim.run("s.yaml", out="there")
    sys.modules.pop("helper", None)
    return folder


@pytest.fixture
def work(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in a folder of its own, which is the one that one works in."""
    shutil.copytree(finished, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def elsewhere(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle in another folder, and all else gone."""
    write_bundle(open_result("there"))
    other = tmp_path / "other"
    other.mkdir()
    shutil.move(work / "there/bundle.zip", other / "b.zip")
    shutil.rmtree(work)
    monkeypatch.chdir(other)
    return Path("b.zip")


def unpacked(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, held in files.items():
            archive.writestr(name, held)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line here: exit status, standard output, standard error."""
    from tiersim.cli import main

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return call


def test_a_bundle_holds_all_that_a_study_uses(work: Path) -> None:
    bundle = write_bundle(open_result("there"))
    files = unpacked(bundle.path)
    assert set(files) == {
        *("README.md", "environment.json", "expected.json", "references.bib", "sources.md"),
        *(f"study/{name}" for name in ("study.yaml", "mine.py", "helper.py", "data/requests.csv")),
    }
    assert files["study/mine.py"].decode() == POLICY
    assert list(bundle.files) == ["data/requests.csv", "helper.py", "mine.py"]
    expected = json.loads(files["expected.json"])
    result = open_result("there")
    assert [held["metrics"] for held in expected["runs"]] == [row.metrics for row in result.rows]
    assert [f"{held['part']}.parquet" for held in expected["runs"]] == [
        row.part.name for row in result.rows if row.part
    ]
    page = files["README.md"].decode()
    assert "    pip install tiersim\n    tiersim rerun bundle.zip\n" in page
    assert "## Code of the authors, which is run\n\n- `study/helper.py`\n- `study/mine.py`" in page
    assert {"numpy", "numba", "pyarrow"} <= json.loads(files["environment.json"])["packages"].keys()


def test_its_bytes_are_the_same_each_time(work: Path) -> None:
    first = write_bundle(open_result("there")).path.read_bytes()
    (work / "mine.py").touch()
    assert write_bundle(open_result("there")).path.read_bytes() == first


def test_no_path_of_this_machine_is_in_it(work: Path) -> None:
    for name, held in unpacked(write_bundle(open_result("there")).path).items():
        assert str(work).encode() not in held, name


def test_it_runs_elsewhere_and_every_run_is_equal(elsewhere: Path) -> None:
    told = rerun(elsewhere)
    assert [(held.label, held.equal) for held in told.runs] == [("base", True), ("mine", True), ("yes: # 1", True)]
    assert (told.equal, told.notes) == (True, [])
    expected = json.loads(unpacked(elsewhere)["expected.json"])
    again = open_result(told.folder)
    # paths in the study are as they were: the very files are the same
    assert [held["part"] for held in expected["runs"]] == [row.part.stem for row in again.rows if row.part]
    assert Path.cwd() == elsewhere.absolute().parent


def test_the_command_says_so(elsewhere: Path, command: Call) -> None:
    status, out, err = command("rerun", "b.zip", "--out", "mine", "--workers", "1", "--quiet")
    assert (status, err) == (0, "")
    assert out == "mine: 3 of 3 runs are equal in all that came out\nresults: mine/results\n"


def test_a_difference_is_told_with_its_metrics_and_how_much(elsewhere: Path, command: Call) -> None:
    files = unpacked(elsewhere)
    files["study/helper.py"] = HELPER.replace("-1", "0").encode()  # first in, first out
    packed(elsewhere, files)
    status, out, _ = command("rerun", "b.zip", "--workers", "1", "--quiet", "--json")
    told: dict[str, Any] = json.loads(out)
    assert (status, told["equal"]) == (1, False)
    base, mine, other = told["runs"]
    assert (base["equal"], mine["equal"], other["equal"]) == (True, False, True)
    expected = json.loads(files["expected.json"])["runs"]
    by_name = {held["metric"]: held for held in mine["metrics"]}
    assert by_name["miss_ratio"]["expected"] == expected[1]["metrics"]["miss_ratio"]
    assert by_name["miss_ratio"]["found"] != by_name["miss_ratio"]["expected"]
    share = by_name["miss_ratio"]["found"] / by_name["miss_ratio"]["expected"] - 1
    assert by_name["miss_ratio"]["relative"] == pytest.approx(share)
    status, out, _ = command("rerun", "b.zip", "--workers", "1", "--quiet")
    assert status == 1
    assert "differs: mine, seed 0: " in out
    assert "mine: 2 of 3 runs are equal in all that came out" in out


def test_a_run_that_is_not_expected_so_and_one_that_is_not_made_are_told(elsewhere: Path) -> None:
    files = unpacked(elsewhere)
    expected = json.loads(files["expected.json"])
    expected["runs"][0]["checksum"] = "0"
    expected["runs"][1] |= {"status": "failed", "checksum": "0"}
    expected["runs"][2]["label"] = "none"
    files["expected.json"] = json.dumps(expected).encode()
    packed(elsewhere, files)
    told = rerun(elsewhere)
    assert [held.why for held in told.runs] == [
        "its metrics are equal, and what is kept of its course, or its notes, are not",
        "it is done and was failed",
        "it was not run here",
    ]


def test_other_code_is_told(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = unpacked(elsewhere)
    expected = json.loads(files["expected.json"]) | {"code": "other", "version": "0.0.9"}
    packed(elsewhere, files | {"expected.json": json.dumps(expected).encode()})
    told = rerun(elsewhere)
    assert told.notes == ["the code here is not that of the bundle, which is of tiersim 0.0.9: metrics are compared"]
    assert told.equal


def test_files_outside_the_folder_are_moved_into_the_bundle(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = work.parent / "away"
    away.mkdir()
    shutil.move(work / "data/requests.csv", away / "requests.csv")
    text = OWN.replace("data/requests.csv", str(away / "requests.csv")).replace("mine.py", f"../{work.name}/mine.py")
    (work / "s.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(work))
    tiersim.run("s.yaml", out="moved")
    bundle = write_bundle(open_result("moved"))
    assert all(name.startswith("files/") or name == "helper.py" for name in bundle.files)
    assert str(away) not in unpacked(bundle.path)["study/study.yaml"].decode()
    sys.modules.pop("helper", None)
    monkeypatch.undo()
    monkeypatch.chdir(away)
    (away / "requests.csv").unlink()
    told = rerun(work / bundle.path)
    assert told.equal  # though the paths in the configuration, and so the names of the parts, are others


def test_a_file_that_is_too_large_is_said_with_its_fingerprint(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MOST_BYTES", 4000)
    bundle = write_bundle(open_result("there"))
    told = bundle.absent["data/requests.csv"]
    assert "put it to study/data/requests.csv (sha256 " in told
    assert "study/data/requests.csv" not in unpacked(bundle.path)
    assert told in unpacked(bundle.path)["README.md"].decode()


def test_a_policy_whose_file_is_gone_is_one_message(work: Path) -> None:
    (work / "mine.py").unlink()
    with pytest.raises(
        StudyError, match=r"uses mine.py:Mine, and there is no file 'mine.py' here\n  work in the folder"
    ):
        write_bundle(open_result("there"))


def test_the_command_report_writes_one(work: Path, command: Call) -> None:
    status, out, _ = command("report", "there", "--bundle", "--json")
    told = json.loads(out)["bundle"]
    assert (status, told["runs"], told["path"]) == (0, 3, "there/bundle.zip")
    assert list(told["files"]) == ["data/requests.csv", "helper.py", "mine.py"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (None, "it is no zip file"),
        ({"a": b""}, "study/study.yaml is missing"),
        ({"study/study.yaml": b"", "expected.json": b"{"}, "expected.json cannot be read"),
        ({"study/study.yaml": b"", "expected.json": b"{}"}, "expected.json cannot be read"),
        ({"study/study.yaml": b"", "expected.json": b'{"format": 0}'}, "it is of another version"),
        ({"../out": b""}, "'../out' in it leads out of it"),
        ({"/out": b""}, "'/out' in it leads out of it"),
    ],
)
def test_what_is_no_bundle_is_one_message(
    files: dict[str, bytes] | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    if files is None:
        Path("b.zip").write_bytes(b"noise")
    else:
        packed(Path("b.zip"), files)
    status, _, err = command("rerun", "b.zip")
    assert status == 2
    assert f"b.zip is no bundle: {told}" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["b.zip"]


def test_a_folder_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="it is a folder"):
        rerun(tmp_path)


def test_compressed_bytes_that_are_damaged_are_one_message(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("expected.json", "words " * 100)
    data = bytearray(path.read_bytes())
    data[30 + len("expected.json")] = 0xFF  # the first byte of the deflated data: a block type that there is not
    path.write_bytes(data)
    with pytest.raises(StudyError, match="a damaged one") as caught:
        rerun(path)
    assert "copy it again" in str(caught.value.remedy)


def test_a_file_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"there is no file 'none\.zip'"):
        rerun(Path("none.zip"))


# the study as a file


def bare(node: Node) -> Any:
    """Values and texts without places."""
    if isinstance(node.value, dict):
        return {key: bare(held) for key, held in node.value.items()}
    return [bare(held) for held in node.value] if isinstance(node.value, list) else (node.value, node.text)


WORDS = st.text(max_size=8) | st.sampled_from(["- a", "a: b", "# a", "null", "1_0", "%a", "a ", "'", '"', "\\n", "yes"])


@given(st.dictionaries(st.text("ab.: #", min_size=1, max_size=4), TREES | WORDS, min_size=1))
def test_a_tree_is_the_same_when_it_was_written_and_read(data: dict[str, Any]) -> None:
    tree = from_data(data, "study")
    again = load_text(to_yaml(tree, "Why?\n\nThis."), "study.yaml")
    assert plain(again) == plain(tree)
    assert bare(load_text(to_yaml(again), "study.yaml")) == bare(again)


def test_numbers_stay_as_they_were_written() -> None:
    tree = load_text("a: 0.10\nb: 1_000\nc: [0x10, true, ~]\nd: '1'\n", "s.yaml")
    assert to_yaml(tree, "What?") == '# What?\na: 0.10\nb: 1_000\nc:\n  - 0x10\n  - true\n  - ~\nd: "1"\n'
    assert bare(load_text(to_yaml(tree), "s.yaml")) == bare(tree)
