"""A preset of one's own GPU, from what NVIDIA's tools print of it."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from tiersim._base.errors import StudyError
from tiersim.experiments import presets
from tiersim.experiments.yaml_tree import from_data, plain
from tiersim.models.gpu import Gpu

__all__ = ["Made", "check_name", "preset_from", "read", "written"]

GB: Final = 10**9
ASK: Final = (
    "make one with `nvidia-smi -q -x > smi.xml`, "
    "`nvidia-smi --query-gpu=name,memory.total,pcie.link.gen.max,pcie.link.width.max --format=csv > smi.csv`, "
    "`nvbandwidth > bandwidth.txt` or `bandwidthTest > bandwidth.txt`"
)
# what is in a product's name, and the preset that has what the tools do not print
KNOWN: Final = (
    (r"H100 NVL", "h100-nvl"),
    (r"H100 80GB HBM3", "h100-sxm"),
    (r"H200(?! NVL)", "h200"),
    (r"A100-SXM4-80GB", "a100-80"),
    (r"L40S", "l40s"),
    (r"RTX 4090(?! D| Laptop)", "rtx-4090"),
)
NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
DOUBTFUL: Final = 0.4  # share of the link that is lost, above which something else is wrong


@dataclass
class Seen:
    """What one file says of one GPU; bandwidths in bytes a second, and None for what it does not say."""

    tool: str
    file: str
    name: str = ""
    memory: int | None = None  # MiB
    generation: int | None = None
    lanes: int | None = None
    down: float | None = None
    up: float | None = None
    inside: float | None = None  # read and written together
    copied: int = 0  # bytes of one such copy, if the file says
    peer: float | None = None


@dataclass
class Made:
    """A preset as text, and what is to be known about it."""

    text: str
    base: str
    notes: list[str] = field(default_factory=list)


def read(path: Path, gpu: int = 0) -> Seen:
    """What a file says of the GPU of this number. Raises StudyError when it is of no known form or says nothing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise StudyError(f"{str(path)!r} cannot be read: {error.strerror}", None, ASK) from None
    if "<nvidia_smi_log" in text:
        return _from_xml(text, str(path), gpu)
    if "Running " in text and "memcpy" in text:
        return _from_nvbandwidth(text, str(path), gpu)
    if "Bandwidth, " in text and "Device(s)" in text:
        return _from_bandwidth_test(text, str(path), gpu)
    if "memory.total" in text.partition("\n")[0]:
        return _from_csv(text, str(path), gpu)
    raise StudyError(f"{path} is no output of nvidia-smi, nvbandwidth or bandwidthTest that can be read", None, ASK)


def _wrong(file: str, what: str, remedy: str = ASK) -> StudyError:
    return StudyError(f"{file}: {what}", None, remedy)


def _whole(text: str | None, file: str, what: str) -> int | None:
    """The number in front of ``16x`` or ``81559 MiB``; None for N/A."""
    if text is None or "N/A" in text or "Not Supported" in text:
        return None
    found = re.match(r"\s*(\d+)", text)
    if not found:
        raise _wrong(file, f"{what} is {text.strip()!r}, and no number")
    return int(found[1])


def _from_xml(text: str, file: str, gpu: int) -> Seen:
    try:
        root = ElementTree.fromstring(text[text.index("<nvidia_smi_log") :])
    except ElementTree.ParseError as error:
        line, column = error.position
        raise _wrong(file, f"the XML ends or breaks in line {line}, column {column} after <nvidia_smi_log>") from None
    cards = root.findall("gpu")
    if not 0 <= gpu < len(cards):
        raise _wrong(file, f"there is no GPU {gpu}; there are {len(cards)}", "name another with --gpu, from 0")
    card = cards[gpu]

    def at(path: str) -> str | None:
        return card.findtext(path)

    link = "pci/pci_gpu_link_info"
    driver = root.findtext("driver_version") or "unknown"
    return Seen(
        f"nvidia-smi -q -x, driver {driver}",
        file,
        (at("product_name") or "").strip(),
        _whole(at("fb_memory_usage/total") or at("memory_usage/total"), file, "fb_memory_usage/total"),
        _whole(at(f"{link}/pcie_gen/max_link_gen"), file, "max_link_gen"),
        _whole(at(f"{link}/link_widths/max_link_width"), file, "max_link_width"),
    )


