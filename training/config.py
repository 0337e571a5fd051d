"""The configuration of a run: a TOML file or a preset with `a.b=value` overrides in, checked frozen records out.

What is resolved is written into the run's folder as JSON, the phase plan included, and that file is a configuration
like any other: with it and the corpus a run can be repeated. Needs no torch.
"""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, time
from importlib.resources import files
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from training.models import PRESETS, Model
from training.plan import nearest, read_plan
from training.typed import ConfigError, build

ABOVE_ZERO = (
    "microbatch", "threads", "loss.chunk", "optimizer.clip", "optimizer.eps", "parallel.replicate", "parallel.budget",
    "guard.window", "guard.sigma", "guard.in_a_row", "saving.every", "saving.keep",
)  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """Learning rate of a phase: linear from `start` to `peak` in `warmup` steps, then by kind to `end`."""

    kind: Literal["cosine", "linear", "exponential", "constant"] = "cosine"
    peak: float = 2e-4
    start: float = 0.0
    end: float = 0.0  # an exponential stays above it
    warmup: int = 0
    steps: int = 0  # of the phase, after which a cosine and a line have reached `end`; 0: all
    half_life: int = 0  # steps in which an exponential halves; 0: half of the phase
    fresh: bool = False  # the phase begins with new optimizer moments


@dataclass(frozen=True)
class Optimizer:
    """AdamW; decay holds for matrices, not for norms and biases. `adamw8bit` keeps the moments in 8 bits (torchao)."""

    kind: Literal["adamw", "adamw8bit"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0


@dataclass(frozen=True)
class Loss:
    """Cross-entropy, z-loss (weight of the squared log-sum-exp), and whether what follows an end of document counts."""

    z: float = 0.0
    mask_eod: bool = True
    chunk: int = 1024  # rows of logits that exist at a time


@dataclass(frozen=True)
class Parallel:
    """How a model lies on the ranks; `replicate` groups of ranks each hold the whole model (HSDP)."""

    replicate: int = 1
    precision: Literal["bf16", "fp32"] = "bf16"
    reshard_after_forward: bool = True
    recompute: Literal["none", "full"] = "none"
    budget: float = 1.0  # share of the activations that a compiled block keeps; below 1 needs compile
    compile: bool = False
    float8: Literal["off", "tensorwise", "rowwise", "emulate"] = "off"


@dataclass(frozen=True)
class Guard:
    """Steps whose loss or gradient norm is not finite, or far above those of a window of steps, are skipped."""

    window: int = 128  # steps, and 6 deviations: OLMo-core
    sigma: float = 6.0
    in_a_row: int = 10  # skipped steps that stop the run
    skip: tuple[int, ...] = ()  # steps that an operator leaves out


@dataclass(frozen=True)
class Saving:
    """When full checkpoints are written, and weights alone."""

    every: int = 1000  # steps between full checkpoints
    keep: int = 2  # of the full ones, besides those at each multiple of `archive` steps
    archive: int = 0
    weights_tokens: int = 0  # tokens between weights alone; 0: never
    weights_type: Literal["bf16", "fp32"] = "bf16"
    dense: bool = False  # weights after each power of two of steps too, before the first of those points


@dataclass(frozen=True)
class Config:
    """A run: what is trained on what, and where it is kept."""

    run: str
    plan: dict[str, Any]  # the phase plan, as in its TOML file
    model: Model
    schedule: dict[str, Schedule]  # by phase
    corpus: str = ""  # for phases that name none
    init: str = ""  # a folder of weights to begin with, as training.export writes it
    seed: int = 42
    microbatch: int = 1
    device: Literal["", "cpu", "cuda"] = ""  # whichever there is
    threads: int = 2  # reading ahead
    peak_tflops: float = 0.0  # of the device, for MFU; 0 looks it up by its name
    deterministic: bool = False
    tensorboard: bool = False
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: Loss = field(default_factory=Loss)
    parallel: Parallel = field(default_factory=Parallel)
    guard: Guard = field(default_factory=Guard)
    saving: Saving = field(default_factory=Saving)

    def text(self) -> str:
        """The configuration as JSON, which `load_config` reads again."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def digest_of(text: str) -> str:
    """128-bit BLAKE2b of a configuration's text, as hex."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a TOML or JSON file, or a preset, after overrides such as `optimizer.clip=0.5`."""
    file, presets = Path(source), files("training.configs")
    found = file if file.is_file() else presets / f"{source}.toml"
    if not found.is_file():
        names = [path.name.removesuffix(".toml") for path in presets.iterdir() if path.name.endswith(".toml")]
        raise ConfigError(f"{source}: no such file or preset{nearest(source, names)}")
    try:
        text = found.read_text(encoding="utf-8")
        raw = dict(json.loads(text)) if file.suffix == ".json" else tomllib.loads(text)
    except (TypeError, ValueError) as error:  # of UTF-8, JSON or TOML, or no table
        raise ConfigError(f"{source}: this is neither TOML nor JSON that can be read: {error}") from error
    for override in overrides:
        look_up(raw)
        put(raw, override)
    return parse_config(raw, file.name)


def look_up(raw: dict[str, Any]) -> None:
    """Put a plan and a model that are given by name in the place of their names."""
    if isinstance(raw.get("plan"), str):
        raw["plan"] = read_plan(raw["plan"])
    model = raw.get("model")
    given = {"preset": model} if isinstance(model, str) else model
    if isinstance(given, dict) and "preset" in given:
        if (name := str(given["preset"])) not in PRESETS:
            raise ConfigError(f"model {name!r}: no such preset{nearest(name, PRESETS)}")
        raw["model"] = asdict(PRESETS[name]) | {key: value for key, value in given.items() if key != "preset"}


def put(raw: dict[str, Any], override: str) -> None:
    """Set one value by its dotted name, as in `plan.phase.decay.corpus`; what TOML does not read as a value is text."""
    name, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"{override}: an override is written NAME=VALUE, such as optimizer.clip=0.5")
    if name == "model.preset":
        name = "model"  # the sizes of the file would else stand above those of the preset
    *tables, key = name.split(".")
    at: Any = raw
    for part in tables:
        if isinstance(at, list):  # of phases, by their names
            at = {str(item.get("name")): item for item in at if isinstance(item, dict)}
            if part not in at:
                raise ConfigError(f"{override}: no phase is called {part!r}{nearest(part, at)}")
        at = at.setdefault(part, {}) if isinstance(at, dict) else at
    if not isinstance(at, dict):
        raise ConfigError(f"{override}: {tables[-1]} is no table")
    try:
        read = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        read = value
    at[key] = value if isinstance(read, date | time) else read  # runs are called by dates, and nothing else is one


