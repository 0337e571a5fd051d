import os
import subprocess
import sys
from collections import Counter

import pytest

from tokenizer.encode import Tokenizer
from tokenizer.model import BYTE, read_model
from tokenizer.train import FIXED, RUNS, SENTENCE_BYTES, rare_characters, sentences, split_at, train

FOX = "The quick brown fox jumps over the lazy dog. "
SPRING = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"


def corpus(n: int = 300) -> list[bytes]:
    """Texts of both languages with enough different words for some 1,000 pieces."""
    words = [f"{a}{b}{c}" for a in "bcdfgh" for b in "aeiou" for c in "lmnrst"]
    chars = [chr(0x4E00 + i) for i in range(200)]
    english = [" ".join(words[(i * k) % len(words)] for k in range(1, 40)) + f"\n\n    {FOX}" for i in range(1, n)]
    chinese = ["".join(chars[(i * k) % 200] for k in range(1, 60)) + "\n" + SPRING for i in range(1, n)]
    return [text.encode() for pair in zip(english, chinese, strict=True) for text in pair]


@pytest.mark.parametrize(
    ("size", "pieces"),
    [
        (512, 512),
        (600, 512),  # rounded down to a multiple of 256
        (1_000, 768),
    ],
)
def test_the_size_is_a_multiple_of_256_below_the_ceiling(size: int, pieces: int) -> None:
    assert len(read_model(train(corpus(), size).model).pieces) == pieces


def test_a_ceiling_that_the_text_does_not_support_gives_what_it_supports() -> None:
    supported = len(read_model(train(corpus(40), 64_000).model).pieces)
    assert supported % 256 == 0
    assert 512 <= supported < 64_000


@pytest.mark.parametrize(
    ("texts", "letters"),
    [
        ([], " "),
        ([b""], " "),
        ([b"\0"], " "),
        ([b"a"], "a \n\t"),
        (["好".encode()], "好 \n\t"),
        ([b"\n"], " "),
    ],
)
def test_the_least_vocabulary_is_the_fixed_pieces_white_space_and_the_letters(texts: list[bytes], letters: str) -> None:
    pieces = read_model(train(texts, 512).model).pieces
    assert len(pieces) == FIXED + len(letters)
    assert {piece.bytes().decode() for piece in pieces if piece.spells} == set(letters)
    assert b"".join(piece.bytes() for piece in pieces if piece.type == BYTE) == bytes(range(256))


@pytest.mark.parametrize(("size", "tokens"), [(512, 21), (1 << 14, 7)])
def test_full_width_forms_stay_and_have_pieces_where_there_is_room(size: int, tokens: int) -> None:
    tokenizer = Tokenizer(train([FOX.encode()], size).model)
    ids = tokenizer.encode("ＡＢ１２，　！".encode())
    assert len(ids) == tokens
    assert tokenizer.decode(ids) == "ＡＢ１２，　！"


def test_one_short_document_gives_a_small_vocabulary() -> None:
    pieces = read_model(train([FOX.encode()], 64_000).model).pieces
    assert FIXED < len(pieces) < 512
    assert "▁fox" in {piece.text for piece in pieces}


def test_special_tokens_come_first() -> None:
    pieces = read_model(train([b"a"], 512).model).pieces
    names = ["<unk>", "<s>", "</s>", "<|CLS|>", "<|SEP|>", "<|EOD|>", "<|MASK|>", "<|PAD|>", "<0x00>"]
    assert [piece.text for piece in pieces[:9]] == names


def test_a_size_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="300 pieces"):
        train([b"a"], 300)


