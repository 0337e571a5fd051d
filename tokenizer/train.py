"""Training a tokenizer: texts in, a SentencePiece BPE model out, the same pieces in every process.

The size is a ceiling, since SentencePiece refuses a vocabulary larger than its text supports: the model gets the
largest multiple of 256 pieces that fits. Sentences keep their line ends, so that pieces for them are learnt. What
SentencePiece would skip in silence (its reserved characters, over-long sentences) is cut here, and counted. Indentation
stays cheap whatever the texts: line ends, tabs and runs of white space have pieces even where none were learnt.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import sentencepiece

from tokenizer.encode import char_start
from tokenizer.model import EOD, NORMAL, SPACE, parse

# Names as in MAP-Neo; control pieces, which no text can spell.
SPECIALS = ("<|CLS|>", "<|SEP|>", EOD, "<|MASK|>", "<|PAD|>")
STEP = 256
FIXED = 3 + len(SPECIALS) + 256  # <unk>, <s>, </s>, the specials and the bytes
SENTENCE_BYTES = 4096
COVERAGE = 0.9999  # share of the sample's characters that have a piece of their own (MAP-Neo); bytes spell the rest
# NUL, U+2581 (stands for a space inside SentencePiece) and U+2585 (stands for <unk>).
RESERVED = re.compile(b"(\0|\xe2\x96\x81|\xe2\x96\x85)")
# Without a piece a space would be spelt as the bytes of U+2581; a line end and a tab as bytes.
REQUIRED = SPACE + "\n\t"
# Full-width forms of ASCII and the ideographic space: rare in edited text, and three bytes each where they occur.
FULL_WIDTH = "\u3000" + "".join(map(chr, range(0xFF01, 0xFF5F)))
FULL_WIDTH_SIZE = 1 << 14  # smaller vocabularies have better use for 95 pieces
RUNS = (*(SPACE * length for length in (2, 4, 8, 16)), "\n\n", "\t\t", "\t\t\t\t")
LEARNT = 64  # fewer merges than this are too few to give some up for runs


@dataclass(frozen=True)
class Trained:
    """A model, and what became of its texts."""

    model: bytes
    counters: Counter[str]


def train(texts: Sequence[bytes], size: int) -> Trained:
    """A model of at most `size` pieces: a multiple of 256, or fewer than 512 where the texts support no more."""
    if size < 2 * STEP:
        raise ValueError(
            f"a vocabulary of {size} pieces has no room beside the {FIXED} fixed ones; give {2 * STEP} or more"
        )
    size -= size % STEP
    counters: Counter[str] = Counter()
    alphabet: Counter[str] = Counter()
    for sentence in sentences(texts, counters):
        alphabet.update(sentence)
    rare = rare_characters(alphabet, (size - FIXED) // 2)
    counters["sample/rare_characters"] = sum(alphabet[character] for character in rare)
    required = REQUIRED + (FULL_WIDTH if size >= FULL_WIDTH_SIZE else "")
    model = fit(texts, size, rare, required)
    supported = sentencepiece.SentencePieceProcessor(model_proto=model).piece_size()
    if supported % STEP and supported > 2 * STEP:
        model = fit(texts, supported - supported % STEP, rare, required)
    return Trained(with_runs(model), counters)


def with_runs(model: bytes) -> bytes:
    """The same model with a piece for each of RUNS: one that was not learnt takes the place of one of the last merges.

    No other piece is made of the last merges, and twice a run is the next one, so that merging leads to them.
    """
    proto = parse(model)
    missing = [run for run in RUNS if run not in {piece.piece for piece in proto.pieces}]
    merges = [
        piece for piece in proto.pieces if piece.type == NORMAL and len(piece.piece) > 1 and piece.piece not in RUNS
    ]
    if not missing or len(merges) < LEARNT:
        return model
    for piece, run in zip(merges[-len(missing) :], missing, strict=True):
        piece.piece = run
    return bytes(proto.SerializeToString(deterministic=True))


def fit(texts: Sequence[bytes], size: int, rare: Sequence[str], required: str) -> bytes:
    """One run of SentencePiece: a model of `size` pieces, or as many as the texts support."""
    out = io.BytesIO()
    # SentencePiece wants one sentence that is not empty; a space, which is a piece in any case, changes nothing.
    common = chain([" "], split_at(rare, sentences(texts, Counter())))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=common,
        model_writer=out,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars=required,
        control_symbols=list(SPECIALS),
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        byte_fallback=True,
        max_sentence_length=SENTENCE_BYTES,
        num_threads=1,
        minloglevel=2,
    )
    return out.getvalue()


def rare_characters(alphabet: Counter[str], room: int) -> list[str]:
    """The characters that get no piece: those beyond COVERAGE of the text, and those for which there is no room.

    SentencePiece has a setting for it, but refuses to go below 0.98, which Chinese needs in small vocabularies.
    """
    ranked = sorted(alphabet, key=lambda character: (-alphabet[character], character))
    least, kept = COVERAGE * alphabet.total(), 0
    for place, character in enumerate(ranked):
        if kept >= least or place >= room:
            return ranked[place:]
        kept += alphabet[character]
    return []


def split_at(characters: Sequence[str], sentences: Iterable[str]) -> Iterator[str]:
    """The parts of sentences between some characters, without empty ones."""
    if not characters:
        yield from sentences
        return
    pattern = re.compile("[" + "".join(map(re.escape, characters)) + "]")
    for sentence in sentences:
        yield from filter(None, pattern.split(sentence))


def sentences(texts: Sequence[bytes], counters: Counter[str]) -> Iterator[str]:
    """The texts as sentences of at most 4 KiB that end before a line end where one is near."""
    for text in texts:
        parts = RESERVED.split(text)
        nulls = parts[1::2].count(b"\0")
        counters["sample/null_characters"] += nulls
        counters["sample/reserved_characters"] += len(parts) // 2 - nulls
        for part in parts[::2]:
            start = 0
            while start < len(part):
                end = sentence_end(part, start)
                counters["sample/long_lines"] += end < len(part) and part[end] != 0x0A
                counters["sample/sentences"] += 1
                yield part[start:end].decode()
                start = end


def sentence_end(text: bytes, start: int) -> int:
    """Where the sentence from `start` ends: at the text's end, before a line end, before a space, or where it must."""
    limit = start + SENTENCE_BYTES
    if len(text) <= limit:
        return len(text)
    for mark in (b"\n", b" "):
        end = text.rfind(mark, start + 1, limit + 1)
        if end > 0:
            return end
    return start + char_start(text[start : limit + 1], SENTENCE_BYTES)
