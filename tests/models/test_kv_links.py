"""What a page takes on a link is what the link itself, the drive itself takes for it, where nobody else is."""

from __future__ import annotations

from typing import Any

import pytest

from tiersim._base.errors import StudyError
from tiersim.experiments import presets
from tiersim.models.kv_links import KvLink, Moves, TransferLink, moves_of
from tiersim.models.links.nic import Nic
from tiersim.models.links.nvlink import Nvlink
from tiersim.models.links.pcie import Pcie
from tiersim.models.ssd import Drive, Ssd
from tiersim.sim.queued.clock import SECOND, Clock

MIB = 1 << 20


def sent(link: Any, size: int, *, forth: bool) -> int:
    """How long so many bytes take on a clock of their own, until the last is there."""
    clock = Clock()
    made: int = clock.run(link.connect(clock, ("there", "back")).send(size, forth))
    return made


@pytest.mark.parametrize("name", presets.names("pcie"))
def test_pcie_as_on_the_clock(name: str) -> None:
    pcie = presets.built(name, Pcie)
    moves = moves_of(KvLink(pcie=pcie), 2 * MIB, 1)
    assert moves.load + moves.latency == sent(pcie, 2 * MIB, forth=True)
    assert moves.store + moves.latency == sent(pcie, 2 * MIB, forth=False)
    assert moves.load * pcie.raw > 2 * MIB * SECOND  # slower than what is quoted


@pytest.mark.parametrize("name", presets.names("nvlink"))
def test_nvlink_as_on_the_clock(name: str) -> None:
    nvlink = presets.built(name, Nvlink)
    moves = moves_of(KvLink(nvlink=nvlink), 2 * MIB, 1)
    assert moves.load == moves.store == sent(nvlink, 2 * MIB, forth=True) - moves.latency


@pytest.mark.parametrize("name", presets.names("nic"))
def test_a_network_adapter_is_as_slow_as_its_cable_or_its_pcie(name: str) -> None:
    nic = presets.built(name, Nic)
    moves = moves_of(KvLink(nic=nic), 2 * MIB, 1)
    cable = sent(nic, 2 * MIB, forth=True) - nic.latency
    read, written = (sent(nic.pcie, 2 * MIB, forth=forth) - nic.pcie.latency for forth in (True, False))
    assert moves == Moves(max(cable, written), max(cable, read), nic.latency)


@pytest.mark.parametrize("name", presets.names("ssd"))
def test_a_drive_is_as_fast_for_long_as_on_the_clock_or_as_its_pcie(name: str) -> None:
    ssd = presets.built(name, Ssd)
    moves = moves_of(KvLink(ssd=ssd), 2 * MIB, 1)
    for count, read in ((64, True), (256, False)):
        clock = Clock()
        drive = Drive(clock, "drive", ssd)
        for number in range(count):
            (drive.read if read else drive.write)(2 * MIB, number * 2 * MIB)
        clock.run()
        bus = sent(ssd.pcie, count * 2 * MIB, forth=not read)
        told = count * (moves.load if read else moves.store) + moves.latency
        assert told == pytest.approx(max(clock.now, bus), rel=0.1)


def test_links_side_by_side_take_their_part() -> None:
    plain = TransferLink(bandwidth=10**9, latency=7)
    assert moves_of(plain, 1000, 8) == Moves(10**6, 10**6, 7)
    assert moves_of(TransferLink(bandwidth=10**9, count=3), 1000, 8) == Moves(334_000, 334_000, 0)
    pcie = presets.built("pcie-5-x16", Pcie)
    assert moves_of(KvLink(pcie=pcie), 8 * MIB, 8) == moves_of(KvLink(pcie=pcie), MIB, 1)  # one for each accelerator
    assert moves_of(KvLink(pcie=pcie, count=2), 8 * MIB, 8) == moves_of(KvLink(pcie=pcie), 4 * MIB, 1)
    nic = presets.built("nic-100g", Nic)
    assert moves_of(KvLink(nic=nic), MIB, 8) == moves_of(KvLink(nic=nic), MIB, 1)
    assert moves_of(KvLink(nic=nic, latency=10**6), MIB, 1).latency == nic.latency + 10**6


def test_a_link_is_of_one_kind() -> None:
    pcie = presets.built("pcie-5-x16", Pcie)
    with pytest.raises(StudyError, match="it is pcie and bandwidth at once: a link is one of pcie, nvlink, nic, ssd"):
        moves_of(KvLink(pcie=pcie, bandwidth=10**9), MIB, 1)
    with pytest.raises(StudyError, match="nothing tells how fast it is: a link is one of pcie, nvlink, nic, bandwidth"):
        moves_of(TransferLink(), MIB, 1)