def _from_csv(text: str, file: str, gpu: int) -> Seen:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    heads = [head.partition(" [")[0] for head in rows[0]]
    if not 0 <= gpu < len(rows) - 1:
        raise _wrong(file, f"there is no GPU {gpu}; there are {len(rows) - 1}", "name another with --gpu, from 0")
    row = rows[gpu + 1]
    if len(row) != len(heads):
        raise _wrong(file, f"line {gpu + 2} has {len(row)} cells, and line 1 names {len(heads)}")
    cells = dict(zip(heads, row))

    def first(*names: str) -> int | None:
        held = (_whole(cells.get(name), file, name) for name in names)
        return next((number for number in held if number is not None), None)

    return Seen(
        "nvidia-smi --query-gpu",
        file,
        cells.get("name", cells.get("gpu_name", "")),
        first("memory.total"),
        first("pcie.link.gen.max", "pcie.link.gen.gpumax", "pcie.link.gen.current"),
        first("pcie.link.width.max", "pcie.link.width.current"),
    )


def _device(text: str, gpu: int) -> str:
    found = re.search(rf"^\s*Device {gpu}: (.+?)(?: \([0-9a-fA-F:.]+\))?\s*$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _from_bandwidth_test(text: str, file: str, gpu: int) -> Seen:
    """bandwidthTest of the CUDA samples: GB/s, or MB/s of 2**20 bytes before version 10; inside, both ways counted."""
    if "PAGEABLE Memory Transfers" in text:
        raise _wrong(
            file, "the copies were of pageable memory, which goes through a buffer", "run it with pinned memory"
        )
    found: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for part in re.split(r"(?=^ *(?:Host|Device) to (?:Host|Device) Bandwidth)", text, flags=re.MULTILINE)[1:]:
        which = part.strip().partition(" Bandwidth")[0]
        unit = 2**20 if "Bandwidth(MB/s)" in part else GB
        rows = re.findall(r"^ *(\d+)\s+(\d+(?:\.\d+)?)\s*$", part, re.MULTILINE)
        if not rows:
            raise _wrong(file, f"no bandwidth stands under {which} Bandwidth")
        size, speed = max(rows, key=lambda row: int(row[0]))
        found[which], sizes[which] = float(speed) * unit, int(size)
    return Seen(
        "bandwidthTest",
        file,
        _device(text, gpu),
        down=found.get("Host to Device"),
        up=found.get("Device to Host"),
        inside=found.get("Device to Device"),
        copied=sizes.get("Device to Device", 0),
    )


def _from_nvbandwidth(text: str, file: str, gpu: int) -> Seen:
    found: dict[str, float] = {}
    for part in re.split(r"^Running ", text, flags=re.MULTILINE)[1:]:
        test = part.partition(".")[0].strip()
        rows = [line.split() for line in part.splitlines() if re.match(r"\s*\d", line)]
        if len(rows) < 2:
            continue  # waived, or failed: there is no matrix
        heads, matrix = rows[0], [row[1:] for row in rows[1:]]
        if any(len(row) != len(heads) for row in matrix):
            raise _wrong(file, f"the matrix of {test} has rows of other lengths than its head of {len(heads)}")
        if not 0 <= gpu < len(heads):
            raise _wrong(file, f"there is no GPU {gpu} in {test}; there are {len(heads)}", "name another with --gpu")
        numbers = [_speed(row[gpu], file, test) for row in matrix]
        held = [number for number in numbers if number is not None]
        if held:
            found[test] = max(held)
    known = ("host_to_device_memcpy_ce", "device_to_host_memcpy_ce", "device_local_copy")
    peers = [speed for test, speed in found.items() if re.match(r"device_to_device_memcpy_(read|write)_ce", test)]
    if not peers and not any(test in found for test in known):
        raise _wrong(file, f"none of {', '.join(known)} and device_to_device_memcpy_write_ce has a result")
    local = found.get("device_local_copy")
    return Seen(
        "nvbandwidth",
        file,
        _device(text, gpu),
        down=found.get("host_to_device_memcpy_ce"),
        up=found.get("device_to_host_memcpy_ce"),
        inside=None if local is None else 2 * local,  # it counts what is copied once
        peer=max(peers, default=None),
    )


def _speed(text: str, file: str, test: str) -> float | None:
    if text == "N/A":
        return None
    try:
        return float(text) * GB
    except ValueError:
        raise _wrong(file, f"{text!r} in the matrix of {test} is no bandwidth") from None


def check_name(name: str) -> None:
    """Raises StudyError for a name that a preset cannot have, or that one has already."""
    if not NAME.fullmatch(name):
        raise StudyError(f"{name!r} is no name of a preset: small letters, digits and single hyphens, as in my-gpu")
    if (presets.FOLDER / f"{name}.yaml").exists():
        raise StudyError(f"a preset called {name!r} comes along already", None, "take another name")


def preset_from(name: str, files: Sequence[Path], *, gpu: int = 0, like: str = "") -> Made:
    """The text of a preset for the key ``gpu``, with a source for each number.

    What the files say goes before what the preset of the same product says, or the one that ``like`` names. Raises
    StudyError for a name that cannot be, files that cannot be read, and a GPU that there is no preset for.
    """
    check_name(name)
    if not files:
        raise StudyError("there is nothing to make a preset from", None, ASK)
    seen = [read(path, gpu) for path in files]
    product = next((one.name for one in seen if one.name), "")
    base = like or _base(product, seen[0].file)
    preset = presets.find(base)
    if preset.kind != "gpu":
        raise StudyError(f"{base!r} is a preset for {preset.kind}, not for gpu", None, "`tiersim list presets`")
    held = {value.key: (value.value, f"{base}: {value.source}", value.uncertainty) for value in preset.values}
    if "pcie" in held:
        held["pcie.use"] = held.pop("pcie")
    if "nvlink" in held:
        held["nvlink.use"] = held.pop("nvlink")
    made = Made("", base)
    for one in seen:
        _say(held, one)
    for one in seen:
        _calibrate(held, one, made.notes)
    other = sorted({one.name for one in seen if one.name and one.name != product})
    if other:
        made.notes.append(f"the files are of several GPUs: {product}, {', '.join(other)}")
    taken = [key for key, (_, source, _) in held.items() if source.startswith(f"{base}: ")]
    made.notes.append(f"from {base}, as no file says it: {', '.join(taken)}")
    title = f"{product or 'A GPU'}, made from {', '.join(Path(one.file).name for one in seen)} on the preset {base}."
    made.text = written(name, "gpu", title, held)
    return made


def _base(product: str, file: str) -> str:
    for pattern, preset in KNOWN:
        if re.search(pattern, product):
            return preset
    names = ", ".join(presets.names("gpu"))
    what = f"{product} is none of the GPUs that there are presets for" if product else "no file says which GPU it is of"
    raise _wrong(file, what, f"name the one to take the other numbers from: --like, one of {names}")


Held = dict[str, tuple[Any, str, str]]


def _say(held: Held, one: Seen) -> None:
    """What a tool says plainly."""
    where = f"{Path(one.file).name}: {one.tool}"
    if one.memory is not None:
        held["memory.capacity"] = (f"{one.memory} MiB", f"{where}, total memory", "")
    if one.generation is not None:
        if one.generation not in (3, 4, 5, 6):
            raise _wrong(one.file, f"PCI Express {one.generation} is not modelled; there are 3, 4, 5 and 6", "")
        held["pcie.use"] = (f"pcie-{one.generation}-x16", f"{where}, largest link generation", "")
    if one.lanes is not None:
        held["pcie.lanes"] = (one.lanes, f"{where}, largest link width", "")


def _calibrate(held: Held, one: Seen, notes: list[str]) -> None:
    """What follows from measured bandwidths for the knobs of the model, said as such."""
    where = f"calibrated to {Path(one.file).name} ({one.tool})"
    gpu = _built(held)
    pcie = gpu.pcie
    lost = {}
    for which, speed, header in (("to the device", one.down, pcie.completion), ("from it", one.up, pcie.write)):
        if speed is not None:
            lost[which] = 1 - speed * (pcie.payload + header) / (pcie.raw * pcie.payload)
    if lost:
        measured = ", ".join(
            f"{speed / GB:.4g} GB/s {which}"
            for which, speed in (("to the device", one.down), ("from it", one.up))
            if speed is not None
        )
        share = max(sum(lost.values()) / len(lost), 0.0)
        low, high = (_percent(max(pick(lost.values()), 0)) for pick in (min, max))
        span = f"{low} to {high}" if low != high else ""
        held["pcie.link_layer"] = (_percent(share), f"{where}: {measured}", span)
        if share > DOUBTFUL:
            notes.append(
                f"{measured} are so little of PCI Express {pcie.generation} x{pcie.lanes} that the link may be slower: "
                "give the output of nvidia-smi as well"
            )
        if min(lost.values()) < 0:
            notes.append(f"{measured} are more than PCI Express {pcie.generation} x{pcie.lanes} carries after headers")
    if one.inside is not None and one.copied and gpu.caches(2 * one.copied):
        notes.append(f"copies of {one.copied:,} B inside the device stay in its L2 cache and say nothing of its memory")
    elif one.inside is not None:
        share, said = one.inside / gpu.memory.bandwidth, f"{one.inside / GB:.4g} GB/s inside the device"
        if share > 1:
            notes.append(f"{said} are more than its memory has: the L2 cache served")
        held["memory.efficiency"] = (_percent(min(share, 1)), f"{where}: {said}", "")
    if one.peer is not None and gpu.nvlink is not None:
        packets = gpu.nvlink.wire().bandwidth * gpu.nvlink.payload / (gpu.nvlink.payload + gpu.nvlink.header)
        share = one.peer / packets
        held["nvlink.efficiency"] = (_percent(min(share, 1)), f"{where}: {one.peer / GB:.4g} GB/s to a peer", "")


def _percent(share: float) -> str:
    return f"{round(share * 100, 2):g} %"


def _built(held: Held) -> Gpu:
    """The GPU as it stands."""
    tree = presets.expand(from_data(_nested({key: value for key, (value, *_) in held.items()}), "preset"), Gpu)
    made: Gpu = TypeAdapter(Gpu).validate_python(plain(tree))
    return made


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        inside = made
        for step in path:
            inside = inside.setdefault(step, {})
        inside[last] = value
    return made


def written(name: str, kind: str, title: str, held: Held) -> str:
    """The text of a preset: of each dotted key its value, source and uncertainty."""
    lines = [f"# {title}", f"preset: {name}", f"kind: {kind}", "values:"]

    def write(tree: dict[str, Any], depth: int) -> None:
        for key, inside in tree.items():
            if isinstance(inside, dict):
                lines.append(f"{'  ' * depth}{key}:")
                write(inside, depth + 1)
                continue
            value, source, uncertainty = inside
            more = f", uncertainty: {_quoted(uncertainty)}" if uncertainty else ""
            lines.append(f"{'  ' * depth}{key}: {{value: {value}, source: {_quoted(source)}{more}}}")

    write(_nested(dict(held)), 1)
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
