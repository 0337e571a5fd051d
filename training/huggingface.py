"""Weights in Hugging Face's format: a sharded model in, a folder with safetensors, `config.json` and the tokenizer out,
and back into a sharded model.

`glasspile.json` beside them holds our own shape, which says what `config.json` cannot; a model that is no Llama has no
`config.json`, so that no other program takes it for one. No rank ever holds the whole model.
"""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from training.config import ConfigError
from training.corpus import Corpus
from training.models import Model

PART = ".part"  # the ending of a folder that is not complete
SHAPE = "glasspile.json"
FILE_BYTES = 5 * 10**9
TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
# What decides a model's output besides its weights, and the values that a Llama has.
LLAMA = {"norm": "rms", "rotary": 1.0, "embedding_scale": 1.0, "logit_scale": 1.0, "attention_scale": "root"}
DECIDES = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocabulary", "theta", "eps", "bias", "tied")


@dataclass(frozen=True)
class Weights:
    """What a folder of weights holds."""

    folder: Path
    model: Model
    kind: str  # bf16 or fp32
    tokenizer: tuple[str, bytes] | None  # name of the file, and what it holds
    facts: dict[str, Any]  # as a checkpoint keeps them: our shape, end of document, step, tokens and the like

    @property
    def bytes(self) -> int:
        """Bytes on the disk, of which half are the ranks' parts, removed at the end."""
        return 2 * self.model.parameters * TYPES[self.kind].itemsize


def write_weights(weights: Weights, parameters: Mapping[str, Tensor], group: dist.ProcessGroup | None) -> None:
    """Write a folder of weights, each rank its part; it gets its name when it is complete."""
    kind, folder = TYPES[weights.kind], weights.folder
    part = folder.with_name(folder.name + PART)
    files, filled = {}, 0
    for name, value in parameters.items():
        filled += value.numel() * kind.itemsize
        files[name] = math.ceil(filled / FILE_BYTES)
    writer = HuggingFaceStorageWriter(str(part), files, save_distributed=True, enable_consolidation=True)
    dcp.save({name: value.to(kind) for name, value in parameters.items()}, storage_writer=writer, process_group=group)
    if dist.get_rank(group) == 0:
        shutil.rmtree(part / "sharded")
        describe(weights, part)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)


def describe(weights: Weights, folder: Path) -> None:
    """Everything in a folder of weights but the weights."""
    files = {SHAPE: weights.facts}
    if not differing(weights.model):
        files["config.json"] = llama(weights.model, weights.facts["eod"], weights.kind)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if weights.tokenizer:
        name, data = weights.tokenizer
        (folder / name).write_bytes(data)


def differing(model: Model) -> list[str]:
    """What a model has that a Llama has not, in words."""
    return [f"{name} = {getattr(model, name)}" for name, usual in LLAMA.items() if getattr(model, name) != usual]


def llama(model: Model, eod: int, kind: str) -> dict[str, Any]:
    """`config.json` of a LlamaForCausalLM; older readers look for rope_theta and torch_dtype."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": model.hidden,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "vocab_size": model.vocabulary,
        "max_position_embeddings": model.context,
        "rms_norm_eps": model.eps,
        "rope_theta": model.theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.theta},
        "attention_bias": model.bias,
        "mlp_bias": model.bias,
        "tie_word_embeddings": model.tied,
        "bos_token_id": None,  # a document begins with its first token
        "eos_token_id": eod,
        "torch_dtype": "bfloat16" if kind == "bf16" else "float32",
    }


def shape_of(folder: Path) -> dict[str, Any]:
    """What decides the output of the model in a folder, by our names; ConfigError where it cannot be read as ours."""
    if (folder / SHAPE).is_file():
        found = json.loads((folder / SHAPE).read_text(encoding="utf-8"))["model"]
        return {name: found[name] for name in (*DECIDES, *LLAMA)}
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: neither {SHAPE} nor config.json is there; give a folder of weights")
    found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = found.get("rope_parameters") or found.get("rope_scaling") or {}
    if found.get("model_type") != "llama" or rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ConfigError(
            f"{folder}: this is a {found.get('model_type')} model, and only plain Llama models can be read"
        )
    heads = found["num_attention_heads"]
    return LLAMA | {
        "layers": found["num_hidden_layers"],
        "hidden": found["hidden_size"],
        "heads": heads,
        "kv_heads": found.get("num_key_value_heads") or heads,
        "head_dim": found.get("head_dim") or found["hidden_size"] // heads,
        "ffn": found["intermediate_size"],
        "vocabulary": found["vocab_size"],
        "theta": float(rope.get("rope_theta") or found.get("rope_theta") or 10_000.0),
        "eps": found["rms_norm_eps"],
        "bias": bool(found.get("attention_bias")),
        "tied": bool(found.get("tie_word_embeddings")),
    }


def read_weights(folder: Path, model: nn.Module, shape: Model) -> None:
    """Weights of a folder into a sharded model; ConfigError, one sentence, where it is not the same model."""
    there = shape_of(folder)
    for name, value in there.items():
        if getattr(shape, name) != value:
            raise ConfigError(
                f"{folder}: the model there has {name} = {value}, and the configuration's {getattr(shape, name)}"
            )
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    reader = HuggingFaceStorageReader(str(folder))
    check_shapes(str(folder), reader, state)
    dcp.load(state, storage_reader=reader)


def check_shapes(where: str, reader: FileSystemReader, wanted: Mapping[str, Tensor]) -> None:
    """ConfigError if a tensor is not there, or has another shape."""
    saved = {name: list(each.size) for name, each in reader.read_metadata().state_dict_metadata.items()}
    for name, value in wanted.items():
        if saved.get(name) != list(value.shape):
            has = f"{name} as {saved[name]}" if name in saved else f"no {name}"
            raise ConfigError(
                f"{where} has {has}, and the configuration wants {list(value.shape)}: use the model it was saved with"
            )


@cache
def tokenizer_of(corpus: Corpus) -> tuple[str, bytes] | None:
    """The tokenizer of a corpus as `tokenizer.model` or `tokenizer.json`, where the corpus has it."""
    for entry in corpus.storage.list("manifests/"):
        if entry.path.endswith(".parquet"):
            with pq.ParquetFile(pa.BufferReader(corpus.storage.get(entry.path))) as file:
                names = set(file.schema_arrow.names)
                rows = file.read(columns=[c for c in ("kind", "digest", "path") if c in names], use_threads=False)
            for row in rows.to_pylist() if names >= {"kind", "digest", "path"} else ():
                if row["kind"] == "model" and row["digest"] == corpus.facts.tokenizer:
                    return f"tokenizer{Path(row['path']).suffix}", corpus.storage.get(row["path"])
    return None
