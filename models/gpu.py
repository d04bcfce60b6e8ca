"""GPUs in numbers: memory, arithmetic, and what connects them."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim.models.links.nvlink import Nvlink
from tiersim.models.links.pcie import Pcie
from tiersim.models.tiers import Tier
from tiersim.sim.queued.clock import SECOND
from tiersim.sim.queued.link import WHOLE

__all__ = ["Compute", "Gpu"]

DENSE = "operations a second, dense, with tensor cores where they do it"


@config
class Compute:
    """The peak of a GPU's arithmetic, by type; what it does not do is left out."""

    fp64: Annotated[int | None, Param(f"64-bit floating point: {DENSE}", unit="count", ge=1)] = None
    fp32: Annotated[
        int | None, Param("32-bit floating point: operations a second, no tensor cores", unit="count", ge=1)
    ] = None
    tf32: Annotated[int | None, Param(f"TensorFloat-32: {DENSE}", unit="count", ge=1)] = None
    fp16: Annotated[int | None, Param(f"16-bit floating point: {DENSE}", unit="count", ge=1)] = None
    bf16: Annotated[int | None, Param(f"bfloat16: {DENSE}", unit="count", ge=1)] = None
    fp8: Annotated[int | None, Param(f"8-bit floating point: {DENSE}", unit="count", ge=1)] = None
    int8: Annotated[int | None, Param(f"8-bit integers: {DENSE}", unit="count", ge=1)] = None


@config
class Gpu:
    """A GPU."""

    memory: Annotated[Tier, Param("its HBM or GDDR")]
    l2: Annotated[int, Param("bytes of its L2 cache", unit="bytes", ge=1)]
    compute: Annotated[Compute, Param("its peak arithmetic")]
    copy_engines: Annotated[int, Param("copies that it does at a time (asyncEngineCount)", ge=1, le=16)]
    pcie: Annotated[Pcie, Param("how it is connected to its node")]
    power: Annotated[int | None, Param("what its board draws at most", unit="power", ge=1)] = None
    nvlink: Annotated[Nvlink | None, Param("how it is connected to other GPUs; unless said, by PCI Express only")] = (
        None
    )

    def kernel(self, kind: str, operations: int, traffic: int) -> int:
        """The least time of a kernel of so many operations of a type that moves so many bytes, in picoseconds.

        The roofline: the larger of what its arithmetic and its memory need, the memory at its usable bandwidth. Raises
        StudyError for a type that the GPU does not compute with.

        Reference: S. Williams et al., Roofline, 2009, doi:10.1145/1498765.1498785.
        """
        peak: int | None = getattr(self.compute, kind, None)
        if peak is None:
            known = ", ".join(key for key, held in vars(self.compute).items() if held is not None)
            raise StudyError(f"this GPU has no figure for {kind!r}; it has: {known}")
        rate = self.memory.bandwidth * self.memory.efficiency // WHOLE
        return max(-(-operations * SECOND // peak), -(-traffic * SECOND // rate))

    def energy(self, time: int) -> float | None:
        """Joules that its board draws at full power in so many picoseconds; None where its power is not known."""
        return None if self.power is None else self.power / 1000 * time / SECOND

    def caches(self, size: int) -> bool:
        """Whether so many bytes stay in the L2 cache, so that to read them again costs no memory bandwidth."""
        return size <= self.l2
