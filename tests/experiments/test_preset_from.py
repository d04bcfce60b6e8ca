"""Presets from what NVIDIA's tools print; the samples are written after their public formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tiersim._base.errors import StudyError
from tiersim.cli import main
from tiersim.experiments import presets
from tiersim.experiments.preset_from import preset_from, read
from tiersim.experiments.yaml_tree import from_data, plain
from tiersim.models.gpu import Gpu

XML = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <timestamp>Tue Mar  4 10:00:00 2025</timestamp>
  <driver_version>550.54.15</driver_version>
  <cuda_version>12.4</cuda_version>
  <attached_gpus>2</attached_gpus>
  <gpu id="00000000:18:00.0">
    <product_name>NVIDIA H100 80GB HBM3</product_name>
    <pci>
      <pci_gpu_link_info>
        <pcie_gen><max_link_gen>5</max_link_gen><current_link_gen>1</current_link_gen></pcie_gen>
        <link_widths><max_link_width>8x</max_link_width><current_link_width>8x</current_link_width></link_widths>
      </pci_gpu_link_info>
    </pci>
    <fb_memory_usage><total>81559 MiB</total><reserved>551 MiB</reserved></fb_memory_usage>
  </gpu>
  <gpu id="00000000:2A:00.0">
    <product_name>NVIDIA L40S</product_name>
    <pci><pci_gpu_link_info>
        <pcie_gen><max_link_gen>N/A</max_link_gen></pcie_gen>
        <link_widths><max_link_width>16x</max_link_width></link_widths>
    </pci_gpu_link_info></pci>
    <fb_memory_usage><total>46068 MiB</total></fb_memory_usage>
  </gpu>
</nvidia_smi_log>
"""
CSV = """name, memory.total [MiB], pcie.link.gen.max, pcie.link.width.max
NVIDIA GeForce RTX 4090, 24564 MiB, 4, 16
NVIDIA A100-SXM4-80GB, 81920 MiB, 4, 16
"""
TEST = """[CUDA Bandwidth Test] - Starting...
Running on...

 Device 0: NVIDIA A100-SXM4-80GB
 Quick Mode

 Host to Device Bandwidth, 1 Device(s)
 PINNED Memory Transfers
   Transfer Size (Bytes)\tBandwidth(GB/s)
   32000000\t\t\t24.5

 Device to Host Bandwidth, 1 Device(s)
 PINNED Memory Transfers
   Transfer Size (Bytes)\tBandwidth(GB/s)
   32000000\t\t\t26.0

 Device to Device Bandwidth, 1 Device(s)
 PINNED Memory Transfers
   Transfer Size (Bytes)\tBandwidth(GB/s)
   32000000\t\t\t1733.2

Result = PASS
"""
NVB = """nvbandwidth Version: v0.8
Built from Git version: v0.8

CUDA Runtime Version: 12060
CUDA Driver Version: 12060
Driver Version: 560.35.05

Device 0: NVIDIA H100 80GB HBM3 (00000000:18:00)
Device 1: NVIDIA H100 80GB HBM3 (00000000:2a:00)

Running host_to_device_memcpy_ce.
memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)
           0         1
 0     53.00     54.00

SUM host_to_device_memcpy_ce 107.00

Running device_to_host_memcpy_ce.
memcpy CE CPU(row) <- GPU(column) bandwidth (GB/s)
           0         1
 0     52.00     52.50

SUM device_to_host_memcpy_ce 104.50

Running device_to_device_memcpy_write_ce.
memcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)
           0         1
 0       N/A    380.00
 1    381.15       N/A

SUM device_to_device_memcpy_write_ce 761.15

Running device_local_copy.
memcpy local GPU(column) bandwidth (GB/s)
           0         1
 0   1507.50   1500.00

SUM device_local_copy 3007.50
"""


def write(folder: Path, **texts: str) -> list[Path]:
    made = []
    for name, text in texts.items():
        made.append(folder / f"{name}.txt")
        made[-1].write_text(text)
    return made


def built(folder: Path, text: str) -> Gpu:
    """The GPU of a preset's text, read as a study would."""
    path = folder / "mine.yaml"
    path.write_text(text)
    holder = type("Holds", (), {"__annotations__": {"gpu": Gpu}})
    presets.find.cache_clear()
    tree = presets.expand(from_data({"gpu": str(path)}, "study"), holder)
    made: Gpu = TypeAdapter(Gpu).validate_python(plain(tree)["gpu"])
    return made


