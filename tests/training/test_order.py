import subprocess
import sys
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import REPO
from tests.training import reference
from tests.training.corpora import described
from training.order import BLOCK, Dealer, Drawn, PlanError, block_of, check_world, nearest
from training.phases import Run, run_of
from training.plan import parse_plan

PLAN = """
seed = 7
window = 640
[[phase]]
name = "fundamental"
steps = 130
sequence = 8
batch = 24
mixture = { "web/en" = 5, "web/zh" = 3, "books/zh" = 0.004 }
epochs = { "web/*" = 3 }
[[phase]]
name = "decay"
steps = 50
sequence = 8
batch = 48
mixture = { "web/zh" = 1, "books/zh" = 1 }
epochs = 9
"""
STREAMS = {"web/en": 9_000, "web/zh": 8_001, "books/zh": 3_000}


def two_phases() -> Run:
    return run_of(parse_plan(PLAN), [described(STREAMS)] * 2)


def step_of(run: Run, step: int, rank: int = 0, world: int = 1) -> list[tuple[int, str, int, int]]:
    """Place, stream, epoch and sequence of what a rank sees in a step."""
    phase = run.order.phase_at(step)
    draws = phase.batch_at(step, rank, world)
    names = [phase.sources[s].name for s in draws.streams.tolist()]
    return list(zip(draws.positions.tolist(), names, draws.epochs.tolist(), draws.sequences.tolist(), strict=True))


def test_the_order_is_that_of_the_reference() -> None:
    run = two_phases()
    weights = {"web/en": Fraction(5), "web/zh": Fraction(3), "books/zh": Fraction("0.004")}
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    data = run.corpora[0].hash
    expected = list(islice(reference.order(shares, STREAMS, 8, 640, 7, data, "fundamental"), 130 * 24))
    found = [seen[1:] for step in range(130) for seen in step_of(run, step)]
    assert found == expected
    assert {epoch for _, epoch, _ in found} == {0, 1}  # the test reaches a second epoch


