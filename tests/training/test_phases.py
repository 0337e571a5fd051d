import json
from pathlib import Path

import pytest

from manifests.storage import StorageError, open_storage
from manifests.store import encode
from tests.training.corpora import described, documents, store, write
from training.corpus import open_corpus
from training.order import PlanError
from training.phases import Run, main, run_of, show
from training.plan import Plan, parse_plan

ONE = """
window = 640
[[phase]]
name = "one"
sequence = 8
batch = 4
"""
TWO = """
[[phase]]
name = "two"
sequence = 8
batch = 4
"""
STREAMS = {"web/en": 8_001, "web/zh": 4_001, "code/en": 800}


def plan(first: str, second: str = "") -> Plan:
    return parse_plan(ONE + first + ("\n" + TWO + second if second else ""))


def taken(run: Run) -> list[dict[str, tuple[int, float, float]]]:
    """Sequences and epochs by stream, for each phase."""
    return [{x.stream: (x.sequences, round(x.since, 2), round(x.until, 2)) for x in lines} for lines in run.lines]


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        # 3,200 tokens are 400 sequences: 100 steps; without a mixture every stream has its share of the tokens.
        ("tokens = 3_200", {"web/en": 250, "web/zh": 125, "code/en": 25}),
        ("steps = 100\nmixture = { 'web/en' = 3, 'web/zh' = 1 }", {"web/en": 300, "web/zh": 100}),
        ("tokens = { en = 1_600, zh = 1_600 }", {"web/en": 182, "web/zh": 200, "code/en": 18}),
        ("tokens = { zh = 3_200 }", {"web/zh": 400}),
        # A pattern's weight is split by tokens; a stream that two patterns match has a part of each.
        ("steps = 100\nmixture = { 'web/*' = 3, 'web/zh' = 1 }", {"web/en": 200, "web/zh": 200}),
        ("steps = 100\nmixture = { 'code/*' = 15, '!code/*' = 85 }", {"code/en": 60, "web/en": 227, "web/zh": 113}),
        ("tokens = 3_231", {"web/en": 250, "web/zh": 125, "code/en": 25}),  # whole batches only
    ],
)
def test_a_phase_takes_what_its_mixture_says(phase: str, expected: dict[str, int]) -> None:
    (found,) = taken(run_of(plan(phase), [described(STREAMS)]))
    assert sum(expected.values()) == 400
    for name, (sequences, _, _) in found.items():
        assert abs(sequences - expected[name]) <= 24  # 400 end within a block of 1,024
    assert found.keys() == expected.keys()


def test_a_whole_block_is_dealt_to_the_sequence() -> None:
    run = run_of(plan("steps = 256\nmixture = { 'web/en' = 5, 'web/zh' = 3 }\nepochs = 2"), [described(STREAMS)])
    assert taken(run) == [{"web/en": (640, 0.0, 0.64), "web/zh": (384, 0.0, 0.77)}]


def test_a_phase_goes_on_with_a_stream_or_restarts_it() -> None:
    goes_on = plan("steps = 80\nmixture = { '*/en' = 1, 'web/zh' = 1 }", "steps = 20")
    first, second = taken(run_of(goes_on, [described(STREAMS)] * 2))
    for name, (_, since, _) in second.items():
        assert since == first[name][2] > 0
    restarts = plan("steps = 80\nmixture = { '*/en' = 1, 'web/zh' = 1 }", "steps = 20\nrestart = ['*/zh']")
    run = run_of(restarts, [described(STREAMS)] * 2)
    assert [taken(run)[1][name][1] for name in ("web/en", "web/zh")] == [first["web/en"][2], 0]
    assert "web/zh: restarted, so documents of an earlier phase may be seen again" in "\n".join(show(run))


def test_a_restarted_stream_comes_in_another_order() -> None:
    run = run_of(plan("steps = 20", "steps = 20\nrestart = '*'"), [described(STREAMS)] * 2)
    first, second = (phase.batch_at(phase.first_step) for phase in run.order.phases)
    assert first.sequences.tolist() != second.sequences.tolist()


