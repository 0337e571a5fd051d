"""SentencePiece's model format: the bytes of a model file in, the parts that decide token ids and their digest out."""

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

# The class is made when the module is imported, where type checkers do not see it.
ModelProto: Any = vars(sentencepiece_model_pb2)["ModelProto"]
# Numbers of the format.
NORMAL, USER_DEFINED, UNUSED, BYTE = 1, 4, 5, 6
BPE = 2

BYTE_NAME = re.compile("<0x[0-9A-F]{2}>")
SPACE = "\u2581"  # stands for a space in pieces
EOD = "<|EOD|>"
# End-of-document pieces, best first, for models that were trained elsewhere.
EOD_NAMES = (EOD, "<EOD>", "<|endoftext|>", "</s>")


@dataclass(frozen=True)
class Piece:
    """One entry of a vocabulary."""

    text: str
    score: float
    type: int

    @property
    def spells(self) -> bool:
        """Whether text can be made of it: it is neither a byte nor a control piece."""
        return self.type in (NORMAL, USER_DEFINED, UNUSED)

    def bytes(self) -> bytes:
        """What it stands for in a text; nothing for control pieces."""
        if self.type == BYTE:
            return bytes.fromhex(self.text[3:5])
        return self.text.replace(SPACE, " ").encode() if self.spells else b""


@dataclass(frozen=True)
class Model:
    """A model file, read. Its identity is what decides ids, not the file: see `digest`."""

    pieces: tuple[Piece, ...]
    eod: int  # id of the end-of-document piece
    dummy_prefix: bool
    exact: bool  # a BPE that changes no character and can spell every one
    digest: str


def read_model(data: bytes) -> Model:
    """The parts of a model file; ValueError if it is none, or has no piece that ends a document."""
    proto = parse(data)
    pieces = tuple(Piece(piece.piece, piece.score, piece.type) for piece in proto.pieces)
    ids = {piece.text: i for i, piece in enumerate(pieces)}
    eod = next((ids[name] for name in EOD_NAMES if name in ids), None)
    if eod is None:
        raise ValueError(f"it has no end-of-document piece: none of {', '.join(EOD_NAMES)}")
    prefix = proto.normalizer_spec.add_dummy_prefix
    return Model(pieces, eod, prefix, _exact(proto, pieces), _digest(proto, pieces))


def parse(data: bytes) -> Any:
    """The protocol buffer of a model file."""
    try:
        proto = ModelProto.FromString(data)
    except DecodeError as error:
        raise ValueError("not a SentencePiece model") from error
    if not proto.pieces:
        raise ValueError("not a SentencePiece model: it has no pieces")
    return proto


def _digest(proto: Any, pieces: tuple[Piece, ...]) -> str:
    """Digest over pieces, scores, types, kind of model and normaliser."""
    total = hashlib.blake2b(digest_size=16)
    trainer, normaliser = proto.trainer_spec, proto.normalizer_spec
    flags = (
        trainer.byte_fallback,
        trainer.treat_whitespace_as_suffix,
        normaliser.add_dummy_prefix,
        normaliser.remove_extra_whitespaces,
        normaliser.escape_whitespaces,
    )
    total.update(struct.pack("<B5?Q", trainer.model_type, *flags, len(normaliser.precompiled_charsmap)))
    total.update(normaliser.precompiled_charsmap)
    for piece in pieces:
        name = piece.text.encode()
        total.update(struct.pack("<QfB", len(name), piece.score, piece.type) + name)
    return total.hexdigest()


def _exact(proto: Any, pieces: tuple[Piece, ...]) -> bool:
    trainer, normaliser = proto.trainer_spec, proto.normalizer_spec
    return (
        trainer.model_type == BPE
        and trainer.byte_fallback
        and not trainer.treat_whitespace_as_suffix
        and not normaliser.precompiled_charsmap
        and not normaliser.remove_extra_whitespaces
        and normaliser.escape_whitespaces
        and not proto.denormalizer_spec.precompiled_charsmap
        and any(piece.text == SPACE for piece in pieces)
        and all(piece.type == NORMAL for piece in pieces if piece.spells)
        and sum(piece.type == BYTE for piece in pieces) == 256
    )
