"""What a run asks of each GPU: shapes and settings in, gibibytes by what holds them out, before any GPU is there.

States, gradients and what FSDP gathers follow from shapes alone. Activations are counted tensor by tensor as autograd
keeps them; a compiled block keeps about the outputs of its matrix products. The metrics say what was really held.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch

from manifests.show import table
from training.config import Config, ConfigError, load_config
from training.model import LanguageModel
from training.models import Model
from training.order import PlanError
from training.plan import Phase, plan_of

GPUS = "1,8,64,512"
MOMENTS = {"adamw": 8.0, "adamw8bit": 2 * (1 + 4 / 256)}  # bytes of a parameter; 8 bits with a scale for each 256
CONTEXT = 1 << 30  # what CUDA and its libraries take; an estimate
GIB = 1 << 30


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU, the most that are held at a time."""

    parameters: float  # float32
    gradients: float  # float32, sharded: those of each microbatch are reduced as they are made
    moments: float
    activations: float  # kept for the backward pass
    block: float  # one block run again, and the gradients inside a block
    logits: float  # of a chunk, and the output matrix's gradient in float32
    gathered: float  # two blocks and the root whole, and one block's gradients to be reduced
    context: float = CONTEXT

    @property
    def total(self) -> float:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


def memory_of(config: Config, gpus: int, phase: Phase) -> Memory:
    """The memory of each of so many GPUs in a phase whose batch can be dealt to them."""
    model, parallel = config.model, config.parallel
    shards = gpus // parallel.replicate
    width = 2 if parallel.precision == "bf16" else 4
    block, root = model.block_parameters, model.root_parameters
    tokens = config.microbatch * phase.sequence
    kept, again = activations(config, width)
    held = 2 * block if parallel.reshard_after_forward else model.layers * block
    gathered = (held + root) * width + block * 4
    rows = min(config.loss.chunk, tokens)
    logits = rows * model.vocabulary * (4 + 2 * width) + model.vocabulary * model.hidden * 4
    return Memory(
        parameters=model.parameters * 4 / shards,
        gradients=model.parameters * 4 / shards,
        moments=model.parameters * MOMENTS[config.optimizer.kind] / shards,
        activations=tokens * kept,
        block=tokens * again,
        logits=logits,
        gathered=gathered,
    )


def activations(config: Config, width: int) -> tuple[float, float]:
    """Bytes for each token: kept by all blocks together, and needed for the block whose turn it is."""
    model, parallel = config.model, config.parallel
    entry = width * model.hidden
    inside = compiled(model, width) if parallel.compile else eager(model, width)
    if parallel.recompute == "full":
        return model.layers * entry, 2 * inside
    kept = entry + parallel.budget * (inside - entry)
    return model.layers * kept, 2 * inside - kept


def eager(model: Model, width: int) -> float:
    """Bytes for each token that autograd keeps of a block: inputs and outputs of both norms, whose kernels keep nothing
    else; queries, keys and values after turning, the attention's output with its float32 log-sum-exp; gate, its SiLU,
    up, and their product."""
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    return width * (4 * model.hidden + 2 * queries + 2 * keys + 4 * model.ffn) + 4 * model.heads


def compiled(model: Model, width: int) -> float:
    """Bytes for each token that a compiled block keeps: about the outputs of its matrix products and of attention."""
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    return width * (2 * queries + 2 * keys + 2 * model.hidden + 2 * model.ffn)


def counted(model: Model) -> int:
    """Parameters of the model as it is built, without memory for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in LanguageModel(model).parameters())


def show(config: Config, gpus: Sequence[int]) -> Iterator[str]:
    """Parameters, operations, and a table of memory for each number of GPUs."""
    if not config.model.vocabulary:
        raise ConfigError("model.vocabulary is that of the corpus here; say it with --set model.vocabulary=N")
    phases = plan_of(config.plan).phases
    longest = max(phases, key=lambda phase: (phase.sequence, phase.batch))
    full, causal = (config.model.flops(longest.sequence, half) / 1e9 for half in (False, True))
    yield f"{counted(config.model):,} parameters"
    yield (
        f"{full:,.2f} GFLOP for each token of {longest.sequence:,}, forward and backward, the whole attention matrix "
        f"counted; {causal:,.2f} with half of it"
    )
    yield ""
    names = [field.name for field in fields(Memory)]
    rows = [["GPUs", *names, "GiB in all", "microbatches"]]
    for number in gpus:
        fitting = [phase for phase in phases if phase.batch % (number * config.microbatch) == 0]
        if not fitting or number % config.parallel.replicate:
            continue
        most = max((memory_of(config, number, phase) for phase in fitting), key=lambda memory: memory.total)
        cells = [f"{getattr(most, name) / GIB:,.2f}" for name in names]
        counts = " + ".join(microbatches(config, number, phase) for phase in phases)
        rows.append([f"{number:,}", *cells, f"{most.total / GIB:,.1f}", counts])
    yield from table(rows, left=0)
    if any("-" in row[-1] for row in rows) or len(rows) <= len(gpus):
        yield f"- or no line: a batch is not whole microbatches of {config.microbatch} on so many GPUs"


def microbatches(config: Config, gpus: int, phase: Phase) -> str:
    """Microbatches of a step on each GPU, or "-" where they are not whole."""
    number, left = divmod(phase.batch, gpus * config.microbatch)
    return "-" if left else f"{number:,}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m training.memory", description="What a run asks of each GPU.")
    made.add_argument("config", metavar="CONFIG", help="a TOML file, a run's config.json, or the name of a preset")
    made.add_argument("--gpus", default=GPUS, metavar="N,N", help=f"numbers of GPUs; {GPUS} if not given")
    made.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="such as parallel.recompute=full")
    return made


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the plan; status 2, one sentence, for what cannot be."""
    chosen = parser().parse_args(None if arguments is None else list(arguments))
    try:
        gpus = [int(part) for part in chosen.gpus.split(",")]
        if min(gpus) < 1:
            raise ValueError
    except ValueError:
        print(f"training.memory: --gpus {chosen.gpus}: write numbers such as {GPUS}", file=sys.stderr)
        return 2
    try:
        print("\n".join(show(load_config(chosen.config, chosen.set), gpus)))
    except PlanError as error:
        print(f"training.memory: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