def test_more_characters_than_room_cost_coverage_not_the_training() -> None:
    text = "".join(chr(0x4E00 + i) * (1 + 3_000 // (i + 1)) for i in range(3_000)).encode()
    pieces = read_model(train([text], 512).model).pieces
    letters = [piece.text for piece in pieces if piece.spells and len(piece.text) == 1]
    assert len(pieces) == 512
    assert "一" in letters  # the most frequent one
    assert len(letters) <= (512 - FIXED) // 2 + 3  # and white space


@pytest.mark.parametrize(
    ("counts", "room", "rare"),
    [
        ({"a": 9, "的": 1}, 2, []),
        ({"a": 9, "的": 1}, 1, ["的"]),
        ({"a": 1, "的": 1, "b": 1}, 2, ["的"]),  # of equally frequent ones the first by code point stays
        ({"的": 99_990, "a": 9, "龘": 1}, 9, ["a", "龘"]),  # the first covers 0.9999 alone
        ({"的": 99_989, "a": 10, "龘": 1}, 9, ["龘"]),
        ({}, 5, []),
    ],
)
def test_rare_characters(counts: dict[str, int], room: int, rare: list[str]) -> None:
    assert rare_characters(Counter(counts), room) == rare


@pytest.mark.parametrize(
    ("characters", "parts"),
    [
        ([], ["a]b的c", "的"]),
        (["的"], ["a]b", "c"]),
        (["]", "^"], ["a", "b的c", "的"]),
        (["-", "的", "]"], ["a", "b", "c"]),
    ],
)
def test_split_at(characters: list[str], parts: list[str]) -> None:
    assert list(split_at(characters, ["a]b的c", "的"])) == parts


@pytest.mark.parametrize(
    ("text", "expected", "taken", "long"),
    [
        ("one line\n两行", ["one line\n两行"], (0, 0), 0),
        ("a\0b▁c▅d", ["a", "b", "c", "d"], (1, 2), 0),
        ("\0\0", [], (2, 0), 0),
        # The line end goes to the next sentence, since SentencePiece strips those at the end.
        ("a" * 4000 + "\n" + "b" * 200, ["a" * 4000, "\n" + "b" * 200], (0, 0), 0),
        ("a" * 4095 + " " + "b" * 4, ["a" * 4095, " bbbb"], (0, 0), 1),
        ("好" * 1366, ["好" * 1365, "好"], (0, 0), 1),
        ("a" * 4096, ["a" * 4096], (0, 0), 0),
        ("a" * 4097, ["a" * 4096, "a"], (0, 0), 1),
    ],
)
def test_sentences(text: str, expected: list[str], taken: tuple[int, int], long: int) -> None:
    counters: Counter[str] = Counter()
    assert list(sentences([text.encode()], counters)) == expected
    assert (counters["sample/null_characters"], counters["sample/reserved_characters"]) == taken
    assert counters["sample/long_lines"] == long
    assert counters["sample/sentences"] == len(expected)
    assert all(len(sentence.encode()) <= SENTENCE_BYTES for sentence in expected)


def test_reserved_characters_do_not_hide_the_text_around_them() -> None:
    pieces = {piece.text for piece in read_model(train(["zz▅yy▁xx\0ww\tvv".encode()], 512).model).pieces}
    assert {"z", "y", "x", "w", "v", "\t"} <= pieces
    assert "▅" not in pieces


def test_every_process_trains_the_same_pieces() -> None:
    script = (
        "from tests.tokenizer.test_train import corpus\nfrom tokenizer.train import train\n"
        "from tokenizer.model import read_model\nprint(read_model(train(corpus(80), 700).model).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {read_model(train(corpus(80), 700).model).digest.encode() + b"\n"}


def test_white_space_is_cheap_even_where_none_was_learnt() -> None:
    flat = [text.replace(b"\n", b" ").replace(b"  ", b" ").replace(b"  ", b" ") for text in corpus()]
    tokenizer = Tokenizer(train(flat, 1_024).model)
    names = [piece.text for piece in read_model(train(flat, 1_024).model).pieces]
    assert len(names) == len(set(names)) == 1_024
    assert set(RUNS) <= set(names)
    for text, tokens in (("\n", 1), ("\n\n", 1), ("\t", 1), (" " * 4, 1), (" " * 8, 1), (" " * 16, 1), (" " * 32, 2)):
        assert len(tokenizer.encode(text.encode())) == tokens, text
    # One token for each space and byte pieces for the rest would be 30.
    code = tokenizer.encode(b"\n\n        \t\t\n    \n            ")
    assert len(code) == 8
