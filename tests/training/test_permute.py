import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training import reference
from training.permute import Shuffle, permute, round_keys, unpermute


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 1000, 1024, 1025])
def test_it_is_a_bijection_with_an_inverse(n: int) -> None:
    keys = round_keys("seed", n)
    images = [permute(x, n, keys) for x in range(n)]
    assert sorted(images) == list(range(n))
    assert [unpermute(y, n, keys) for y in images] == list(range(n))
    assert permute(np.arange(n, dtype=np.uint64), n, keys).tolist() == images
    assert images == [reference.permuted(x, n, "seed", n) for x in range(n)]


@given(st.integers(1, 1 << 50), st.integers(0, 1 << 50), st.text("数ab", max_size=4))
@settings(max_examples=60, deadline=None)
def test_large_ranges_have_an_inverse_too(n: int, x: int, label: str) -> None:
    keys = round_keys(label)
    assert unpermute(permute(x % n, n, keys), n, keys) == x % n


def test_small_ranges_meet_every_order_about_as_often() -> None:
    orders = [tuple(permute(x, 3, round_keys(label)) for x in range(3)) for label in range(3_000)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert min(counts) > 400  # 500 expected, standard deviation 20


def test_neighbours_part() -> None:
    """Neither place nor distance to the neighbour survives: both correlations of 4,096 places are noise."""
    images = permute(np.arange(4_096, dtype=np.uint64), 4_096, round_keys("x")).astype(np.int64)
    assert abs(np.corrcoef(images, np.arange(4_096))[0, 1]) < 0.06
    assert abs(np.corrcoef(images[:-1], images[1:])[0, 1]) < 0.06


def test_another_program_would_compute_the_same() -> None:
    """Numbers as they were when the order was fixed: a change of any of them changes every run."""
    assert [permute(x, 10, round_keys("网页/zh", 0)) for x in range(10)] == [0, 9, 8, 4, 3, 1, 5, 7, 6, 2]


SHUFFLES = [
    # tokens, sequence, window: one short window; full windows only; a last window without a whole sequence
    (1_000, 10, 4_000),
    (801, 10, 200),
    (805, 10, 200),
    (1_000, 10, 200),
    (12, 10, 200),
]


@pytest.mark.parametrize(("tokens", "sequence", "window"), SHUFFLES)
def test_each_epoch_gives_every_sequence_once_in_another_order(tokens: int, sequence: int, window: int) -> None:
    shuffle = Shuffle(("s",), tokens, sequence, window)
    count = (tokens - 1) // sequence
    assert shuffle.count == count
    found = [shuffle.at(draw) for draw in range(3 * count)]
    epochs = [found[i * count : (i + 1) * count] for i in range(3)]
    for i, epoch in enumerate(epochs):
        assert sorted(epoch) == [(i, q) for q in range(count)]
    if count > 50:
        assert len({tuple(q for _, q in epoch) for epoch in epochs}) == 3
    assert found == [reference.sequence(draw, tokens, sequence, window, "s") for draw in range(3 * count)]
    assert [shuffle.draw(*at) for at in found] == list(range(3 * count))
    many = shuffle.many(np.arange(3 * count)[::-1])
    assert list(zip(many[0].tolist(), many[1].tolist(), strict=True)) == found[::-1]


def test_draws_that_follow_each_other_are_close_in_the_stream() -> None:
    """A window is drawn to its end before the next is begun, so what is open at a time is one window."""
    shuffle = Shuffle(("s",), 10_241, 10, 640)
    windows = [shuffle.at(draw)[1] // 64 for draw in range(shuffle.count)]
    runs = [window for i, window in enumerate(windows) if i == 0 or windows[i - 1] != window]
    assert sorted(runs) == list(range(16))
    assert runs != list(range(16))
    inside = [shuffle.at(draw)[1] % 64 for draw in range(64)]
    assert sorted(inside) == list(range(64))
    assert sum(abs(a - b) for a, b in zip(inside, inside[1:], strict=False)) > 64 * 10  # neighbours: 64/3 on average


@given(st.integers(2, 5_000), st.sampled_from([(10, 20), (20, 10), (8, 40)]), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_another_length_goes_on_at_a_window_that_was_not_begun(tokens: int, sizes: tuple[int, int], draws: int) -> None:
    old = Shuffle(("s",), tokens, sizes[0], 200 * sizes[0])
    new = Shuffle(("s",), tokens, sizes[1], old.window)
    if not old.count or not new.count:
        return
    draws = min(draws, old.count)
    epoch, place = old.next_window(draws)
    seen = {old.at(draw)[1] * sizes[0] // old.window for draw in range(draws)}
    if epoch == 0:
        later = {new.at(draw)[1] * sizes[1] // new.window for draw in range(new.start(0, place), new.count)}
        assert not seen & later
        assert old.start(epoch, place) >= draws
    else:
        assert seen >= {w for w in range(old.windows) if w * old.full < old.count}
