import re

import pytest

from tests.training.corpora import described
from training.order import PlanError
from training.phases import run_of
from training.plan import load_plan, parse_plan

B = 10**9
ONE = """
window = 640
[[phase]]
name = "one"
sequence = 8
batch = 4
"""
MISTAKES = [
    ("steps = 1\nmixtures = { '*' = 1 }", "phase 1: unknown key 'mixtures'; did you mean 'mixture'?"),
    ("steps = 1\ntokens = 5", "give either steps or tokens"),
    ("", "give either steps or tokens"),
    ("steps = 1.5", "steps must be a whole number above zero, not 1.5"),
    ("steps = true", "whole number"),
    ("steps = 1\nmixture = { '*' = -1 }", "mixture must be a number above zero"),
    ("steps = 1\nmixture = {}", "at least one entry"),
    ("steps = 1\nrestart = 3", "restart must be a list of patterns"),
    ("steps = 1\nfim = { rate = 2, prefix = 1, middle = 2, suffix = 3 }", "rate must be a number from 0 to 1"),
    ("steps = 1\nfim = { rate = 1, prefix = 1, middle = 2 }", "suffix is missing"),
    ("steps = 1\nfim = { rate = 1, prefix = 1, middle = 1, suffix = 3 }", "three different ids"),
    ("steps = 1\n[[phase]]\nname = 'one'\nsteps = 1\nsequence = 8\nbatch = 1", "two phases are called 'one'"),
    ("steps = 1\n[[phase]]\nname = 'x'\nsteps = 1\nsequence = 7\nbatch = 1", "window must be a multiple of 7"),
    ("steps = 1\n[[phase]]\nname = 'x'\nsteps = 1\nbatch = 1", "'x': sequence is missing"),
    ("steps", "this is not TOML"),
]


@pytest.mark.parametrize(("text", "complaint"), MISTAKES)
def test_mistakes_in_a_plan_are_named(text: str, complaint: str) -> None:
    with pytest.raises(PlanError, match=re.escape(complaint)):
        parse_plan(ONE + text)


# What the published runs had to draw from, in tokens, with a few streams of each language where they were both.
PRESETS = {
    "mapneo-fundamental": ({"code/en": 400 * B, "web/en": 2_000 * B, "web/zh": 900 * B, "books/zh": 500 * B}, 444_173),
    "mapneo-decay": ({"code/en": 200 * B, "web/en": 500 * B, "books/zh": 400 * B}, 148_391),
    "amber": (
        {"arxiv/en": 30 * B, "books/en": 28_860_000_000, "c4/en": 197_670_000_000, "refinedweb/en": 665_010_000_000,
         "starcoder/code": 291_920_000_000, "stackexchange/en": 21_750_000_000, "wikipedia/en": 23_900_000_000},
        274_320,
    ),
    "crystalcoder": (
        {"slimpajama-cc/en": 370 * B, "slimpajama-c4/en": 186 * B, "slimpajama-github/code": 36 * B,
         "slimpajama-arxiv/en": 31 * B, "slimpajama-books/en": 30 * B, "slimpajama-wikipedia/en": 25 * B,
         "slimpajama-stackexchange/en": 24 * B, "starcoder-python/code": 22 * B, "starcoder-html/code": 11 * B,
         "starcoder-javascript/code": 25 * B, "starcoder-css/code": 5 * B, "starcoder-rest/code": 230 * B},
        79_721 + 214_387 + 27_728,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_presets_plan_the_published_runs(name: str) -> None:
    streams, steps = PRESETS[name]
    preset = load_plan(name)
    corpus = described(streams)
    run = run_of(preset, [corpus] * len(preset.phases))
    assert run.order.steps == steps
    assert all(line.until <= line.allowed for lines in run.lines for line in lines)


def test_ambers_chunks_are_equal_and_hold_every_source() -> None:
    run = run_of(load_plan("amber"), [described(PRESETS["amber"][0])])
    assert [run.chunk(step) for step in (0, 761, 762, 274_319)] == [0, 0, 1, 359]
    phase = run.order.phases[0]
    sizes = [phase.drawn(chunk * 762 * 2240) for chunk in range(361)]
    chunks = [[b - a for a, b in zip(*pair, strict=True)] for pair in zip(sizes, sizes[1:], strict=False)]
    for counts in zip(*chunks, strict=True):
        assert max(counts) - min(counts) <= 128  # of 1,706,880 sequences


def test_crystalcoders_second_phase_sees_the_other_half_of_slimpajama() -> None:
    preset = load_plan("crystalcoder")
    run = run_of(preset, [described(PRESETS["crystalcoder"][0])] * 3)
    first, second, third = ({line.stream: line for line in lines} for lines in run.lines)
    assert second["slimpajama-cc/en"].since == first["slimpajama-cc/en"].until
    assert third["slimpajama-cc/en"].since == 0
    assert [phase.fim.rate if phase.fim else 0 for phase in preset.phases] == [0, 0.9, 0.3]
    assert 1 < second["starcoder-rest/code"].until < 2