def test_nvidia_smi_says_memory_and_link(tmp_path: Path) -> None:
    made = preset_from("mine", write(tmp_path, smi=XML))
    gpu = built(tmp_path, made.text)
    assert made.base == "h100-sxm"
    assert gpu.memory.capacity == 81559 << 20
    assert (gpu.pcie.generation, gpu.pcie.lanes) == (5, 8)
    assert (gpu.memory.bandwidth, gpu.l2) == (3350 * 10**9, 50 << 20)  # not in the file
    values = {value.key: value for value in presets.find(str(tmp_path / "mine.yaml")).values}
    assert values["memory.capacity"].source == "smi.txt: nvidia-smi -q -x, driver 550.54.15, total memory"
    assert values["l2"].source.startswith("h100-sxm: ")
    assert all(value.source for value in values.values())
    assert "l2" in made.notes[-1]
    assert "memory.capacity" not in made.notes[-1]


def test_of_several_gpus_one_is_named(tmp_path: Path) -> None:
    made = preset_from("mine", write(tmp_path, smi=XML), gpu=1)
    gpu = built(tmp_path, made.text)
    assert made.base == "l40s"
    assert (gpu.pcie.generation, gpu.pcie.lanes, gpu.nvlink) == (4, 16, None)  # N/A: as the preset says
    with pytest.raises(StudyError, match="there is no GPU 2; there are 2"):
        preset_from("mine", write(tmp_path, smi=XML), gpu=2)


@pytest.mark.parametrize(("gpu", "base", "size"), [(0, "rtx-4090", 24564), (1, "a100-80", 81920)])
def test_a_query_as_csv(tmp_path: Path, gpu: int, base: str, size: int) -> None:
    for text in (CSV, CSV.replace(" MiB,", ",")):  # with units, and without
        made = preset_from("mine", write(tmp_path, smi=text), gpu=gpu)
        assert made.base == base
        assert built(tmp_path, made.text).memory.capacity == size << 20


def test_bandwidth_test_calibrates_the_link_and_the_memory(tmp_path: Path) -> None:
    """The link that is made carries what was measured, to and fro on average; both are told."""
    made = preset_from("mine", write(tmp_path, bandwidth=TEST))
    gpu = built(tmp_path, made.text)
    down, up = gpu.pcie.wire(gpu.pcie.completion).goodput / 1e9, gpu.pcie.wire(gpu.pcie.write).goodput / 1e9
    assert down == pytest.approx(24.5, rel=0.05)
    assert up == pytest.approx(26.0, rel=0.05)
    assert (down / 24.5 + up / 26.0) / 2 == pytest.approx(1, rel=0.002)
    assert gpu.memory.efficiency == 850_000_000  # 1733.2 of 2039
    assert '"calibrated to bandwidth.txt (bandwidthTest): 24.5 GB/s to the device, 26 GB/s from it"' in made.text


def test_nvbandwidth_calibrates_nvlink_too(tmp_path: Path) -> None:
    made = preset_from("mine", write(tmp_path, bandwidth=NVB))
    gpu = built(tmp_path, made.text)
    assert gpu.nvlink is not None
    assert gpu.nvlink.wire().goodput / 1e9 == pytest.approx(381.15, rel=1e-3)
    assert gpu.pcie.wire(gpu.pcie.completion).goodput / 1e9 == pytest.approx(53, rel=0.02)
    assert gpu.memory.efficiency == 900_000_000  # 1507.5 read and as much written, of 3350
    other = built(tmp_path, preset_from("mine", write(tmp_path, bandwidth=NVB), gpu=1).text)
    assert other.pcie.link_layer < gpu.pcie.link_layer


def test_files_add_to_each_other(tmp_path: Path) -> None:
    """On 8 lanes, as nvidia-smi says, 26 GB/s are no loss; on 16 they would be half of the link."""
    slow = NVB.replace("53.00", "26.00").replace("52.00", "26.00")
    made = preset_from("mine", write(tmp_path, bandwidth=slow, smi=XML))
    assert built(tmp_path, made.text).pcie.link_layer < 120_000_000
    assert len(made.notes) == 1
    alone = preset_from("mine", write(tmp_path, bandwidth=slow))
    assert any("the link may be slower: give the output of nvidia-smi as well" in note for note in alone.notes)


def test_more_than_there_can_be_is_told(tmp_path: Path) -> None:
    text = TEST.replace("24.5", "31.0").replace("26.0", "31.0").replace("1733.2", "4000")
    made = preset_from("mine", write(tmp_path, bandwidth=text))
    gpu = built(tmp_path, made.text)
    assert (gpu.pcie.link_layer, gpu.memory.efficiency) == (0, 10**9)
    assert "more than PCI Express 4 x16 carries" in made.notes[0]
    assert "the L2 cache served" in made.notes[1]


