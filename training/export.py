"""Checkpoints for others: a full one in, a folder in Hugging Face's format out; and the text that such a folder writes.

A folder is read again before it is called right: its logits on fixed tokens are compared with the checkpoint's, by
transformers, or where the model is no Llama by our own program. Both compute in float32, so that one bound holds.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader

from manifests.storage import StorageError
from training.checkpoint import COMPLETE, STATE, tensors
from training.config import ConfigError
from training.huggingface import SHAPE, TYPES, Weights, check_shapes, differing, read_weights, write_weights
from training.model import LanguageModel
from training.models import Model
from training.order import PlanError

BOUND = 1e-5  # between logits in float32


def checkpoint_of(path: Path, step: int | None) -> Path:
    """A checkpoint's folder, given itself or its run; of a run the newest unless a step is named."""
    if (path / COMPLETE).is_file() and step is None:
        return path
    found = sorted(each.parent for each in path.glob(f"checkpoints/step-*/{COMPLETE}"))
    chosen = [each for each in found if step in (None, int(each.name.removeprefix("step-")))]
    if not chosen:
        there = ", ".join(each.name for each in found) or "none"
        raise ConfigError(f"{path}: no such complete checkpoint of this run; there are: {there}")
    return chosen[-1]


def export(checkpoint: Path, out: Path, kind: str) -> float:
    """Write a checkpoint's weights into a new folder; gives the largest difference of logits when it is read again."""
    if out.exists():
        raise ConfigError(f"{out} is there already; name a new folder")
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    shape = Model(**state["model"])
    model = empty(shape)
    parameters = tensors(model, None)
    check_shapes(str(checkpoint), FileSystemReader(checkpoint), parameters)
    dcp.load(parameters, checkpoint_id=checkpoint)
    files = [(path.name, path.read_bytes()) for path in sorted(checkpoint.glob("tokenizer.*"))]
    weights = Weights(out, shape, kind, files[0] if files else None, state)
    write_weights(weights, {name.removeprefix("model."): value for name, value in parameters.items()}, None)
    for value in parameters.values():
        value.copy_(value.to(TYPES[kind]))  # the logits of what was written, not of what was rounded for it
    ours = logits(model, shape)
    del model, parameters
    return float((ours - logits(reread(out, shape), shape)).abs().max())


def check(folder: Path) -> float:
    """The largest difference between a folder's logits as transformers reads it and as this program does."""
    if not (folder / "config.json").is_file() or not (folder / SHAPE).is_file():
        raise ConfigError(
            f"{folder}: config.json and {SHAPE} are not both there: give a folder that a run has exported"
        )
    shape = Model(**json.loads((folder / SHAPE).read_text(encoding="utf-8"))["model"])
    ours = empty(shape)
    read_weights(folder, ours, shape)
    return float((logits(ours, shape) - logits(reread(folder, shape), shape)).abs().max())


def empty(shape: Model) -> LanguageModel:
    """A model in float32 on the CPU, its parameters not set."""
    with torch.device("meta"):
        model = LanguageModel(shape)
    model.to_empty(device="cpu").requires_grad_(False)
    if shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight  # `to_empty` made two of them
    return model


def reread(folder: Path, shape: Model) -> torch.nn.Module:
    """The model in a folder, as transformers reads it, or where it is no Llama as we do."""
    if differing(shape):
        model = empty(shape)
        read_weights(folder, model, shape)
        return model
    return by_transformers(folder)


