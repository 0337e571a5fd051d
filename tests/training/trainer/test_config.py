"""Configurations: what is refused and in which words, what overrides do, and that what was resolved reads as itself."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import Config, ConfigError, digest_of, load_config, parse_config, with_vocabulary
from training.models import PRESETS
from training.order import PlanError

TEXT = """
run = "runs/茶"
corpus = "corpus"
model = { preset = "tiny", vocabulary = 512 }
plan.phase = [{ name = "first", sequence = 16, batch = 4, steps = 8, mixture = { "web/zh" = 2, "web/en" = 1 } }]
schedule.first = { kind = "linear", peak = 1e-3, warmup = 2 }
guard.skip = [3, 5]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "run.toml"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("optimizer.clipp=1", "run.toml: optimizer: unknown key 'clipp'; did you mean 'clip'?"),
        ("microbach=1", "run.toml: unknown key 'microbach'; did you mean 'microbatch'?"),
        ("model.hiden=1", "run.toml: model: unknown key 'hiden'; did you mean 'hidden'?"),
        ("model=neo-7", "model 'neo-7': no such preset; did you mean 'neo-7b'?"),
        ("model={preset=['tiny']}", "no such preset; did you mean 'tiny'?"),
        ("model={preset=7}", "model '7': no such preset; known are amber-7b, "),
        ("plan=mapneo-deca", "mapneo-deca: no such file or preset; did you mean 'mapneo-decay'?"),
        ("schedule.frist.peak=1", "run.toml: schedule.frist is of no phase of the plan; did you mean 'first'?"),
        ("schedule.first.kind=cosin", "schedule.first: kind must be one of 'cosine', 'linear', 'exponential', "),
        ("microbatch=1.5", "run.toml: microbatch must be of type int, not 1.5"),
        ("microbatch=true", "run.toml: microbatch must be of type int, not True"),
        ("microbatch=inf", "run.toml: microbatch must be of type int, not inf"),
        ("optimizer.clip=nan", "run.toml: optimizer: clip must be of type float, not nan"),
        ("optimizer.clip=0", "run.toml: optimizer.clip must be above 0, not 0.0"),
        ("guard.window=0", "run.toml: guard.window must be above 0, not 0"),
        ("parallel.replicate=-1", "run.toml: parallel.replicate must be above 0, not -1"),
        ("optimizer.betas=[0.9]", "optimizer: betas must be of type tuple[float, float], not [0.9]"),
        ("parallel.budget=0.5", "parallel.budget below 1 is a matter of compiled blocks; add parallel.compile=true"),
        ("parallel=bf16", "run.toml: parallel must be a table, not 'bf16'"),
        ("run.name=x", "run.name=x: run is no table"),
        ("plan.phase.frist.batch=8", "no phase is called 'frist'; did you mean 'first'?"),
        ("plan.phase.first=8", "plan.phase.first=8: phase is no table"),
        ("clip", "clip: an override is written NAME=VALUE, such as optimizer.clip=0.5"),
        ("model.kv_heads=2", "model: 3 heads cannot share 2 key and value heads evenly"),
        ("model.hidden=200", "model: hidden = 200 is no multiple of 3 heads, and no Llama is so"),
        ("plan={phase=5}", "schedule.first is of no phase of the plan"),
        (f"optimizer.clip=1{'0' * 400}", "optimizer: clip must be of type float"),
    ],
)
def test_what_cannot_be_is_one_sentence(file: str, override: str, sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        load_config(file, [override])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1]", "5", '"tiny"'])
def test_json_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="config.json: this is neither TOML nor JSON that can be read"):
        load_config(str(path))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="weights.toml: this is neither TOML nor JSON that can be read: 'utf-8'"):
        load_config(str(path))


def test_float8_needs_sizes_that_16_divides(file: str) -> None:
    with pytest.raises(ConfigError, match="16 divides"):
        load_config(file, ["model.ffn=10922", "parallel.float8=tensorwise"])


def test_a_phase_without_a_learning_rate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TEXT.replace("schedule.first", "schedule.other"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"phase 'first' has no learning rate: add \[schedule.first\]"):
        load_config(str(path))


@pytest.mark.parametrize(
    "override, name, value",
    [
        ("optimizer.clip=0.5", "optimizer.clip", 0.5),
        ("optimizer.clip=2", "optimizer.clip", 2.0),
        ("saving.weights_tokens=3e9", "saving.weights_tokens", 3_000_000_000),
        ("guard.skip=[7]", "guard.skip", (7,)),
        ("run=2026-11-21", "run", "2026-11-21"),
        ("run=语料 one", "run", "语料 one"),
        ("corpus=s3://bucket/a=b", "corpus", "s3://bucket/a=b"),
        ("model.attention=document", "model.attention", "document"),
        ("model=neo-2b", "model", PRESETS["neo-2b"]),
        ("model.preset=neo-2b", "model", PRESETS["neo-2b"]),
        ("plan.seed=7", "plan.seed", 7),
        ("parallel.compile=true", "parallel.compile", True),
    ],
)
def test_overrides(file: str, override: str, name: str, value: object) -> None:
    found: object = load_config(file, [override])
    for part in name.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_holds_and_a_preset_may_be_changed_after_it(file: str) -> None:
    config = load_config(file, ["microbatch=2", "model=neo-2b", "model.layers=3", "microbatch=4"])
    assert config.microbatch == 4
    assert (config.model.layers, config.model.hidden) == (3, 2048)


def test_a_plan_by_name_can_be_overridden(file: str) -> None:
    config = load_config(file, ["plan=mapneo-decay", "plan.seed=1", "schedule={ decay = { peak = 1 } }"])
    assert config.plan["seed"] == 1
    assert config.plan["phase"][0]["batch"] == 640
    assert load_config(file, ["plan.phase.first.batch=8"]).plan["phase"][0]["batch"] == 8


def test_what_was_resolved_is_a_configuration_with_the_same_digest(file: str, tmp_path: Path) -> None:
    config = load_config(file, ["model=neo-2b", "optimizer.eps=1e-9"])
    resolved = tmp_path / "config.json"
    resolved.write_text(config.text(), encoding="utf-8")
    again = load_config(str(resolved))
    assert again == config
    assert digest_of(again.text()) == digest_of(config.text()) != digest_of(load_config(file).text())
    assert load_config(str(resolved), ["model=neo-7b"]).model == PRESETS["neo-7b"]
    assert "茶" in config.text()


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(0, 2**63),
            "deterministic": st.booleans(),
            "run": st.text(),
            "optimizer": st.fixed_dictionaries({"clip": st.floats(1e-6, 1e6), "eps": st.floats(1e-300, 1.0)}),
            "guard": st.fixed_dictionaries({"skip": st.lists(st.integers(0, 10**12))}),
            "loss": st.fixed_dictionaries({"z": st.floats(0, 1), "mask_eod": st.booleans()}),
        },
    )
)
def test_every_configuration_reads_as_itself(values: dict[str, object]) -> None:
    base = {"run": "x", "plan": {}, "schedule": {}, "model": "tiny"}
    config = parse_config(base | values)
    assert parse_config(json.loads(config.text())) == config


@pytest.mark.parametrize("tokens, size", [(1, 128), (128, 128), (129, 256), (64_005, 64_128)])
def test_a_model_without_a_vocabulary_takes_the_tokenizers(tokens: int, size: int) -> None:
    config = Config(run="", plan={}, model=PRESETS["tiny"], schedule={})
    assert with_vocabulary(config, tokens).model.vocabulary == size
    assert with_vocabulary(with_vocabulary(config, 500), tokens).model.vocabulary == 512
