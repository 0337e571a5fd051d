import json
import random
import re
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from tests.tokenizer.test_train import FOX, SPRING, corpus
from tokenizer import encode
from tokenizer.encode import SHORT_WORD, WORD, Tokenizer, char_start, joined, word_pattern
from tokenizer.model import ModelProto, read_model
from tokenizer.train import train

CODE = "def f(x):\n    if x:\n\t\treturn 1234\n\n\n        # 全角：ＡＢＣ　"


@cache
def model() -> bytes:
    """A model that knows runs of spaces, line ends, tabs and both languages."""
    return train([*corpus(60), *([CODE.encode()] * 20)], 1_280).model


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer(model())


def whole(text: str) -> list[int]:
    """SentencePiece's own ids of a text in one piece."""
    return SentencePieceProcessor(model_proto=model()).encode(text)


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.text(" \n\t", max_size=6),
        st.sampled_from(
            ["▁", "▁▁", "\0", "😀", "👩‍👩‍👧", "1234", FOX, SPRING, CODE, "<s>", "<|EOD|>", "<0x0A>", "️", "e\u0301"]
        ),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=120, deadline=None)
@given(TEXTS)
def test_any_text_comes_back(text: str) -> None:
    ids = tokenizer().encode(text.encode())
    assert tokenizer().decode(ids) == text
    assert tokenizer().eod not in ids


@settings(max_examples=80, deadline=None)
@given(TEXTS, st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 12, 1_000_000]))
def test_cut_at_any_size_the_ids_are_those_of_the_whole(text: str, block: int, part: int, spaced: int) -> None:
    text = text.replace("▁", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "BLOCK_BYTES", block)
        patch.setattr(encode, "PART_BYTES", part)
        patch.setattr(encode, "SPACED", spaced)
        assert tokenizer().encode(text.encode()).tolist() == whole(text)
    assert tokenizer().forced == 0


def test_a_long_text_has_the_ids_of_the_whole() -> None:
    chance = random.Random(1)
    parts = [FOX, SPRING, CODE, "    ", "\n\n", "bal", "hut ", "一丁七", "😀"]
    text = "".join(chance.choices(parts, k=30_000))
    assert len(text.encode()) > 2 * encode.BLOCK_BYTES
    assert tokenizer().encode(text.encode()).tolist() == whole(text)


def test_a_cache_that_overflows_changes_no_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "WORDS", 3)
    fresh = Tokenizer(model())
    text = FOX * 5 + "bal hut " * 9
    assert fresh.encode(text.encode()).tolist() == whole(text)
    assert len(fresh._words) <= 3


def test_pairs_that_pieces_join() -> None:
    assert joined(["▁abc", "的", "好的"]) == {"▁a", "ab", "bc", "好的"}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("1234", ["1", "2", "3", "4"]),
        ("a▁", ["a", "<0xE2>", "<0x96>", "<0x81>"]),
        ("\0", ["<0x00>"]),
        ("▁", ["<0xE2>", "<0x96>", "<0x81>"]),
        (" ", ["▁"]),
        ("龘", ["<0xE9>", "<0xBE>", "<0x98>"]),
        ("", []),
    ],
)
def test_pieces(text: str, pieces: list[str]) -> None:
    names = [piece.text for piece in read_model(model()).pieces]
    assert [names[i] for i in tokenizer().encode(text.encode())] == pieces


def test_special_tokens_cannot_be_spelt() -> None:
    names = [piece.text for piece in read_model(model()).pieces]
    for name in names[:264]:
        ids = tokenizer().encode(name.encode())
        assert tokenizer().decode(ids) == name
        assert not {"<unk>", "<s>", "</s>", "<|EOD|>", "<|PAD|>"} & {names[i] for i in ids}


def test_documents_end_with_the_end_of_document() -> None:
    texts = pa.array(["x", FOX, "", SPRING])[1:]
    ids, offsets = tokenizer().encode_documents(texts)
    documents = [ids[a:b].tolist() for a, b in zip(offsets, offsets[1:], strict=False)]
    assert documents == [[*whole(FOX), tokenizer().eod], [tokenizer().eod], [*whole(SPRING), tokenizer().eod]]
    assert ids.dtype == np.uint16
    none, only = tokenizer().encode_documents(pa.array([], pa.string()))
    assert (none.tolist(), only.tolist()) == ([], [0])


def test_a_run_without_a_safe_cut_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "FORCED_BYTES", 100)
    monkeypatch.setattr(encode, "PART_BYTES", 10)
    fresh = Tokenizer(train([b"a" * 50], 512).model)
    text = "a" * 1_000
    assert fresh.decode(fresh.encode(text.encode())) == text
    assert fresh.forced > 0


@pytest.mark.parametrize(
    ("text", "end", "start"),
    [("abc", 1, 1), ("abc", 3, 3), ("abc", 9, 3), ("好的", 3, 3), ("好的", 4, 3), ("好的", 2, 0), ("a😀", 4, 1)],
)
def test_char_start(text: str, end: int, start: int) -> None:
    assert char_start(text.encode(), end) == start


def changed(**fields: bool) -> bytes:
    """The model with other fields of its normaliser."""
    proto = ModelProto.FromString(model())
    for name, value in fields.items():
        setattr(proto.normalizer_spec, name, value)
    return proto.SerializeToString()