def by_transformers(folder: Path) -> Any:
    """The model in a folder in float32, without what the libraries behind it say of themselves."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@torch.no_grad()
def logits(model: torch.nn.Module, shape: Model) -> Tensor:
    """Logits of two sequences of fixed tokens, float32[2, 64, vocabulary] if the context is as long."""
    tokens = (torch.arange(2 * min(shape.context, 64)) * 7919 % shape.vocabulary).view(2, -1)
    found = model(tokens)
    return found[0] if isinstance(found, tuple) else found.logits


def generate(folder: Path, prompt: str, count: int) -> str:
    """The prompt and the `count` tokens that the model in a folder finds likeliest after it, one after the other."""
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: no config.json is there: this is no folder of weights, or the model is no Llama")
    encode, decode = tokenizer_in(folder)
    model = by_transformers(folder)
    ids = encode(prompt) or [model.config.eos_token_id]
    out = model.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False, pad_token_id=0)
    return decode(out[0].tolist())


def tokenizer_in(folder: Path) -> tuple[Callable[[str], list[int]], Callable[[Sequence[int]], str]]:
    """How the tokenizer in a folder makes ids of a text, and a text of ids; ids that it does not know are left out."""
    if (folder / "tokenizer.model").is_file():
        from sentencepiece import SentencePieceProcessor

        model = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        return model.encode, lambda ids: model.decode([i for i in ids if i < model.get_piece_size()])
    if (folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        other = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return lambda text: other.encode(text, add_special_tokens=False).ids, other.decode
    raise ConfigError(f"{folder}: no tokenizer.model or tokenizer.json is there; copy that of the corpus into it")


def parser(verb: str) -> argparse.ArgumentParser:
    """The command line of an export, of `generate` or of `check`."""
    made = argparse.ArgumentParser(prog=f"python -m training.export{verb and ' '}{verb}")
    if verb:
        made.add_argument(
            "folder", type=Path, metavar="FOLDER", help="what an export, or a run in its exports/, has left"
        )
    if verb == "generate":
        made.description = "Let an exported model go on with a text."
        made.add_argument("prompt", metavar="TEXT")
        made.add_argument("--tokens", type=int, default=20, metavar="N", help="how many to add (20)")
    elif verb == "check":
        made.description = "Compare the logits of exported weights as transformers and as this program reads them."
    else:
        made.description = (
            "Write a checkpoint in Hugging Face's format; `generate FOLDER TEXT` lets weights write, `check FOLDER` "
            "compares their logits."
        )
        made.add_argument("source", type=Path, metavar="RUN", help="a run's folder, or that of one checkpoint")
        made.add_argument("out", type=Path, metavar="OUT", help="a new folder")
        made.add_argument("--step", type=int, metavar="N", help="which checkpoint of the run; the newest if not given")
        made.add_argument("--dtype", choices=list(TYPES), default="bf16", help="type of the weights (bf16)")
    return made


def main(arguments: Iterable[str] | None = None) -> int:
    """Export, check or generate; status 1 where logits are not those that they should be, 2 for a user's mistake."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    verb = given[0] if given and given[0] in ("generate", "check") else ""
    chosen = parser(verb).parse_args(given[1:] if verb else given)
    mine = not dist.is_initialized()
    try:
        if verb == "generate":
            print(generate(chosen.folder, chosen.prompt, chosen.tokens))
            return 0
        if mine:
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        if verb:
            return judged(f"{chosen.folder}", "transformers", check(chosen.folder))
        checkpoint = checkpoint_of(chosen.source, chosen.step)
        difference = export(checkpoint, chosen.out, chosen.dtype)
    except (PlanError, StorageError) as error:
        print(f"training.export: {error}", file=sys.stderr)
        return 2
    finally:
        if mine and dist.is_initialized():
            dist.destroy_process_group()
    foreign = differing(Model(**json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["model"]))
    if foreign:
        print(f"no config.json was written, for this is no Llama: {', '.join(foreign)}")
    return judged(f"{checkpoint.name} is in {chosen.out}", "this program" if foreign else "transformers", difference)


def judged(what: str, reader: str, difference: float) -> int:
    """Say how far logits are apart; status 1 if that is too far."""
    print(f"{what}: logits as {reader} reads it differ by at most {difference:.2e}")
    if difference <= BOUND:
        return 0
    print(f"training.export: this is not what was saved: the bound is {BOUND:g}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