def test_a_phase_changes_at_its_exact_step_and_goes_on_with_its_streams() -> None:
    run = two_phases()
    fundamental, decay = run.order.phases
    assert (fundamental.end, decay.first_step, run.order.steps) == (130, 130, 180)
    assert [run.order.phase_at(step).name for step in (0, 129, 130, 179)] == ["fundamental"] * 2 + ["decay"] * 2
    assert len(step_of(run, 129)) == 24
    assert len(step_of(run, 130)) == 48
    seen = [(epoch, q) for step in range(180) for _, name, epoch, q in step_of(run, step) if name == "web/zh"]
    # What the stream gives does not depend on where the phases part.
    shuffle = fundamental.sources[2].shuffle
    assert seen == [shuffle.at(draw) for draw in range(len(seen))]
    for step in (-1, 180):
        with pytest.raises(PlanError, match="the plan has steps 0 to 179"):
            run.order.phase_at(step)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_a_batch_is_the_same_for_any_number_of_ranks_and_after_any_number_of_resumes(world: int) -> None:
    """The state of a run is a step number: each step is asked of a run that was opened anew."""
    whole = two_phases()
    for step in (0, 1, 42, 43, 129, 130, 179):
        parts = [step_of(two_phases(), step, rank, world) for rank in range(world)]
        assert {len(part) for part in parts} == {whole.order.phase_at(step).batch // world}
        assert sorted(seen for part in parts for seen in part) == step_of(whole, step)


def test_every_sequence_is_found_where_it_was_dealt() -> None:
    run = two_phases()
    for phase in run.order.phases:
        seen: dict[tuple[str, int], list[Drawn]] = {}
        for step in range(phase.first_step, phase.end):
            for place, stream, epoch, q in step_of(run, step):
                drawn = phase.locate((step - phase.first_step) * phase.batch + place)
                assert drawn == Drawn(phase.name, step, place, stream, epoch, q, q * 8)
                seen.setdefault((stream, q), []).append(drawn)
        for source in phase.sources:
            for q in range(0, source.shuffle.count, 7):
                assert list(phase.find(source.name, q)) == seen.get((source.name, q), [])
            assert not list(phase.find(source.name, source.shuffle.count))


WEIGHTS = st.lists(st.integers(1, 10**6) | st.integers(1, 2_000), min_size=1, max_size=12)


@given(WEIGHTS, st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_every_stream_keeps_to_its_share_at_multiples_of_1024(weights: list[int], block: int) -> None:
    dealer = Dealer(("x",), tuple(weights))
    total, n = sum(weights), block * BLOCK
    counts, after = dealer.counts(block), dealer.counts(block + 1)
    assert sum(counts) == n
    assert all(a <= b for a, b in zip(counts, after, strict=True))  # what was dealt stays dealt
    for count, weight in zip(counts, weights, strict=True):
        far = abs(count - Fraction(n * weight, total))
        assert far < (1 if weight * BLOCK >= total or len(dealer.small) <= 2 else 2)
    names = [f"{i:02}" for i in range(len(weights))]
    shares = {name: Fraction(weight, total) for name, weight in zip(names, weights, strict=True)}
    assert counts == [reference.dealt(n, shares)[name] for name in names]


@given(WEIGHTS, st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_every_stream_is_within_64_sequences_of_its_share_everywhere(weights: list[int], block: int) -> None:
    dealer = Dealer(("x",), tuple(weights))
    streams, draws = block_of(dealer, block)
    before = dealer.counts(block)
    places = np.arange(1, BLOCK + 1)
    for s, weight in enumerate(weights):
        mine = streams == s
        dealt = before[s] + np.cumsum(mine)
        exact = [Fraction((block * BLOCK + int(place)) * weight, sum(weights)) for place in places[::31]]
        assert max(abs(int(a) - b) for a, b in zip(dealt[::31], exact, strict=True)) <= 64
        assert draws[mine].tolist() == list(range(before[s], before[s] + int(mine.sum())))


def test_shares_that_round_down_never_take_back() -> None:
    """Differences of rounded sums would: 3 sequences in the first block, 2 after the second, in one of these."""
    weights = [1_000_000, *range(1, 40, 3)]
    dealer = Dealer(("x",), tuple(weights))
    rows = np.array([dealer.counts(block) for block in range(3_000)])
    assert (np.diff(rows, axis=0) >= 0).all()
    naive = [
        [nearest(b * BLOCK * sum(weights[:s]), sum(weights)) for s in range(len(weights) + 1)] for b in range(3_000)
    ]
    assert (np.diff(np.diff(np.array(naive), axis=1), axis=0) < 0).any()


def test_the_order_depends_on_seed_and_data_and_on_nothing_else() -> None:
    run = two_phases()
    assert run.order.digest(5) == two_phases().order.digest(5)
    other_seed = run_of(parse_plan(PLAN.replace("seed = 7", "seed = 8")), run.corpora)
    other_data = run_of(parse_plan(PLAN), [described({**STREAMS, "code/en": 10_000})] * 2)
    assert len({r.order.digest(5) for r in (run, other_seed, other_data)}) == 3
    longer = run_of(parse_plan(PLAN.replace("steps = 130", "steps = 131")), run.corpora)
    assert longer.order.digest(129) == run.order.digest(129)


def test_the_rolling_digest_chains_the_digests_of_steps() -> None:
    order = two_phases().order
    assert order.rolling(131) == order.rolling(131, order.rolling(100), since=101)
    assert order.rolling(131) != order.rolling(130)


@pytest.mark.parametrize(
    ("batches", "world", "microbatch", "complaint"),
    [
        ([24, 48], 5, 1, "24 sequences cannot be dealt to 5 ranks.*: 1, 2, 3, 4, 6, 8, 12, 24"),
        ([24], 8, 2, "microbatches of 2; world sizes that fit: 1, 2, 3, 4, 6, 12"),
        ([48, 20], 8, 1, "20 sequences.*: 1, 2, 4"),
        ([24], 48, 1, "world sizes that fit"),
        ([24], 1, 7, "no world size fits 7"),
        ([24], 0, 1, "at least 1"),
        ([24], 1, -1, "at least 1"),
    ],
)
def test_a_batch_that_cannot_be_dealt_is_refused_with_the_world_sizes_that_fit(
    batches: list[int], world: int, microbatch: int, complaint: str
) -> None:
    with pytest.raises(PlanError, match=complaint):
        check_world(batches, world, microbatch)


def test_a_batch_that_can_be_dealt_is_not_refused() -> None:
    for world, microbatch in ((1, 24), (2, 12), (3, 8), (8, 3), (24, 1)):
        check_world([24, 48], world, microbatch)


def test_the_order_can_be_computed_where_there_is_neither_pyarrow_nor_torch() -> None:
    program = "import sys, training.order; sys.exit(bool({'pyarrow', 'torch', 'manifests'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=REPO).returncode == 0
