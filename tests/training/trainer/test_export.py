import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tests.training.trainer.toys import corpus, hashes, settings
from training.config import ConfigError, parse_config
from training.export import empty, generate, logits, main
from training.fsdp import main as train_main
from training.fsdp import train
from training.huggingface import SHAPE, differing, read_weights, shape_of
from training.models import PRESETS, Model

# The head sizes of MAP-Neo 7B and 2B; theta and eps that nobody has by default; tied; and CrystalCoder's differences.
MHA_192 = {"layers": 2, "hidden": 96, "heads": 2, "kv_heads": 2, "head_dim": 192, "ffn": 128, "context": 64}
MQA_256 = MHA_192 | {"heads": 3, "kv_heads": 1, "head_dim": 256, "theta": 500_000.0, "eps": 1e-6, "tied": True}
BIASED = MHA_192 | {"head_dim": 16, "bias": True}
CRYSTAL = BIASED | {
    "norm": "layer", "rotary": 0.25, "tied": True, "embedding_scale": 14.6, "logit_scale": 0.14,
    "attention_scale": "whole",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("corpus"))


def trained(folder: Path, root: Path, model: dict[str, Any], **changes: Any) -> Path:
    """A run of two steps."""
    raw = settings(folder / "run", root, **changes)
    raw["model"] = model
    raw["schedule"]["first"] = {"kind": "constant", "peak": 0.01}
    train(parse_config(raw), 2)
    return folder / "run"


@pytest.mark.parametrize(
    ("model", "kind"), [(MHA_192, "fp32"), (MQA_256, "fp32"), (MQA_256, "bf16"), (BIASED, "fp32"), (CRYSTAL, "fp32")]
)
def test_logits_are_those_of_the_checkpoint(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str], model: dict[str, Any], kind: str
) -> None:
    run, out = trained(tmp_path, root, model), tmp_path / "out"
    assert main([str(run), str(out), "--dtype", kind]) == 0
    told = capsys.readouterr().out
    assert float(told.split("at most ")[1].split()[0]) <= 1e-5
    told_shape = json.loads((out / SHAPE).read_text())
    assert told_shape["model"] == asdict(Model(**model, vocabulary=8192)) and told_shape["step"] == 2
    if model is CRYSTAL:
        assert not (out / "config.json").exists()
        assert "this is no Llama: norm = layer, rotary = 0.25, embedding_scale = 14.6" in told
        with pytest.raises(ConfigError, match="or the model is no Llama"):
            generate(out, "text", 1)
        return
    assert "as transformers reads it" in told
    found = AutoConfig.from_pretrained(out)
    assert (found.head_dim, found.eos_token_id, found.bos_token_id) == (model["head_dim"], 5, None)
    assert found.rope_parameters["rope_theta"] == model.get("theta", 10_000.0)
    stored = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    assert stored.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[kind]


def test_a_difference_is_no_success(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path, root, MHA_192)

    def wrong(folder: Path, shape: Model) -> torch.nn.Module:
        other = empty(replace(shape, theta=20_000.0))
        read_weights(folder, other, shape)
        return other

    monkeypatch.setattr("training.export.reread", wrong)
    assert main([str(run), str(tmp_path / "out")]) == 1
    assert "is not what was saved: the bound is 1e-05" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "out")]) == 1
    monkeypatch.undo()
    assert main(["check", str(tmp_path / "out")]) == 0


