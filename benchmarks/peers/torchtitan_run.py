"""Steps of torchtitan 0.2.2, used as a library: a case as JSON in, seconds of each step and the peak of memory out.

Its own functions build, checkpoint, compile, shard and clip; its trainer would not shard on a single rank but fall back
to autocast, and asks for a tokenizer and a data set. Run in its environment, beside clock.py: torchtitan_run.py CASE
"""

import importlib.util
import json
import sys
import types
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from clock import Clock
from torch.distributed.device_mesh import init_device_mesh

IGNORED, EOD = -100, 5


def without_triton() -> str:
    """torchtitan imports a Triton kernel of its experts, which no dense model calls. Builds for CPUs have no Triton, so
    an empty module takes the kernel's place there. Gives the name of what is left out."""
    if importlib.util.find_spec("triton") is not None:
        return ""
    kernels = types.ModuleType("torchtitan.models.moe.kernels")
    kernels.generate_permute_indices = None
    sys.modules[kernels.__name__] = kernels
    return "torchtitan.models.moe.kernels"


def sequences(case: dict[str, Any]) -> list[np.ndarray]:
    """Random sequences, one array for each step."""
    rng = np.random.Generator(np.random.Philox(7))
    shape = (case["microbatch"], case["sequence"] + 1)
    return [rng.integers(6, case["model"]["vocabulary"], shape) for _ in range(case["warmup"] + case["steps"])]


def build(case: dict[str, Any]) -> torch.nn.Module:
    """The case's model over a mesh of one rank."""
    from torchtitan.config.job_config import ActivationCheckpoint, Compile
    from torchtitan.distributed.activation_checkpoint import apply_ac
    from torchtitan.models.llama3.infra import parallelize
    from torchtitan.models.llama3.model.args import TransformerModelArgs
    from torchtitan.models.llama3.model.model import Transformer

    size, chosen, device = case["model"], case["parallel"], case["device"]
    if size["head_dim"] * size["heads"] != size["hidden"]:
        raise SystemExit("torchtitan's heads are the hidden size over their number")
    args = TransformerModelArgs(
        dim=size["hidden"], n_layers=size["layers"], n_heads=size["heads"], n_kv_heads=size["kv_heads"],
        vocab_size=size["vocabulary"], multiple_of=size["ffn"], norm_eps=size["eps"], rope_theta=size["theta"],
        max_seq_len=case["sequence"],
    )  # fmt: skip
    with torch.device("meta"):
        model = Transformer(args)
    if chosen["recompute"] == "full":
        apply_ac(model, ActivationCheckpoint(mode="full"))
    if chosen["compile"]:
        parallelize.apply_compile(model, Compile(enable=True))
    half = torch.bfloat16 if chosen["precision"] == "bf16" else torch.float32
    mesh = init_device_mesh(device, (1,), mesh_dim_names=("fsdp",))
    parallelize.apply_fsdp(model, mesh, param_dtype=half, reduce_dtype=torch.float32, pp_enabled=False)
    if device == "cpu":
        for module in model.modules():  # gloo cannot multiply before it reduces
            if isinstance(module, parallelize.FSDPModule):
                module.set_force_sum_reduction_for_comms(True)
    model.to_empty(device=device)
    with torch.no_grad():
        model.init_weights(buffer_device=torch.device(device))
    return model.train()


def main() -> None:
    """Take the steps and print what they took."""
    without = without_triton()
    from torchtitan.components.loss import cross_entropy_loss
    from torchtitan.distributed.utils import clip_grad_norm_

    case = json.loads(sys.argv[1])
    device = torch.device(case["device"])
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    model, tokens = build(case), sequences(case)
    loss_of = torch.compile(cross_entropy_loss) if case["parallel"]["compile"] else cross_entropy_loss
    chosen = case["optimizer"]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True
    )
    clock, loss = Clock(device.type, case["warmup"]), None
    for array in tokens:
        step = torch.from_numpy(array)
        step = step.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else step
        inputs = step[:, :-1]
        labels = step[:, 1:].masked_fill(inputs == EOD, IGNORED)
        loss = loss_of(model(inputs), labels) / (labels != IGNORED).sum()
        loss.backward()
        clip_grad_norm_(model.parameters(), chosen["clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.step()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(json.dumps(clock.figures() | {"loss": float(loss), "parameters": parameters, "without": without}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
