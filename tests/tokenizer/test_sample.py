from collections import Counter

import pyarrow as pa
import pytest

from tests.tokenizer.test_train import FOX, SPRING
from tokenizer.sample import DOCUMENT_BYTES, Sample, Shares, order_of, part_of, unseen


def documents(n: int) -> list[tuple[bytes, str, str]]:
    return [
        (i.to_bytes(16, "big"), "zh" if i % 3 == 0 else "en", (SPRING if i % 3 == 0 else FOX) * (i % 5))
        for i in range(n)
    ]


def batch(rows: list[tuple[bytes, str, str]], source: str = "web") -> pa.RecordBatch:
    ids, langs, texts = zip(*rows, strict=True)
    columns = [pa.array(ids, pa.binary(16)), pa.array([source] * len(rows)), pa.array(langs), pa.array(texts)]
    return pa.record_batch(columns, names=["doc_id", "source", "lang", "text"])


def reference(rows: list[tuple[bytes, str, str]], share: int) -> list[bytes]:
    """In the order of choice, each language until its share is full."""
    filled: Counter[str] = Counter()
    texts = []
    for _, lang, text in sorted(rows, key=lambda row: order_of(row[0])):
        if filled[lang] < share:
            filled[lang] += len(text.encode())
            texts.append(text.encode())
    return texts


@pytest.mark.parametrize("share", [1, 100, 2_000, 10_000_000])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("capped", [False, True])
def test_the_sample_is_the_first_documents_by_hash_whatever_the_order(share: int, order: int, capped: bool) -> None:
    rows = documents(200)
    # The cap is found out only as the second language turns up.
    sample = Sample(Shares(3 * share, (), 2 * share) if capped else Shares(share))
    whole = batch(rows[::order])
    for start in range(0, 200, 7):
        sample.add(whole.slice(start, 7))
    assert sample.texts() == reference(rows, share)


def test_what_lies_behind_the_sample_is_unseen() -> None:
    rows = documents(200)
    sample = Sample(Shares(2_000))
    sample.add(batch(rows))
    chosen, counters = set(reference(rows, 2_000)), sample.counters()
    place = {lang: sum(1 for d, language, _ in rows if language == lang) for lang in ("en", "zh")}
    for lang in ("en", "zh"):
        found = [doc for doc, language, _ in rows if language == lang and not unseen("web", lang, doc, counters)]
        assert len(found) == counters[f"sample/{lang}/docs"] < place[lang]
        assert {text.encode() for doc, _, text in rows if doc in found} <= chosen
    assert unseen("web", "fr", rows[0][0], counters)


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (["en", "zh"], "zh"),
        (["zh", "books/*"], "books/*"),
        (["zh", "books/*", "books/zh"], "books/zh"),
        (["web/*", "books/en"], ""),
    ],
)
def test_the_most_exact_name_is_the_part_of_a_document(names: list[str], part: str) -> None:
    assert part_of("books", "zh", names) == part


def test_weights_choose_the_parts_and_their_shares() -> None:
    rows = documents(90)
    sample = Sample(Shares(1_000, (("books/*", 0.5), ("web/en", 2.0), ("zh", 1.0))))
    for source in ("web", "books"):
        sample.add(batch([(bytes([len(source)]) + doc[1:], lang, text) for doc, lang, text in rows], source))
    counters = sample.counters()
    filled = {
        name.split("/", 1)[1].removesuffix("/bytes"): n for name, n in counters.items() if name.endswith("/bytes")
    }
    assert sorted(filled) == ["books/*", "web/en", "zh"]
    for part, share in (("books/*", 500), ("web/en", 2_000), ("zh", 1_000)):
        assert share <= filled[part] < share + 4 * len(SPRING.encode())


def test_shares_differ_by_language_and_none_is_left_out_by_chance() -> None:
    sample = Sample(Shares(100, (("en", 0.0), ("zh", 0.01))))
    sample.add(batch(documents(50)))
    counters = sample.counters()
    assert counters["sample/zh/docs"] >= 1
    assert counters["sample/en/docs"] == 0


def test_a_long_document_gives_its_beginning() -> None:
    sample = Sample(Shares(1 << 30))
    sample.add(batch([(b"a" * 16, "zh", "好" * (DOCUMENT_BYTES // 3 + 9)), (b"b" * 16, "zh", "好")]))
    assert {len(text) for text in sample.texts()} == {DOCUMENT_BYTES - DOCUMENT_BYTES % 3, 3}
    assert sample.counters()["sample/zh/shortened"] == 1
