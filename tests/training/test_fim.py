from collections import Counter

import numpy as np
import pytest

from training.fim import turn, turned_piece
from training.plan import Fim

PRE, MID, SUF, EOD = 90, 91, 92, 5
ALWAYS = Fim(1.0, PRE, MID, SUF, 0.0)
SUFFIX_FIRST = Fim(1.0, PRE, MID, SUF, 1.0)


def array(*tokens: int) -> np.ndarray:
    return np.array(tokens, np.uint16)


@pytest.mark.parametrize(
    ("fim", "piece", "cuts", "expected"),
    [
        # The cuts of a piece of n tokens are two hashes mod n + 1, the smaller first.
        (ALWAYS, [10, 11, 12, 13, EOD], (1, 3), [PRE, 10, SUF, 13, MID, 11, 12, EOD]),
        (ALWAYS, [10, 11, 12, 13, EOD], (3, 1), [PRE, 10, SUF, 13, MID, 11, 12, EOD]),
        (ALWAYS, [10, 11, 12, 13, EOD], (6, 8), [PRE, 10, SUF, 13, MID, 11, 12, EOD]),
        (ALWAYS, [10, 11, 12], (0, 3), [PRE, SUF, MID, 10, 11, 12]),  # a piece that is cut off has no end
        (SUFFIX_FIRST, [10, 11, 12, 13, EOD], (1, 3), [PRE, SUF, 13, MID, 10, 11, 12, EOD]),
        (ALWAYS, [10, 11, EOD], (0, 1), [10, 11, EOD]),  # too short
        (ALWAYS, [EOD], (0, 1), [EOD]),
        (Fim(0.0, PRE, MID, SUF), [10, 11, 12, 13, EOD], (1, 3), [10, 11, 12, 13, EOD]),
    ],
)
def test_a_piece_is_turned_round_its_middle(
    fim: Fim, piece: list[int], cuts: tuple[int, int], expected: list[int]
) -> None:
    assert turned_piece(array(*piece), fim, EOD, (0, 0, *cuts)).tolist() == expected


def window() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four pieces of 20, 3, 30 and 11 tokens: the end of a document, two documents, the beginning of one."""
    sizes = [20, 3, 30, 11]
    tokens = np.arange(100, 164).astype(np.uint16)
    tokens[np.cumsum(sizes)[:3] - 1] = EOD
    starts = np.array([0, 20, 23, 53])
    return tokens, starts, starts + 1_000 - np.array([7, 0, 0, 0])


def test_what_is_pushed_out_is_what_the_marks_take() -> None:
    tokens, starts, documents = window()
    turned = turn(tokens, starts, documents, 1_000, ALWAYS, EOD, ("s",))
    assert len(turned.tokens) == 64
    assert turned.starts.tolist() == [0, 23, 26, 59]  # the piece of three tokens is too short
    assert turned.pushed_out.tolist() == [0, 0, 0, 9]
    kept = Counter(turned.tokens.tolist())
    assert Counter(tokens.tolist()) - kept <= Counter(tokens[53:].tolist())
    assert kept[PRE] == 3


def test_pieces_that_are_pushed_out_whole_are_counted() -> None:
    tokens = array(*range(10, 15), EOD, *range(20, 25), EOD, 30, EOD)
    turned = turn(tokens, np.array([0, 6, 12]), np.array([0, 6, 12]), 0, ALWAYS, EOD, ("s",))
    assert turned.starts.tolist() == [0, 9]
    assert turned.pushed_out.tolist() == [0, 4, 2]


def test_choices_hang_on_document_place_and_label() -> None:
    tokens, starts, documents = window()
    half = Fim(0.5, PRE, MID, SUF)
    turned = [turn(tokens, starts, documents, 1_000, half, EOD, ("s", epoch)).tokens.tolist() for epoch in range(20)]
    again = [turn(tokens, starts, documents, 1_000, half, EOD, ("s", epoch)).tokens.tolist() for epoch in range(20)]
    assert turned == again
    assert len(set(map(tuple, turned))) > 12


def test_the_pieces_of_one_document_choose_for_themselves() -> None:
    """A document of 5,000 tokens, in windows of 50: its second piece is not turned because its first was."""
    half, tokens = Fim(0.5, PRE, MID, SUF), np.full(50, 10, np.uint16)
    turned = [turn(tokens, np.array([0]), np.array([0]), first, half, EOD, ()).tokens for first in range(0, 5_000, 50)]
    assert 30 <= sum(part[0] == PRE for part in turned) <= 70


def test_rates_are_kept() -> None:
    """Of 4,000 pieces 0.3 are turned, of these 0.25 suffix first; limits are four standard deviations."""
    fim = Fim(0.3, PRE, MID, SUF, 0.25)
    tokens = np.tile(array(10, 11, 12, 13, 14, 15, 16, 17, 18, EOD), 4_000)
    starts = np.arange(0, 40_000, 10)
    parts = [turn(tokens[s : s + 10], np.array([0]), np.array([s]), int(s), fim, EOD, ()).tokens for s in starts]
    marked = [part.tolist() for part in parts if part[0] == PRE]
    assert 1_084 <= len(marked) <= 1_316
    # Prefix first may look like suffix first where the prefix is empty: a tenth or so of the cuts.
    suffix_first = sum(part[1] == SUF for part in marked) / len(marked)
    assert 0.25 < suffix_first < 0.55
