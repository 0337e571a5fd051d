"""Learning rates as functions of the step, AdamW, and the guard that leaves out a step that would do harm.

The guard works on the device: it sets `found_inf`, which fused AdamW reads, so that parameters, moments and the step's
count stay bit for bit as they were and nothing waits for the host.
"""

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.config import Config, Guard, Optimizer, Schedule
from training.models import Model

SETTLED = 16  # steps in the window before deviations mean anything


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """Learning rate of a phase's step, counted from 0, of `steps`; of MAP-Neo: arXiv 2405.19327, section 6."""
    if step < schedule.warmup:
        return schedule.start + (schedule.peak - schedule.start) * step / schedule.warmup
    t, length = step - schedule.warmup, max((schedule.steps or steps) - schedule.warmup, 1)
    if schedule.kind == "constant":
        return schedule.peak
    if schedule.kind == "exponential":
        return max(schedule.end, schedule.peak * 0.5 ** (t / (schedule.half_life or steps / 2)))
    part = min(t / length, 1.0)
    if schedule.kind == "linear":
        return schedule.peak + (schedule.end - schedule.peak) * part
    return schedule.end + 0.5 * (schedule.peak - schedule.end) * (1 + math.cos(math.pi * part))


def optimizer_of(model: nn.Module, shape: Model, chosen: Optimizer) -> torch.optim.Optimizer:
    """AdamW over groups of parameters by decay and by factor of the learning rate (muP: matrices of the blocks)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decay = chosen.weight_decay if parameter.ndim > 1 else 0.0
        scale = shape.matrix_lr_scale if parameter.ndim > 1 and ".layers." in name else 1.0
        groups.setdefault((decay, scale), []).append(parameter)
    tables = [{"params": groups[key], "weight_decay": key[0], "scale": key[1]} for key in sorted(groups, reverse=True)]
    if chosen.kind == "adamw8bit":
        from torchao.optim import AdamW8bit

        return AdamW8bit(tables, lr=0.0, betas=chosen.betas, eps=chosen.eps)
    return torch.optim.AdamW(tables, lr=0.0, betas=chosen.betas, eps=chosen.eps, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of each group: the step's, times the group's factor."""
    for group in optimizer.param_groups:
        new = rate * group["scale"]
        if isinstance(group["lr"], Tensor):  # torchao keeps it on the device
            group["lr"].fill_(new)
        else:
            group["lr"] = new


def clipped_norm(parameters: Iterable[nn.Parameter], clip: float) -> Tensor:
    """The norm of all gradients, float32[], which are scaled down to `clip` where it is larger."""
    held = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in held if p.grad is not None])
    if isinstance(norm, DTensor):
        mesh, norm = norm.device_mesh, norm.full_tensor()
        if mesh.ndim > 1:  # each replica has added up by itself, and the last bit must be the same in all
            dist.all_reduce(norm, dist.ReduceOp.MAX)
    nn.utils.clip_grads_with_norm_(held, clip, norm)
    return norm


class SpikeGuard:
    """A window of losses and gradient norms, on the device, and the number of steps that were skipped in a row."""

    def __init__(self, chosen: Guard, device: torch.device) -> None:
        self.chosen = chosen
        self.seen = torch.zeros(2, chosen.window, device=device, dtype=torch.float64)
        self.count = torch.zeros((), device=device, dtype=torch.int64)
        self.in_a_row = torch.zeros((), device=device, dtype=torch.int64)

    def harmful(self, loss: Tensor, norm: Tensor) -> Tensor:
        """1.0 where the step is to be skipped, float32[]; what is kept enters the window."""
        now = torch.stack([loss, norm]).double()
        places = torch.arange(self.chosen.window, device=now.device)
        held = self.count.clamp(max=self.chosen.window)
        mean = self.seen.sum(1) / held.clamp(min=1)
        squares = (self.seen - mean[:, None]).square() * (places < held)
        deviation = (squares.sum(1) / held.clamp(min=1)).sqrt()
        high = (now > mean + self.chosen.sigma * deviation) & (held >= min(SETTLED, self.chosen.window))
        bad = (high | ~torch.isfinite(now)).any()
        self.seen = torch.where((places == self.count % self.chosen.window) & ~bad, now[:, None], self.seen)
        self.count = self.count + ~bad
        self.in_a_row = (self.in_a_row + 1) * bad
        return bad.float()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, and is loaded into."""
        return {"seen": self.seen, "count": self.count, "in_a_row": self.in_a_row}


def guarded_step(optimizer: torch.optim.Optimizer, harmful: Tensor, config: Config) -> None:
    """Take the optimizer's step unless it is harmful."""
    if fused := config.optimizer.kind == "adamw":
        optimizer.grad_scale, optimizer.found_inf = None, harmful
    if fused or not harmful.item():  # 8-bit AdamW has no such switch, so the host has to know
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
