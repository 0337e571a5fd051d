"""The configurations that come with Glasspile: their rates by hand at chosen steps, their plans over corpora."""

from importlib.resources import files

import pytest

from tests.training.corpora import described
from training.config import Config, load_config
from training.memory import microbatches
from training.optim import learning_rate
from training.plan import plan_of
from training.planner import resolve

NEO = {"code/en": 900 * 10**9, "web/en": 3 * 10**12, "web/zh": 3 * 10**12}
AMBER = {
    f"{name}/en": 10**12 for name in ("arxiv", "books", "c4", "refinedweb", "starcoder", "stackexchange", "wikipedia")
}
SLIM = ("cc", "c4", "github", "arxiv", "books", "wikipedia", "stackexchange")
CRYSTAL = {f"slimpajama-{name}/en": 10**12 for name in SLIM} | {
    f"starcoder-{name}/en": 10**12 for name in ("python", "html", "javascript", "css", "other")
}
STREAMS = {
    "tiny": {"web/en": 456_599, "web/zh": 418_308},  # the sample
    "neo-7b": NEO,
    "neo-2b": NEO,
    "neo-1b-sibling": NEO,
    "amber-7b": AMBER,
    "crystalcoder-7b": CRYSTAL,
}


def test_every_configuration_is_tested_here() -> None:
    names = {path.name.removesuffix(".toml") for path in files("training.configs").iterdir() if path.name[0] != "_"}
    assert names - {"__init__.py"} == STREAMS.keys()


def rates(config: Config) -> dict[str, tuple[int, object]]:
    """Steps and rate by phase."""
    order, _ = resolve(plan_of(config.plan), [described(STREAMS_OF[config.run])] * len(config.schedule))
    return {phase.name: (phase.steps, config.schedule[phase.name]) for phase in order.phases}


STREAMS_OF = {f"runs/{name}": streams for name, streams in STREAMS.items()}


@pytest.mark.parametrize(
    ("name", "phase", "steps", "step", "rate"),
    [
        # MAP-Neo: 2e-5 to 2e-4 in 2,000 steps, cosine to 2e-5; then 2e-4 * 0.5^(t/T), T half of the phase
        ("neo-7b", "fundamental", 444_173, 0, 2e-5),
        ("neo-7b", "fundamental", 444_173, 1_000, 1.1e-4),
        ("neo-7b", "fundamental", 444_173, 2_000, 2e-4),
        ("neo-7b", "fundamental", 444_173, 149_391, 1.55e-4),  # a third of the cosine: 2e-5 + 0.9e-4 (1 + 1/2)
        ("neo-7b", "fundamental", 444_173, 444_173, 2e-5),
        ("neo-7b", "decay", 148_391, 0, 2e-4),
        ("neo-7b", "decay", 148_391, 74_195, 1e-4),
        ("neo-7b", "decay", 148_391, 148_391, 5e-5),
        ("neo-2b", "fundamental", 444_173, 2_000, 2e-4),
        ("neo-2b", "decay", 148_391, 148_391, 5e-5),
        # 22.5 B and 2.5 B tokens in steps of 128 and 64 sequences of 8,192
        ("neo-1b-sibling", "fundamental", 21_457, 500, 3e-4),
        ("neo-1b-sibling", "decay", 4_768, 2_384, 1.5e-4),
        # Amber: 3e-4 after 2,000 steps, cosine to 3e-5 at 274,320
        ("amber-7b", "pretrain", 274_320, 1_000, 1.5e-4),
        ("amber-7b", "pretrain", 274_320, 138_160, 1.65e-4),
        ("amber-7b", "pretrain", 274_320, 274_320, 3e-5),
        # CrystalCoder: on the way from 0.012 to 1.2408e-4 the first phase stops at 0.0087825
        ("crystalcoder-7b", "natural-language", 79_721, 43, 0.006),
        ("crystalcoder-7b", "natural-language", 79_721, 86, 0.012),
        ("crystalcoder-7b", "natural-language", 79_721, 79_721, 0.0087860),
        ("crystalcoder-7b", "code", 214_387, 86, 0.0087825),
        ("crystalcoder-7b", "code", 214_387, 214_387, 1.3679e-4),
        ("crystalcoder-7b", "web-code", 27_728, 138, 0.001),
        ("crystalcoder-7b", "web-code", 27_728, 276, 0.002),
        ("crystalcoder-7b", "web-code", 27_728, 14_002, 0.0011),
        ("crystalcoder-7b", "web-code", 27_728, 27_728, 2e-4),
        ("tiny", "fundamental", 160, 10, 1.05e-3),
        ("tiny", "fundamental", 160, 90, 1.1e-3),
        ("tiny", "decay", 80, 40, 5e-4),
    ],
)
def test_rates(name: str, phase: str, steps: int, step: int, rate: float) -> None:
    found, schedule = rates(load_config(name))[phase]
    assert found == steps
    assert learning_rate(schedule, step, steps) == pytest.approx(rate, rel=3e-5)