@pytest.mark.parametrize("text", [FOX, SPRING, " a", "a▁b", "", "  \n x", FOX * 300])
def test_a_model_with_a_dummy_prefix_is_exact_too(text: str) -> None:
    data = changed(add_dummy_prefix=True)
    prefixed = Tokenizer(data)
    ids = prefixed.encode(text.encode())
    assert prefixed.exact
    assert prefixed.decode(ids) == text
    if "▁" not in text:
        assert ids.tolist() == SentencePieceProcessor(model_proto=data).encode(text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["a", " ", "b", "的", "\n"]), max_size=40).map("".join), st.integers(1, 9))
def test_pieces_across_spaces_are_found(text: str, part: int) -> None:
    proto = ModelProto.FromString(model())
    for i, piece in enumerate(["a▁", "a▁b", "▁▁a▁b", "的▁", "\n▁"]):
        proto.pieces.add(piece=piece, score=float(i), type=1)
    data = proto.SerializeToString()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "PART_BYTES", part)
        across = Tokenizer(data)
        assert across.encode(text.encode()).tolist() == SentencePieceProcessor(model_proto=data).encode(text)


@pytest.mark.parametrize(
    ("pattern", "text", "words"),
    [
        (WORD, "(don't  go,你 好 ", ["(don't", "  go,你", " 好", " "]),
        (SHORT_WORD, "(don't  go,你 好 ", ["(", "don", "'", "t", "  go", ",你", " 好", " "]),
        (SHORT_WORD, "café—no x=12\n\n  y", ["café—no", " x", "=12\n\n", "  y"]),
    ],
)
def test_words(pattern: re.Pattern[bytes], text: str, words: list[str]) -> None:
    assert [word.decode() for word in pattern.findall(text.encode())] == words


@pytest.mark.parametrize(
    ("pairs", "pattern"),
    [
        (["▁a", "ab", "▁▁", "é,", "好的", ",\n", "▁(", "aé"], SHORT_WORD),
        (["ab", "'t"], WORD),
        (["ab", "t1"], WORD),
        (["ab", "'t", "好▁"], None),
    ],
)
def test_words_are_cut_where_no_piece_joins(pairs: list[str], pattern: re.Pattern[bytes] | None) -> None:
    assert word_pattern(pairs) is pattern


@settings(max_examples=50, deadline=None)
@given(TEXTS)
def test_pieces_across_scripts_are_found(text: str) -> None:
    text = text.replace("▁", "") + "don't 3x ok."
    proto = ModelProto.FromString(model())
    for i, piece in enumerate(["'t", "n't", "3x", "k.", "▁(a"]):
        proto.pieces.add(piece=piece, score=float(i), type=1)
    data = proto.SerializeToString()
    assert Tokenizer(data).encode(text.encode()).tolist() == SentencePieceProcessor(model_proto=data).encode(text)


def test_a_model_that_normalises_is_encoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "WHOLE_BYTES", 200)
    data = changed(remove_extra_whitespaces=True)
    normalising = Tokenizer(data)
    text = "a  b " + SPRING
    assert not normalising.exact
    assert normalising.encode(text.encode()).tolist() == SentencePieceProcessor(model_proto=data).encode(text)
    assert normalising.forced == 0
    assert normalising.decode(normalising.encode((SPRING * 5).encode())) == SPRING * 5
    assert normalising.forced == 1


def test_the_digest_follows_what_decides_ids_and_not_the_file() -> None:
    proto = ModelProto.FromString(model())
    proto.trainer_spec.self_test_sample_size = 7
    same = proto.SerializeToString()
    assert same != model()
    assert read_model(same).digest == read_model(model()).digest
    proto.pieces[-1].score -= 1
    assert read_model(proto.SerializeToString()).digest != read_model(model()).digest
    assert read_model(changed(add_dummy_prefix=True)).digest != read_model(model()).digest


@pytest.mark.parametrize(
    ("pieces", "eod"),
    [
        (["<unk>", "</s>", "<EOD>"], 2),
        (["<unk>", "</s>"], 1),
    ],
)
def test_the_end_of_document_of_other_models(pieces: list[str], eod: int) -> None:
    proto = ModelProto()
    for piece in pieces:
        proto.pieces.add(piece=piece, score=0, type=3)
    assert read_model(proto.SerializeToString()).eod == eod


@pytest.mark.parametrize("data", [b"", b"not a model", ModelProto(pieces=[{"piece": "a"}]).SerializeToString()])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a SentencePiece model|no end-of-document piece"):
        read_model(data)


def test_real_texts_come_back_with_the_ids_of_sentencepiece(shared_data) -> None:
    import gzip

    for name in ("cmrc-wikipedia.zh.jsonl.gz", "tfdocs.en-snapshot.jsonl.gz"):
        with gzip.open(shared_data / "text" / name, "rt") as file:
            texts = [json.loads(line)["text"] for line, _ in zip(file, range(150), strict=False)]
        for text in texts:
            ids = tokenizer().encode(text.encode())
            assert tokenizer().decode(ids) == text
            assert "▁" in text or ids.tolist() == whole(text)
