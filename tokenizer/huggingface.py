"""A `tokenizer.json` of Hugging Face, opened for encoding: texts in, the ids of the library `tokenizers` out.

Nothing is added to a text and nothing cut from it, whatever the file says of templates, truncation and padding; a text
that spells a special token gets the ids of its letters. The library is the extra `hf`, and this the one file that asks
for it. The file may normalise, so its texts are not promised to come back; `report` and the stage `tokens` count them.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tokenizer.model import BYTE_NAME, EOD_NAMES

PACKAGE = "tokenizers"
# The parts of the file that decide ids and texts; the others are templates for single models.
DECIDING = ("added_tokens", "normalizer", "pre_tokenizer", "model", "decoder")
# GPT-2's letters for the bytes from 0x80 on: printable Latin-1 stands for itself, the rest for what follows U+0100.
UPPER_BYTES = frozenset(map(chr, [*range(0xA1, 0xAD), *range(0xAE, 0x100), *range(0x122, 0x144)]))


class HuggingFace:
    """See tokenizer.opened.Encoder."""

    def __init__(self, data: bytes) -> None:
        self._model, parts = read(data)
        self.digest = hashlib.blake2b(
            json.dumps(parts, sort_keys=True, ensure_ascii=False).encode(), digest_size=16
        ).hexdigest()
        pieces = self._model.get_vocab(with_added_tokens=True)
        name = next((name for name in EOD_NAMES if name in pieces), None)
        if name is None:
            raise ValueError(f"it has no end-of-document piece: none of {', '.join(EOD_NAMES)}")
        self.eod: int = pieces[name]
        self.size = max(pieces.values()) + 1
        self.dtype = np.dtype(np.uint16 if self.size <= 1 << 16 else np.uint32)
        letters = UPPER_BYTES if "ByteLevel" in json.dumps(parts["decoder"]) else frozenset[str]()
        single = sorted(i for piece, i in pieces.items() if BYTE_NAME.fullmatch(piece) or piece in letters)
        self.byte_ids = np.array(single, self.dtype)
        self.exact = False
        self.forced = 0

    def encode(self, text: bytes) -> np.ndarray:
        """Token ids of one text, without the end of document."""
        return np.array(self._model.encode(text.decode(), add_special_tokens=False).ids, self.dtype)

    def encode_documents(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a string column, each text with its end of document, and int64[n + 1] offsets into them."""
        end = np.array([self.eod], self.dtype)
        documents = [part for text in texts.to_pylist() for part in (self.encode(text.encode()), end)]
        ids = np.concatenate([np.zeros(0, self.dtype), *documents])
        return ids, np.cumsum([0, *(len(document) + 1 for document in documents[::2])])

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of some ids; control pieces have none."""
        return str(self._model.decode(np.asarray(ids, np.int64).tolist(), skip_special_tokens=True))


def read(data: bytes) -> tuple[Any, dict[str, Any]]:
    """The library's object of a file, and the parts of it that decide ids; ValueError if the file is none."""
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ValueError(
            f"a tokenizer.json needs the package {PACKAGE}; install it with `pip install -c constraints.txt -e '.[hf]'`"
        ) from error
    try:
        whole = json.loads(data)
        parts = {name: whole[name] for name in DECIDING}
        model = tokenizers.Tokenizer.from_buffer(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("not a tokenizer.json of Hugging Face") from error
    if not spells_unknown(parts["model"]):
        raise ValueError(
            "it has no piece for unknown characters, without which the library encodes no text that has some"
        )
    model.no_truncation()
    model.no_padding()
    model.encode_special_tokens = True
    return model, parts


def spells_unknown(model: dict[str, Any]) -> bool:
    """Whether the library can encode any text: a BPE leaves out what it cannot spell, the other models fail."""
    if model.get("type") == "Unigram":
        return model.get("unk_id") is not None
    return model.get("type") not in ("WordLevel", "WordPiece") or model.get("unk_token") in model["vocab"]
