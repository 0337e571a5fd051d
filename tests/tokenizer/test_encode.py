import json
import random
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from tests.tokenizer.test_train import FOX, SPRING, corpus
from tokenizer import encode
from tokenizer.encode import Tokenizer, char_start
from tokenizer.merge import PART_CHARS
from tokenizer.model import ModelProto, read_model
from tokenizer.pairs import WORDS
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


@settings(max_examples=120, deadline=None)
@given(TEXTS)
def test_the_ids_are_those_of_sentencepiece(text: str) -> None:
    text = text.replace("▁", "")
    assert tokenizer().encode(text.encode()).tolist() == whole(text)


@cache
def letters() -> bytes:
    """A model in which any two of a few letters join: a text does not fall apart, and has many equal pairs."""
    chance = random.Random(2)
    return train(["".join(chance.choices("ab好啊", k=3_000)).encode() for _ in range(4)], 768).model


@settings(max_examples=80, deadline=None)
@given(st.text("ab好啊", max_size=400), st.integers(0, 90))
def test_parts_of_any_length_are_merged_as_sentencepiece_does(text: str, run: int) -> None:
    text += "a" * run
    theirs = SentencePieceProcessor(model_proto=letters()).encode(text)
    assert Tokenizer(letters()).encode(text.encode()).tolist() == theirs


def test_a_part_of_a_million_characters_is_cut_and_counted() -> None:
    fresh = Tokenizer(train([b"a" * 50], 512).model)
    for more, cuts in ((0, 0), (1, 1)):
        text = "a" * (PART_CHARS + more)
        assert fresh.decode(fresh.encode(text.encode())) == text
        assert fresh.forced == cuts


def test_what_was_met_before_changes_no_ids() -> None:
    chance = random.Random(3)
    words = [
        "".join(chance.choices("abhlu qu好的\n", k=chance.randrange(1, 12))) for _ in range(3 * WORDS)
    ]  # more than are remembered
    text = "".join(words * 2)
    assert tokenizer().encode(text.encode()).tolist() == whole(text)


def test_a_long_text_has_the_ids_of_the_whole() -> None:
    chance = random.Random(1)
    parts = [FOX, SPRING, CODE, "    ", "\n\n", "bal", "hut ", "一丁七", "😀"]
    text = "".join(chance.choices(parts, k=30_000))
    assert tokenizer().encode(text.encode()).tolist() == whole(text)


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
@given(st.lists(st.sampled_from(["a", " ", "b", "的", "\n"]), max_size=40).map("".join))
def test_pieces_across_spaces_are_found(text: str) -> None:
    proto = ModelProto.FromString(model())
    for i, piece in enumerate(["a▁", "a▁b", "▁▁a▁b", "的▁", "\n▁"]):
        proto.pieces.add(piece=piece, score=float(i), type=1)
    data = proto.SerializeToString()
    assert Tokenizer(data).encode(text.encode()).tolist() == SentencePieceProcessor(model_proto=data).encode(text)


@settings(max_examples=50, deadline=None)
@given(TEXTS)
def test_pieces_across_scripts_are_found(text: str) -> None:
    text = text.replace("▁", "") + "don't 3x ok."
    proto = ModelProto.FromString(model())
    for i, piece in enumerate(["'t", "n't", "3x", "k.", "▁(a"]):
        proto.pieces.add(piece=piece, score=float(i), type=1)
    data = proto.SerializeToString()
    assert Tokenizer(data).encode(text.encode()).tolist() == SentencePieceProcessor(model_proto=data).encode(text)


def test_what_only_occurs_inside_pieces_is_spelt_by_bytes() -> None:
    proto = ModelProto.FromString(model())
    proto.pieces.add(piece="龘龘", score=-1.0, type=1)
    data = proto.SerializeToString()
    text = "龘龘龘a龘"
    ids = Tokenizer(data).encode(text.encode())
    assert ids.tolist() == SentencePieceProcessor(model_proto=data).encode(text)
    assert Tokenizer(data).decode(ids) == text


def test_models_with_other_pieces_are_left_to_the_library() -> None:
    proto = ModelProto.FromString(model())
    proto.pieces.add(piece="fox ju", score=0.0, type=4)
    data = proto.SerializeToString()
    assert not Tokenizer(data).exact
    assert Tokenizer(data).encode(FOX.encode()).tolist() == SentencePieceProcessor(model_proto=data).encode(FOX)


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

    files = sorted((shared_data / "text").glob("*.jsonl.gz"))
    assert files
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line, _ in zip(file, range(150), strict=False)]
        texts = [row[key][:20_000] for row in rows for key in ("text", "en", "zh") if key in row]
        ids, offsets = tokenizer().encode_documents(pa.array(texts))
        for text, a, b in zip(texts, offsets, offsets[1:], strict=False):
            assert tokenizer().decode(ids[a : b - 1]) == text
            assert "▁" in text or ids[a : b - 1].tolist() == whole(text)
