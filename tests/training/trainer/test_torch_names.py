"""Every name of torch that the trainer uses is there in 2.13 and was there in 2.11, on which it runs too.

The table is written by hand, from the documentation of 2.11 and from what changed after it: a name that is not in it
makes the test fail, and is to be looked up before it is added.
"""

import ast
import importlib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
FILES = sorted((REPO / "training").glob("*.py"))
# Names that 2.13 has and 2.11 has not.
NEW = (
    "torch.nn.functional.linear_cross_entropy", "torch.distributed.fsdp.DataParallelMeshDims",
)  # fmt: skip
NEW_WORDS = ("dp_mesh_dims", "reset_iter_state")  # a parameter of fully_shard, a method of FSDPModule
KNOWN = frozenset(
    """
    torch torch.Generator torch.Size torch.Tensor torch._functorch.config.activation_memory_budget torch.arange
    torch.maximum
    torch.autograd.Function torch.bfloat16 torch.bool torch.cat torch.clamp torch.compile torch.cuda.Event
    torch.cuda.Stream torch.cuda.check_error torch.cuda.cudart torch.cuda.current_stream torch.cuda.get_device_name
    torch.cuda.is_available torch.cuda.max_memory_allocated torch.cuda.set_device
    torch.cuda.stream torch.device torch.distributed torch.distributed.HashStore torch.distributed.ProcessGroup
    torch.distributed.ReduceOp.MAX torch.distributed.all_reduce torch.distributed.barrier
    torch.distributed.broadcast_object_list torch.distributed.checkpoint
    torch.distributed.checkpoint.CheckpointException torch.distributed.checkpoint.filesystem.FileSystemReader
    torch.distributed.checkpoint.filesystem.FileSystemWriter
    torch.distributed.checkpoint.hf_storage.HuggingFaceStorageReader
    torch.distributed.checkpoint.hf_storage.HuggingFaceStorageWriter torch.distributed.checkpoint.load
    torch.distributed.checkpoint.save torch.distributed.checkpoint.staging.DefaultStager
    torch.distributed.checkpoint.staging.StagingOptions torch.distributed.checkpoint.state_dict.StateDictOptions
    torch.distributed.checkpoint.state_dict.get_optimizer_state_dict torch.distributed.destroy_process_group
    torch.distributed.device_mesh.DeviceMesh torch.distributed.device_mesh.init_device_mesh
    torch.distributed.fsdp.FSDPModule torch.distributed.fsdp.MixedPrecisionPolicy torch.distributed.fsdp.fully_shard
    torch.distributed.get_rank torch.distributed.get_world_size torch.distributed.init_process_group
    torch.distributed.is_initialized torch.distributed.new_group torch.distributed.tensor.DTensor
    torch.distributed.tensor.DTensor.from_local torch.distributed.tensor.distribute_tensor torch.empty
    torch.empty_like torch.float32 torch.float64 torch.from_numpy torch.full torch.int32 torch.int64
    torch.is_grad_enabled torch.isfinite torch.logsumexp torch.mm torch.nn torch.nn.Embedding torch.nn.LayerNorm
    torch.nn.Linear torch.nn.Module
    torch.nn.ModuleList torch.nn.Parameter torch.nn.RMSNorm torch.nn.init.trunc_normal_
    torch.nn.attention.varlen.varlen_attn torch.nn.functional
    torch.nn.functional.scaled_dot_product_attention torch.nn.functional.silu torch.nn.utils.clip_grads_with_norm_
    torch.nn.utils.get_total_norm torch.no_grad torch.optim.AdamW torch.optim.Optimizer
    torch.optim.optimizer.register_optimizer_step_pre_hook torch.outer torch.stack torch.tensor
    torch.use_deterministic_algorithms torch.utils.checkpoint.checkpoint torch.utils.tensorboard.SummaryWriter
    torch.where torch.zeros torch.zeros_like
    """.split()
)


def uses(text: str) -> set[str]:
    """Full names of torch that a module imports or reads from a module it imported."""
    tree, aliases, found = ast.parse(text), {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    aliases[alias.asname or "torch"] = alias.name if alias.asname else "torch"
                    found.add(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found.add(f"{node.module}.{alias.name}")
    inside = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or id(node) in inside:
            continue
        parts: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            parts.insert(0, value.attr)
            value = value.value
        if isinstance(value, ast.Name) and value.id in aliases:
            found.add(".".join([aliases[value.id], *parts]))
    return found


def resolve(name: str) -> object:
    """What a full name stands for: modules are imported as far as they go."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_names_are_in_both_versions(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = uses(text)
    for name in names:
        resolve(name)
    assert sorted(names - KNOWN) == [], "not known to be in torch 2.11"
    assert [word for word in NEW_WORDS if word in text] == []


def test_new_names_are_not_in_the_table() -> None:
    assert not KNOWN & set(NEW)
    for name in NEW:
        resolve(name)


def test_the_check_sees_names_in_whatever_form() -> None:
    text = """
import torch
import torch.nn.functional as F
import torch.distributed as dist
from torch.distributed import fsdp as sharding
from torch import nn as layers, Tensor
import numpy as np
def f(x: Tensor):
    from torch.optim import AdamW
    return F.linear_cross_entropy(np.zeros(1), sharding.DataParallelMeshDims, layers.init.normal_(x).sum(), torch.mm)
"""
    assert uses(text) == {
        "torch", "torch.nn.functional", "torch.distributed", "torch.distributed.fsdp", "torch.nn", "torch.Tensor",
        "torch.optim.AdamW", "torch.nn.functional.linear_cross_entropy",
        "torch.distributed.fsdp.DataParallelMeshDims", "torch.nn.init.normal_", "torch.mm",
    }  # fmt: skip
