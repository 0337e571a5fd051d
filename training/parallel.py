"""One model on many ranks: process group, mesh, sharding by FSDP2, and an initialisation that knows no world size.

Each block is a group of its own and the rest is the root group, whole after its forward pass, so that the loss can read
the output matrix. Losses are divided by the step's number of tokens, so gradients are added up and never averaged.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from training.config import Config, ConfigError, Parallel
from training.model import LanguageModel

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
    """Join the process group that the launcher describes, or begin one of a single rank."""
    kind = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(kind)
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError('device = "cuda", and this build of torch, or this machine, has no CUDA device')
        device = torch.device(kind, int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        alone = {} if "RANK" in os.environ else {"store": dist.HashStore(), "rank": 0, "world_size": 1}  # no launcher
        dist.init_process_group(backend_of(kind), timeout=TIMEOUT, **alone)
    size, replicate = dist.get_world_size(), config.parallel.replicate
    if size % replicate:
        raise ConfigError(f"parallel.replicate = {replicate} does not divide the {size} ranks")
    sizes = (replicate, size // replicate) if replicate > 1 else (size,)
    mesh = init_device_mesh(kind, sizes, mesh_dim_names=("replicate", "shard")[-len(sizes) :])
    return World(dist.get_rank(), size, device, mesh)


def backend_of(kind: str) -> str:
    """Backends by device; checkpoints are gathered on the CPU in the background."""
    return "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"


def build(config: Config, world: World) -> LanguageModel:
    """A model, sharded over the ranks and initialised; float8, recomputing, compiling and sharding in the order in
    which each finds what it expects."""
    parallel = config.parallel
    with torch.device("meta"):
        model = LanguageModel(config.model, config.loss.z, config.loss.chunk)
    if parallel.float8 != "off":
        use_float8(model, parallel.float8)
    for block in model.model.layers:
        block.recompute = parallel.recompute == "full"
        if parallel.compile:
            block.compile(fullgraph=True)
    if parallel.compile:
        of_logits = torch.compile(model.terms.of_logits, fullgraph=True, dynamic=False)
        model.terms = replace(model.terms, of_logits=of_logits)
    torch._functorch.config.activation_memory_budget = parallel.budget
    shard(model, parallel, world.mesh)
    model.to_empty(device=world.device)
    initialise(model, config.seed)
    return model


def shard(model: LanguageModel, parallel: Parallel, mesh: DeviceMesh) -> None:
    """`fully_shard` on each block and on the root."""
    kind = torch.bfloat16 if parallel.precision == "bf16" else None
    # Inputs keep their type: cosine and sine stay float32, and hidden states have the type of the embedding.
    policy = MixedPrecisionPolicy(kind, torch.float32, cast_forward_inputs=False)
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
    for name, parameter in model.named_parameters():
        values = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        if parameter.ndim < 2:
            values.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            key = hashlib.blake2b(f"{seed}\t{name}".encode(), digest_size=8).digest()
            generator = torch.Generator(values.device).manual_seed(int.from_bytes(key, "little") >> 1)
            output = model.shape.output_std
            own = {"embed_tokens": model.shape.embedding_std, "o_proj": output, "down_proj": output}
            std = own.get(name.split(".")[-2], model.shape.std)
            if model.shape.truncated:
                nn.init.trunc_normal_(values, 0.0, std, -2 * std, 2 * std, generator)
            else:
                values.normal_(0.0, std, generator=generator)
        if isinstance(parameter, DTensor):
            # Every rank draws the same values, so nothing is sent.
            values = distribute_tensor(values, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.copy_(values)


def before_microbatch(model: LanguageModel, last: bool, parallel: Parallel) -> None:
    """Gradients of each microbatch are reduced within a copy of the model as they are made, since FSDP would else keep
    them whole in float32, 29 GiB at 7B; only copies (HSDP) wait for the last. Who has the memory to keep parameters
    whole after a forward pass keeps them from one microbatch to the next."""
    model.set_requires_all_reduce(last)
    if not parallel.reshard_after_forward:
        model.set_reshard_after_backward(last)