def test_the_second_phase_of_crystalcoder_begins_about_where_the_first_stopped() -> None:
    config = load_config("crystalcoder-7b")
    stopped = learning_rate(config.schedule["natural-language"], 79_721, 79_721)
    assert stopped == pytest.approx(config.schedule["code"].peak, rel=5e-4)


@pytest.mark.parametrize(
    ("name", "tokens", "ranks"),
    [
        ("neo-7b", 3_726e9 + 778e9, (1, 8, 64, 128)),
        ("neo-2b", 3_726e9 + 778e9, (1, 8, 64, 128)),
        ("neo-1b-sibling", 25e9, (1, 8, 32)),
        ("amber-7b", 1258.52e9, (224,)),  # 56 nodes of 4, ten sequences each
        ("crystalcoder-7b", 1392.0e9, (8, 16)),
        ("tiny", 491_520, (1,)),
    ],
)
def test_budgets_and_ranks(name: str, tokens: float, ranks: tuple[int, ...]) -> None:
    config = load_config(name)
    plan = plan_of(config.plan)
    order, _ = resolve(plan, [described(STREAMS[name])] * len(plan.phases))
    total = sum(phase.steps * phase.batch * phase.sequence for phase in order.phases)
    assert total == pytest.approx(tokens, rel=1e-4)
    for size in ranks:
        assert all(microbatches(config, size, phase) != "-" for phase in plan.phases), size
    assert all(phase.sequence <= config.model.context for phase in plan.phases)


def test_what_only_some_runs_have() -> None:
    fresh = {name: [s.fresh for s in load_config(name).schedule.values()] for name in STREAMS}
    assert fresh["neo-7b"] == fresh["tiny"] == [False, True] and fresh["crystalcoder-7b"] == [False] * 3
    assert [bool(phase.fim) for phase in plan_of(load_config("crystalcoder-7b").plan).phases] == [False, True, True]
    assert {name for name in STREAMS if not load_config(name).loss.mask_eod} == {"amber-7b", "crystalcoder-7b"}
    assert load_config("crystalcoder-7b").optimizer.eps == 1e-9
    assert load_config("amber-7b").saving.weights_tokens == 762 * 2240 * 2048


def test_a_second_corpus_and_tokenizer_are_named_on_the_command_line() -> None:
    config = load_config("neo-7b", ["corpus=a", "plan.phase.decay.corpus=b", "plan.phase.decay.tokenizer=ab"])
    first, second = plan_of(config.plan, corpus=config.corpus).phases
    assert (first.corpus, first.tokenizer, second.corpus, second.tokenizer) == ("a", "", "b", "ab")


def test_the_tiny_run_sees_no_document_twice() -> None:
    config = load_config("tiny")
    _, lines = resolve(plan_of(config.plan), [described(STREAMS["tiny"])] * 2)
    assert [line.stream for line in lines[0]] == ["web/en", "web/zh"]
    assert all(line.until < 1 and not line.restarted for phase in lines for line in phase)
