"""Parameters and moments in, copies in the host's memory out, which can be written while training goes on.

A copy is sharded like the tensor, over a mesh of CPUs. Moments in 8 bits are there as float32, so that they can be cut
anywhere for another number of ranks, and get their own codes again when they are loaded.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from training.parallel import World


class Host:
    """Room in the host's memory, taken at the first copy and kept for the next."""

    def __init__(self, world: World) -> None:
        self.cuda = world.device.type == "cuda"
        self.mesh = init_device_mesh("cpu", world.mesh.shape) if self.cuda else world.mesh
        self.stream = torch.cuda.Stream() if self.cuda else None
        self.room: dict[str, Tensor] = {}

    def copy(self, state: Mapping[str, Tensor], since: torch.cuda.Event | None) -> dict[str, Tensor]:
        """Copies, on a stream of their own, not before a moment on the device."""
        with torch.cuda.stream(self.stream):
            if self.stream and since:
                self.stream.wait_event(since)
            copied = {name: self.place(name, value, filled=True) for name, value in state.items()}
            if self.stream:
                self.stream.synchronize()
        return copied

    def place(self, name: str, value: Tensor, filled: bool = False) -> Tensor:
        """Room for a tensor, filled with it or not."""
        part = local(value)
        if filled and quantised(value):
            part = part.dequantize()
        held = self.room.get(name)
        if held is None or held.shape != part.shape:
            held = self.room[name] = torch.empty(part.shape, dtype=part.dtype)
            if self.cuda and held.nbytes:  # page-locked, so that copies run beside the kernels
                torch.cuda.check_error(torch.cuda.cudart().cudaHostRegister(held.data_ptr(), held.nbytes, 0))
        if filled:
            held.copy_(part, non_blocking=True)
        return sharded(held, value, self.mesh) if isinstance(value, DTensor) else held


def local(value: Tensor) -> Any:
    """This rank's part of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


def sharded(part: Tensor, like: DTensor, mesh: Any) -> DTensor:
    """A part as that of a tensor which is sharded like another."""
    return DTensor.from_local(part, mesh, like.placements, shape=like.shape, stride=like.stride())


def unwrapped(value: Tensor) -> Tensor:
    """A parameter without what float8 wraps it in to gather it; the same memory."""
    inner = getattr(local(value), "_tensor", None)
    return value if inner is None or not isinstance(value, DTensor) else sharded(inner, value, value.device_mesh)


def quantised(value: Tensor) -> bool:
    """Whether a tensor is a moment in 8 bits."""
    return type(local(value)) is not Tensor


def requantise(held: Any, wide: Tensor) -> None:
    """Put a moment that was saved as float32 back into 8 bits, with the scales that it had: torchao's codes end at 1
    but begin at -0.993, so a block whose largest value is negative would be moved by a scale taken from that value."""
    from torchao.optim.quant_utils import quantize_8bit_with_qmap

    blocks = wide.reshape(-1, held.block_size)
    scale = blocks.amax(1).clip(1e-12)
    if held.signed:
        scale = torch.maximum(scale, blocks.amin(1) / held.qmap.min())
    held.codes.copy_(quantize_8bit_with_qmap((blocks / scale[:, None]).flatten(), held.qmap).view(held.codes.shape))
    held.scale.copy_(scale)