@pytest.mark.parametrize("sequence", [8, 16, 4])
def test_no_label_is_seen_twice_by_phases_that_go_on(sequence: int) -> None:
    second = "steps = 20\nmixture = { 'web/en' = 1 }"
    text = ONE + "steps = 30\nmixture = { 'web/en' = 1 }\n" + TWO.replace("= 8", f"= {sequence}") + second
    run = run_of(parse_plan(text), [described({"web/en": 8_001})] * 2)
    seen: list[int] = []
    for phase in run.order.phases:
        for n in range(phase.steps * phase.batch):
            first = phase.locate(n).first
            seen += range(first + 1, first + phase.sequence + 1)
    assert len(seen) == len(set(seen)) == 30 * 4 * 8 + 20 * 4 * sequence
    skipped = run.lines[1][0].skipped
    assert skipped == (0 if sequence == 8 else 320)  # 120 of 80-sequence windows: the second is half used
    assert ("320 tokens are skipped" in "\n".join(show(run))) == (sequence != 8)


CORPUS = described(STREAMS)
REFUSED = [
    (plan("steps = 480"), "would reach 1.2\\d\\d epochs of stream .*, and 1 is declared.*write epochs = .* = 2"),
    (plan("steps = 480\nepochs = { 'web/*' = 2 }"), "epochs of stream code/en"),
    (plan("steps = 960\nepochs = 2"), "2.4\\d\\d epochs.*and 2 is declared.*= 3"),
    (plan("steps = 300", "steps = 180"), "phase two would reach 1.2\\d\\d epochs"),
    (plan("steps = 1\nmixture = { 'book/*' = 1 }"), "no stream matches 'book/\\*'.*web/en, web/zh"),
    (plan("tokens = { fr = 32, en = 32 }"), "a budget for fr, and no stream"),
    (plan("tokens = 31"), "31 tokens are less than one step of 32"),
    (plan("steps = 10\nchunks = 4"), "10 steps are not 4 equal chunks; write steps = 8"),
    (plan(f"steps = 1\ndata = '{'0' * 32}'"), f"asks for data set 0+, and .* is {CORPUS.hash}"),
    (plan(f"steps = 1\ntokenizer = '{'0' * 32}'"), "asks for tokenizer 0+, and .* was made with abab"),
    (plan("steps = 1\nfim = { rate = 0.5, prefix = 70000, middle = 1, suffix = 2 }"), "does not fit uint16"),
]


@pytest.mark.parametrize(("refused", "complaint"), REFUSED)
def test_what_was_not_declared_is_refused_before_step_0(refused: Plan, complaint: str) -> None:
    with pytest.raises(PlanError, match=complaint):
        run_of(refused, [CORPUS] * len(refused.phases))


def test_declared_repetition_is_no_mistake() -> None:
    assert run_of(plan("steps = 960\nepochs = 2.5"), [CORPUS]).order.steps == 960
    assert run_of(plan("steps = 600\nepochs = { '*' = 1, 'web/*' = 3, 'code/*' = 3 }"), [CORPUS]).order.steps == 600


def test_a_stream_without_a_whole_sequence_is_refused() -> None:
    with pytest.raises(PlanError, match="stream web/zh has 8 tokens, less than one sequence of 8"):
        run_of(plan("steps = 1"), [described({"web/en": 900, "web/zh": 8})])


def test_going_on_with_another_data_set_is_refused() -> None:
    grown = described({**STREAMS, "web/zh": 4_002})
    with pytest.raises(PlanError, match=f"go on with stream .*data set {grown.hash} is not {CORPUS.hash}"):
        run_of(plan("steps = 1", "steps = 1"), [CORPUS, grown])
    assert run_of(plan("steps = 1", "steps = 1\nrestart = ['*']"), [CORPUS, grown])
    only_new = plan("steps = 1\nmixture = { 'web/en' = 1 }", "steps = 1\nmixture = { 'code/en' = 1 }")
    assert run_of(only_new, [CORPUS, grown])


def test_another_tokenizer_has_to_be_asked_for() -> None:
    other = described(STREAMS, "cd" * 16)
    with pytest.raises(PlanError, match='if that is meant, write tokenizer = "cdcd'):
        run_of(plan("steps = 1", "steps = 1\nrestart = '*'"), [CORPUS, other])
    assert run_of(plan("steps = 1", f"steps = 1\nrestart = '*'\ntokenizer = '{'cd' * 16}'"), [CORPUS, other])


