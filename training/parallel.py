"""One model on many ranks: process group, mesh, sharding by FSDP2, and an initialisation that knows no world size.

Each block is a group of its own and the rest of the model is the root group, which stays whole after its forward pass,
so that the loss can read the output matrix. Losses are sums divided by the step's number of tokens, hence gradients are
added up over ranks and never averaged.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from training.config import Config, ConfigError, Parallel
from training.loss import compiled
from training.model import LanguageModel
from training.models import Model

TIMEOUT = timedelta(minutes=30)  # of the first step, in which ranks compile at their own pace


@dataclass(frozen=True)
class World:
    """This process among all: its rank, its device, the mesh of ranks."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes what is written once."""
        return self.rank == 0


def join(config: Config) -> World:
    """Join the process group that the launcher describes, or begin one of a single rank; ConfigError for a mesh that
    does not divide."""
    kind = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError('device = "cuda", and this build of torch, or this machine, has no CUDA device')
    device = torch.device("cuda", local) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        if "RANK" not in os.environ:  # neither torchrun nor Ray Train: one process
            dist.init_process_group(backend_of(kind), store=dist.HashStore(), rank=0, world_size=1, timeout=TIMEOUT)
        else:
            dist.init_process_group(backend_of(kind), timeout=TIMEOUT)
    size, replicate = dist.get_world_size(), config.parallel.replicate
    if replicate < 1 or size % replicate:
        raise ConfigError(f"parallel.replicate = {replicate} does not divide the {size} ranks")
    if replicate > 1:
        mesh = init_device_mesh(kind, (replicate, size // replicate), mesh_dim_names=("replicate", "shard"))
    else:
        mesh = init_device_mesh(kind, (size,), mesh_dim_names=("shard",))
    return World(dist.get_rank(), size, device, mesh)


def backend_of(kind: str) -> str:
    """Backends by device; checkpoints are gathered on the CPU in the background."""
    return "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"


def build(shape: Model, parallel: Parallel, mesh: DeviceMesh, device: torch.device, seed: int) -> LanguageModel:
    """A model, sharded over a mesh and initialised; float8, recomputing, compiling and sharding in the order in which
    each finds what it expects."""
    with torch.device("meta"):
        model = LanguageModel(shape)
    if parallel.float8 != "off":
        use_float8(model, parallel.float8)
    for block in model.model.layers:
        block.recompute = parallel.recompute == "full"
        if parallel.compile:
            block.compile(fullgraph=True)
    if parallel.compile:
        model.loss_of_logits = compiled()
    torch._functorch.config.activation_memory_budget = parallel.budget
    shard(model, parallel, mesh)
    model.to_empty(device=device)
    initialise(model, seed)
    return model


def shard(model: LanguageModel, parallel: Parallel, mesh: DeviceMesh) -> None:
    """`fully_shard` on each block and on the root."""
    half = parallel.precision == "bf16"
    # Inputs keep their type: cosine and sine stay float32, and hidden states have the type of the embedding.
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None,
        reduce_dtype=torch.float32 if half else None,
        cast_forward_inputs=False,
    )
    for block in model.model.layers:
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=parallel.reshard_after_forward)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no reduction that multiplies first


def use_float8(model: LanguageModel, recipe: str) -> None:
    """Turn the linear layers of the blocks into float8 ones (torchao); the output matrix stays as it is."""
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    if recipe == "rowwise":
        chosen = Float8LinearConfig.from_recipe_name("rowwise")
    else:
        chosen = Float8LinearConfig(enable_fsdp_float8_all_gather=recipe == "tensorwise", emulate=recipe == "emulate")
    convert_to_float8_training(model.model.layers, config=chosen)


def after_step(model: nn.Module, parallel: Parallel) -> None:
    """What float8 wants after an optimizer step: the scales of all weights, in one reduction."""
    if parallel.float8 == "tensorwise":
        from torchao.float8 import precompute_float8_dynamic_scale_for_fsdp

        precompute_float8_dynamic_scale_for_fsdp(model)


@torch.no_grad()
def initialise(model: LanguageModel, seed: int) -> None:
    """Draw each parameter whole, from a generator keyed by seed and name, and keep this rank's part of it."""
    shape = model.shape
    for name, parameter in model.named_parameters():
        device = parameter.device
        values = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
        if parameter.ndim < 2:
            values.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            key = hashlib.blake2b(f"{seed}\t{name}".encode(), digest_size=8).digest()
            generator = torch.Generator(device).manual_seed(int.from_bytes(key, "little") >> 1)
            values.normal_(0.0, deviation(shape, name), generator=generator)
            if shape.truncated:
                redraw(values, deviation(shape, name), generator)
        if isinstance(parameter, DTensor):
            # Every rank draws the same values, so nothing is sent.
            values = distribute_tensor(values, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.copy_(values)


def redraw(values: Tensor, std: float, generator: torch.Generator) -> None:
    """Draw again what lies more than two deviations from zero."""
    while (far := values.abs() > 2 * std).any():
        values[far] = torch.empty(int(far.sum()), device=values.device).normal_(0.0, std, generator=generator)


def deviation(shape: Model, name: str) -> float:
    """Standard deviation of a matrix at the start."""
    if "embed_tokens" in name:
        return shape.embedding_std
    return shape.output_std if "o_proj" in name or "down_proj" in name else shape.std


def unsynced(model: nn.Module, last: bool, parallel: Parallel) -> None:
    """Before a microbatch: whether its gradients are the last of the step and are sent. Who has the memory to keep
    parameters whole after a forward pass keeps them from one microbatch to the next."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        if not parallel.reshard_after_forward:
            model.set_reshard_after_backward(last)