def test_copies_that_stay_in_the_cache_say_nothing_of_memory(tmp_path: Path) -> None:
    """32 MB read and as much written fit in the 72 MiB of an RTX 4090, and not in the 40 MiB of an A100."""
    made = preset_from("mine", write(tmp_path, bandwidth=TEST.replace("A100-SXM4-80GB", "GeForce RTX 4090")))
    assert "copies of 32,000,000 B inside the device stay in its L2 cache" in made.notes[0]
    assert built(tmp_path, made.text).memory.efficiency == 910_000_000  # as the preset says
    longer = TEST.replace("A100-SXM4-80GB", "GeForce RTX 4090").replace("32000000", "256000000")
    longer = longer.replace("1733.2", "921.0")
    assert built(tmp_path, preset_from("mine", write(tmp_path, bandwidth=longer)).text).memory.efficiency == 913_700_000


def test_files_of_two_gpus_are_told(tmp_path: Path) -> None:
    made = preset_from("mine", write(tmp_path, smi=XML, bandwidth=TEST))
    assert made.notes[0] == "the files are of several GPUs: NVIDIA H100 80GB HBM3, NVIDIA A100-SXM4-80GB"


def test_old_bandwidth_tests_count_in_mib(tmp_path: Path) -> None:
    (path,) = write(tmp_path, bandwidth=TEST.replace("Bandwidth(GB/s)", "Bandwidth(MB/s)").replace("24.5", "11000.0"))
    assert read(path).down == 11000 * 2**20


def test_an_unknown_gpu_needs_one_to_be_like(tmp_path: Path) -> None:
    files = write(tmp_path, smi=XML.replace("H100 80GB HBM3", "B300"))
    with pytest.raises(StudyError, match=r"NVIDIA B300 is none of the GPUs .*\n  name the one .* a100-80"):
        preset_from("mine", files)
    made = preset_from("mine", files, like="h200")
    assert (made.base, built(tmp_path, made.text).memory.capacity) == ("h200", 81559 << 20)
    with pytest.raises(StudyError, match="'nic-100g' is a preset for nic, not for gpu"):
        preset_from("mine", files, like="nic-100g")
    with pytest.raises(StudyError, match="no preset is called 'h2000'; did you mean 'h200'"):
        preset_from("mine", files, like="h2000")
    with pytest.raises(StudyError, match="no file says which GPU it is of"):
        preset_from("mine", write(tmp_path, bandwidth=NVB.replace("Device ", "Card ")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "is no output of nvidia-smi, nvbandwidth or bandwidthTest that can be read\n  make one with"),
        ("", "is no output of"),
        (XML[:900], "the XML ends or breaks in line"),
        (XML.replace("81559 MiB", "plenty"), "fb_memory_usage/total is 'plenty', and no number"),
        (XML.replace("<max_link_gen>5", "<max_link_gen>2"), "PCI Express 2 is not modelled"),
        (CSV.partition("\n")[0], "there is no GPU 0; there are 0"),
        (CSV.replace(", 4, 16", ""), "line 2 has 2 cells, and line 1 names 4"),
        (TEST.replace("PINNED", "PAGEABLE"), "the copies were of pageable memory"),
        (TEST.replace("   32000000\t\t\t24.5\n", ""), "no bandwidth stands under Host to Device Bandwidth"),
        ("Running host_to_device_memcpy_ce.\nWAIVED: no memcpy\n", "none of host_to_device_memcpy_ce"),
        (NVB.replace("53.00", "fast"), "'fast' in the matrix of host_to_device_memcpy_ce is no bandwidth"),
        (NVB.replace(" 0     53.00     54.00", " 0     53.00"), "has rows of other lengths than its head of 2"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        preset_from("mine", write(tmp_path, out=text))


def test_names_that_cannot_be(tmp_path: Path) -> None:
    files = write(tmp_path, smi=XML)
    for name in ("My GPU", "../mine", "a--b", ""):
        with pytest.raises(StudyError, match="is no name of a preset"):
            preset_from(name, files)
    with pytest.raises(StudyError, match="a preset called 'h200' comes along already"):
        preset_from("h200", files)
    with pytest.raises(StudyError, match="there is nothing to make a preset from"):
        preset_from("mine", [])
    with pytest.raises(StudyError, match="cannot be read: No such file"):
        preset_from("mine", [tmp_path / "absent"])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, smi=XML, bandwidth=NVB)
    arguments = ["presets", "new", "my-h100", "--from", "smi.txt", "--from", "bandwidth.txt"]

    def run(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, *more])
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    status, out, _ = run()
    assert status == 0
    assert out.startswith("my-h100.yaml is written: a preset for the key `gpu`, which its path names\n")
    assert presets.find("my-h100.yaml").kind == "gpu"
    status, _, err = run()
    assert (status, "my-h100.yaml is there already" in err) == (2, True)
    status, out, _ = run("--force", "--json")
    assert status == 0
    assert json.loads(out)["file"] == "my-h100.yaml"
    assert json.loads(out)["based_on"] == "h100-sxm"
    status, _, err = run("--force", "--gpu", "7")
    assert (status, "there is no GPU 7" in err) == (2, True)