def test_the_preset_that_is_no_llama_is_known() -> None:
    assert [name for name, shape in PRESETS.items() if differing(shape)] == ["crystalcoder-7b"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["RUN", "TAKEN"], "is there already; name a new folder"),
        (["RUN", "OUT", "--step", "3"], "no such complete checkpoint of this run; there are: step-00000002"),
        (["NOWHERE", "OUT"], "there are: none"),
        (["generate", "RUN", "text"], "no config.json is there"),
        (["check", "RUN"], "give a folder that a run has exported"),
    ],
)
def test_what_cannot_be_exported(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    names = {"RUN": tmp_path / "run", "TAKEN": tmp_path, "OUT": tmp_path / "out", "NOWHERE": tmp_path / "nowhere"}
    step = names["RUN"] / "checkpoints" / "step-00000002"
    step.mkdir(parents=True)
    (step / ".metadata").touch()
    assert main([str(names.get(each, each)) for each in arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_run_begins_with_the_weights_of_another(tmp_path: Path, root: Path) -> None:
    run, out = (
        trained(tmp_path, root, MQA_256, saving={"weights_tokens": 128, "weights_type": "fp32"}),
        tmp_path / "out",
    )
    assert main([str(run / "checkpoints" / "step-00000002"), str(out), "--dtype", "fp32"]) == 0
    (point,) = (run / "exports").iterdir()
    assert point.name == "step-00000002-0.000B-tokens"
    assert main(["check", str(point)]) == 0
    shape = Model(**MQA_256, vocabulary=8192)
    both = []
    for folder in (out, point):  # from a checkpoint, and while training
        model = empty(shape)
        read_weights(folder, model, shape)
        both.append(hashes(dict(model.named_parameters())))
    assert both[0] == both[1]
    # Nothing is learned, so what is saved again is what was read.
    raw = settings(tmp_path / "second", root, init=str(point), optimizer={"weight_decay": 0.0})
    raw["model"], raw["schedule"]["first"] = MQA_256, {"kind": "constant", "peak": 0.0}
    train(parse_config(raw), 1)
    assert main([str(tmp_path / "second"), str(tmp_path / "again"), "--dtype", "fp32"]) == 0
    model = empty(shape)
    read_weights(tmp_path / "again", model, shape)
    assert hashes(dict(model.named_parameters())) == both[0]


def test_a_model_of_transformers_is_read(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=384, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6, max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path)
    shape = Model(2, 64, 4, 2, 32, 96, 384, context=64, theta=50_000.0, eps=1e-6)
    model = empty(shape)
    read_weights(tmp_path, model, shape)
    assert (logits(model, shape) - logits(theirs, shape)).abs().max() <= 1e-5
    for name, value in shape_of(tmp_path).items():
        assert getattr(shape, name) == value
    changed = json.loads((tmp_path / "config.json").read_text()) | {"model_type": "mistral"}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match="this is a mistral model"):
        read_weights(tmp_path, model, shape)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"theta": 20_000.0}, "the model there has theta = 10000.0, and the configuration's 20000.0"),
        ({"layers": 3}, "layers = 2, and the configuration's 3"),
        ({"norm": "layer"}, "norm = rms, and the configuration's layer"),
    ],
)
def test_weights_of_another_model_are_refused(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str
) -> None:
    run = trained(tmp_path, root, BIASED)
    assert main([str(run), str(tmp_path / "out")]) == 0
    raw = settings(tmp_path / "second", root, init=str(tmp_path / "out"))
    raw["model"] = BIASED | change
    file = tmp_path / "second.json"
    file.write_text(json.dumps(raw))
    assert train_main([str(file)]) == 2
    assert told in capsys.readouterr().err


def test_text_in_both_languages(sample: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The corpus' tokenizer goes with the weights."""
    run = trained(tmp_path, sample[1], BIASED, saving={"weights_tokens": 64})
    points = sorted((run / "exports").iterdir())
    assert main([str(run), str(tmp_path / "out")]) == 0
    for folder in (tmp_path / "out", points[-1]):
        for prompt in ("The river rose", "河水上涨"):
            capsys.readouterr()
            assert main(["generate", str(folder), prompt, "--tokens", "3"]) == 0
            assert capsys.readouterr().out.startswith(prompt)
    (tmp_path / "out" / "tokenizer.model").unlink()
    assert main(["generate", str(tmp_path / "out"), "text"]) == 2
