"""Any tokenizer behind one face: the bytes of a model file in, something that encodes and decodes out. The file's first
byte tells SentencePiece's format from Hugging Face's JSON."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from tokenizer.encode import Tokenizer
from tokenizer.huggingface import HuggingFace


class Encoder(Protocol):
    """What token shards are written with."""

    digest: str  # over what decides ids, not over the file
    exact: bool  # every text comes back byte for byte
    eod: int
    size: int  # ids are below it
    dtype: np.dtype
    byte_ids: np.ndarray  # ids of pieces that spell a single byte for want of a better one
    forced: int  # cuts of long texts at places that are not proven safe, so far

    def encode(self, text: bytes) -> np.ndarray:
        """Token ids of one text, without the end of document."""

    def encode_documents(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a string column, each text with its end of document, and int64[n + 1] offsets into them."""

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of some ids; control pieces have none."""


def suffix(data: bytes) -> str:
    """The usual ending of the name of a model file."""
    return ".json" if data.lstrip()[:1] == b"{" else ".model"


def open_tokenizer(data: bytes) -> Encoder:
    """The tokenizer in a model file; ValueError if it is none, or has no piece that ends a document."""
    return HuggingFace(data) if suffix(data) == ".json" else Tokenizer(data)