def parse_config(raw: dict[str, Any], where: str = "configuration") -> Config:
    """A configuration from plain values; a plan or a model given by name is looked up."""
    raw = dict(raw)
    look_up(raw)
    config = build(Config, raw, where)
    listed = config.plan.get("phase", [])
    phases = [str(each.get("name")) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    for name in phases:
        if name not in config.schedule:
            raise ConfigError(f"{where}: phase {name!r} has no learning rate: add [schedule.{name}]")
    for name in config.schedule:
        if name not in phases:
            raise ConfigError(f"{where}: schedule.{name} is of no phase of the plan{nearest(name, phases)}")
    for name in ABOVE_ZERO:
        if (value := attrgetter(name)(config)) <= 0:
            raise ConfigError(f"{where}: {name} must be above 0, not {value}")
    parallel = config.parallel
    if parallel.budget < 1 and not parallel.compile:
        raise ConfigError(f"{where}: parallel.budget below 1 is a matter of compiled blocks; add parallel.compile=true")
    if parallel.budget < 1 and parallel.recompute == "full":
        raise ConfigError(f"{where}: parallel.recompute=full keeps no activations, so parallel.budget means nothing")
    sizes = config.model.hidden, config.model.ffn, config.model.kv_heads * config.model.head_dim
    if parallel.float8 != "off" and any(size % 16 for size in sizes):
        raise ConfigError(f"{where}: float8 needs sizes that 16 divides, and the model has {sizes}")
    return config


def with_vocabulary(config: Config, tokens: int) -> Config:
    """The configuration for a corpus of so many token ids: a model without a size takes the next multiple of 128."""
    size = config.model.vocabulary or -(-tokens // 128) * 128
    return replace(config, model=replace(config.model, vocabulary=size))
