import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from manifests.asset import Asset
from manifests.storage import open_storage
from stages.base import Upstream
from stages.tokens import Tokens
from stages.vocab import Vocab
from tests.stages.test_vocab import docs, plan_of, run, vocabulary
from tests.tokenizer.test_train import FOX, SPRING
from tokenizer.huggingface import HuggingFace
from tokenizer.opened import open_tokenizer

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra `hf`")
TEXTS = [FOX, SPRING, "", "  a\n\n\tb  ", "1234 ＡＢ", "<|endoftext|>", "a\0b ▁ 😀"]


@cache
def byte_level(lower: bool = False) -> bytes:
    """A byte-level BPE, trained here, as a tokenizer.json with a template, truncation and padding that must not act."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    if lower:
        model.normalizer = tokenizers.normalizers.Lowercase()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator([FOX, SPRING] * 9, trainer)
    model.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    model.enable_truncation(3)
    model.enable_padding(length=50)
    return model.to_str().encode()


def test_texts_come_back_whole_and_nothing_is_added() -> None:
    tokenizer = open_tokenizer(byte_level())
    assert isinstance(tokenizer, HuggingFace)
    for text in TEXTS:
        ids = tokenizer.encode(text.encode())
        assert tokenizer.decode(ids) == text
        assert tokenizer.eod not in ids
    assert len(tokenizer.encode(FOX.encode())) > 3
    assert len(tokenizer.encode(b"")) == 0


def test_documents_end_with_the_end_of_document() -> None:
    tokenizer = open_tokenizer(byte_level())
    ids, offsets = tokenizer.encode_documents(pa.array(TEXTS)[1:])
    found = [ids[a:b].tolist() for a, b in zip(offsets, offsets[1:], strict=False)]
    assert found == [[*tokenizer.encode(text.encode()).tolist(), tokenizer.eod] for text in TEXTS[1:]]
    assert ids.dtype == np.uint16
    assert [part.tolist() for part in tokenizer.encode_documents(pa.array([], pa.string()))] == [[], [0]]


def test_byte_pieces_are_those_of_torn_characters() -> None:
    tokenizer = open_tokenizer(byte_level())
    assert len(tokenizer.byte_ids) == 128
    for text, torn in (("龘", 3), ("fox", 0), ("é", 2)):
        assert np.isin(tokenizer.encode(text.encode()), tokenizer.byte_ids).sum() == torn


def test_the_digest_follows_what_decides_ids() -> None:
    digest = open_tokenizer(byte_level()).digest
    file = json.loads(byte_level())
    file["truncation"] = file["padding"] = None
    assert open_tokenizer(json.dumps(file, indent=4).encode()).digest == digest
    assert open_tokenizer(byte_level(lower=True)).digest != digest


@pytest.mark.parametrize("data", [b"{", b"{}", b'{"model": {"type": "BPE"}}', b'{"added_tokens": 1}'])
def test_what_is_no_tokenizer_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a tokenizer.json"):
        open_tokenizer(data)


def test_a_tokenizer_without_an_end_of_document_is_refused() -> None:
    with pytest.raises(ValueError, match="no end-of-document piece"):
        open_tokenizer(byte_level().replace(b"<|endoftext|>", b"<|unknown|>"))


@pytest.mark.parametrize(
    ("model", "fails"),
    [
        (lambda m: m.WordLevel({"fox": 0, "</s>": 1}, unk_token="[UNK]"), True),
        (lambda m: m.WordLevel({"fox": 0, "</s>": 1, "[UNK]": 2}, unk_token="[UNK]"), False),
        (lambda m: m.WordPiece({"fox": 0, "</s>": 1}, unk_token="[UNK]"), True),
        (lambda m: m.WordPiece({"fox": 0, "</s>": 1, "[UNK]": 2}, unk_token="[UNK]"), False),
        (lambda m: m.Unigram([("</s>", 0.0), ("fox", -1.0)], None, False), True),
        (lambda m: m.Unigram([("</s>", 0.0), ("fox", -1.0)], 0, False), False),
        (lambda m: m.BPE({"f": 0, "o": 1, "x": 2, "</s>": 3}, []), False),
    ],
)
def test_a_tokenizer_that_fails_at_unknown_characters_is_refused(
    model: Callable[[ModuleType], Any], fails: bool
) -> None:
    """The library fails in the middle of a corpus; one that only leaves them out does not, and `tokens` counts that."""
    data = tokenizers.Tokenizer(model(tokenizers.models)).to_str().encode()
    if fails:
        with pytest.raises(ValueError, match="no piece for unknown characters"):
            open_tokenizer(data)
    else:
        tokenizer = open_tokenizer(data)
        assert tokenizer.decode(tokenizer.encode("鱼fox".encode())) != "鱼fox"


def test_a_recipe_may_name_one(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "root"))
    file = tmp_path / "tokenizer.json"
    file.write_bytes(byte_level(lower=True))
    shard = docs(storage, "a1", [("en", FOX), ("zh", SPRING)])
    stage = Vocab("vocab", tokenizer=Asset(str(file), hashlib.sha256(file.read_bytes()).hexdigest()))
    assert set(stage.versions) == {"tokenizers"}
    model = vocabulary(storage, stage, [shard])
    assert (model.path or "").endswith(".json")
    assert model.rows == open_tokenizer(file.read_bytes()).size
    tokens = Tokens("tokens")
    plan = plan_of(storage, tokens, [shard], Upstream("vocab", model.stage_id, (model,)))
    rows = run(storage, tokens, plan, tokens.tasks(plan)[0])
    assert {row.lang for row in rows if row.kind == "tokens"} == {"en", "zh"}
    counts = rows[0].count()
    assert counts["tokens/not_exact"] == 1  # "The" has become "the"
    (facts,) = [name for name in counts if name.startswith("tokenizer/")]
    assert facts == f"tokenizer/{model.digest}/vocabulary={model.rows}/eod=0/uint16"