def saved(run: Run) -> dict:
    """The identity as a checkpoint would give it back."""
    return json.loads(json.dumps(run.identity()))


def test_a_run_goes_on_with_what_it_was_begun_with_and_may_plan_later_phases_anew() -> None:
    begun = run_of(plan("steps = 20", "steps = 10"), [CORPUS] * 2)
    begun.check(64_000, saved(begun), 15)
    longer = run_of(plan("steps = 25", "steps = 30\nmixture = { 'web/zh' = 1 }"), [CORPUS] * 2)
    longer.check(64_000, saved(begun), 15)
    run_of(plan("steps = 20"), [CORPUS]).check(64_000, saved(begun), 15)


@pytest.mark.parametrize(
    ("first", "second", "streams", "step", "complaint"),
    [
        ("steps = 20\nmixture = { 'web/*' = 1 }", "steps = 10", STREAMS, 15, "phase one has begun.*mixture was"),
        ("steps = 19", "steps = 10", STREAMS, 20, "phase one has begun.*had 20 steps and has 19"),
        ("steps = 14", "steps = 10", STREAMS, 15, "had 20 steps and has 14"),
        ("steps = 20", "", STREAMS, 21, "phase two has begun at step 20 and is no longer in the plan"),
        ("steps = 20", "steps = 10", STREAMS | {"web/zh": 4_002}, 1, "web/zh had 4,001 tokens in 1 .* and has 4,002"),
        ("steps = 20", "steps = 10", STREAMS | {"web/fr": 900}, 0, "changed.*stream web/fr is new"),
        ("steps = 20", "steps = 10", {"web/en": 8_001, "code/en": 800}, 15, "stream web/zh is gone"),
    ],
)
def test_a_run_refuses_to_go_on_with_something_else(
    first: str, second: str, streams: dict[str, int], step: int, complaint: str
) -> None:
    begun = saved(run_of(plan("steps = 20", "steps = 10"), [CORPUS] * 2))
    now = plan(first, second)
    with pytest.raises(PlanError, match=complaint):
        run_of(now, [described(streams)] * len(now.phases)).check(64_000, begun, step)


def test_a_model_with_too_few_ids_is_refused() -> None:
    fim = run_of(plan("steps = 1\nfim = { rate = 1, prefix = 64_001, middle = 64_002, suffix = 64_003 }"), [CORPUS])
    fim.check(64_256)
    with pytest.raises(PlanError, match="ids up to 64,003, and the model has 64,000"):
        fim.check(64_000)
    with pytest.raises(PlanError, match="ids up to 63,999, and the model has 32,000"):
        run_of(plan("steps = 1"), [CORPUS]).check(32_000)


def test_a_changed_shard_of_the_same_size_is_another_corpus(tmp_path: Path) -> None:
    one = {("web/zh", "k1"): documents(1, [30, 40]), ("web/en", "k1"): documents(2, [50])}
    two = one | {("web/zh", "k1"): documents(3, [30, 40])}
    begun = run_of(plan("steps = 1"), [store(str(tmp_path / "a"), one, 64)])
    copied = run_of(plan("steps = 1"), [store(str(tmp_path / "b"), one, 64)])
    copied.check(8_192, saved(begun), 1)
    other = run_of(plan("steps = 1"), [store(str(tmp_path / "c"), two, 64)])
    with pytest.raises(PlanError, match="stream web/zh has as many tokens as before, but not the same ones"):
        other.check(8_192, saved(begun), 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["amberr"], "amberr: no such file or preset; did you mean 'amber'?"),
        (["amber"], "phase pretrain names no corpus: add corpus = ROOT to the plan, or give --corpus ROOT"),
        (["amber", "--corpus", "/nowhere"], "/nowhere: there is no such folder"),
    ],
)
def test_the_command_ends_with_one_sentence_and_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_a_corpus_of_two_tokenizers_is_refused(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    docs = documents(1, [30])
    rows = [write(storage, "web/en", f"k{digest}", docs, 64, digest * 16) for digest in ("ab", "cd")]
    storage.put("manifests/tokens.parquet", encode(rows))
    with pytest.raises(StorageError, match="was not made with tokenizer abab"):
        open_corpus(str(tmp_path))
