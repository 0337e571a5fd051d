"""MinHash: the published vector, plain Python on integers, and the statistics that make it a similarity estimate."""

import random

import numpy as np
import pyarrow as pa
import pytest

from dedup.jaccard import jaccard_sorted
from dedup.minhash import SKETCH_BITS, band_hashes, detection, estimate, signatures, sketches
from dedup.shingles import shingle_sets

HAN = [chr(c) for c in range(0x4E00, 0x4E00 + 3000)]
WORDS = [f"w{i}" for i in range(3000)]


def splitmix(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


def reference_signature(hashes, permutations, seed):
    out = []
    for i in range(1, permutations + 1):
        word = splitmix((splitmix(seed) + i * 0x9E3779B97F4A7C15) % 2**64)
        mask, factor = word % 2**32, word >> 32 | 1
        out.append(min(((h % 2**32 ^ mask) * factor % 2**32 for h in hashes), default=2**32 - 1))
    return out


def edited_pairs(seed, vocabulary, joint, count=300):
    """Pairs of texts, the second with a random share of its units replaced."""
    rng, texts = random.Random(seed), []
    for _ in range(count):
        units = rng.choices(vocabulary, k=rng.randrange(30, 400))
        changed = [rng.choice(vocabulary) if rng.random() < 0.04 else unit for unit in units]
        texts += [joint.join(units), joint.join(changed)]
    return pa.array(texts)


def test_published_vector():
    values, filled = signatures(pa.array(["The quick brown fox jumps over the lazy dog", "天地玄黄，宇宙洪荒。", "—"]))
    assert filled.tolist() == [True, True, False]
    assert values[:, [0, 1, 62, 125]].tolist() == [
        [533707446, 851795550, 229281368, 1025273198],
        [1403059620, 125571573, 1151893533, 136873821],
        [2**32 - 1] * 4,
    ]
    assert [f"{h:016x}" for h in band_hashes(values, 18, 7)[:2, [0, 17]].ravel().tolist()] == [
        *("434bc31dd9c3a3c7", "00eb45a698b494e3"),
        *("e6bded63e6f3ded3", "e50128cd9c3e209a"),
    ]


def test_signature_is_the_minimum_over_the_distinct_shingles():
    rng = random.Random(3)
    texts = ["", "one", "数据 数据", " ".join(rng.choices(WORDS, k=900)), "".join(rng.choices(HAN, k=5000))]
    column = pa.array(["skipped", *texts]).slice(1)
    offsets, hashes = shingle_sets(column)
    for permutations, seed in ((20, 1), (5, 2), (1, 1)):
        values, filled = signatures(column, permutations, seed)
        rows = [hashes[offsets[i] : offsets[i + 1]].tolist() for i in range(len(texts))]
        assert values.tolist() == [reference_signature(row, permutations, seed) for row in rows]
        assert filled.tolist() == [bool(row) for row in rows]


def test_more_permutations_extend_a_signature_and_another_seed_changes_it():
    column = pa.array(["a b c d e f g", "汉字排版与数据"])
    assert (signatures(column, 126)[0][:, :20] == signatures(column, 20)[0]).all()
    assert not (signatures(column, 126, 1)[0] == signatures(column, 126, 2)[0]).any()


@pytest.mark.parametrize(("vocabulary", "joint"), [(WORDS, " "), (HAN, "")], ids=["en", "zh"])
def test_estimate_is_unbiased_and_has_the_binomial_variance(vocabulary, joint):
    column = edited_pairs(11, vocabulary, joint)
    left, right = np.arange(0, len(column), 2), np.arange(1, len(column), 2)
    exact = jaccard_sorted(*shingle_sets(column), left, right)
    values = signatures(column)[0]
    error = (values[left] == values[right]).mean(axis=1) - exact
    variance = exact * (1 - exact) / 126
    assert 0.4 < exact.min() < 0.75 < 0.9 < exact.max()  # the pairs do cover the range
    assert abs(error.sum()) < 4 * np.sqrt(variance.sum())
    assert 0.75 < (error**2).sum() / variance.sum() < 1.3


@pytest.mark.parametrize(("vocabulary", "joint"), [(WORDS, " "), (HAN, "")], ids=["en", "zh"])
def test_sketches_estimate_without_bias_with_the_binomial_variance(vocabulary, joint):
    column = edited_pairs(13, vocabulary, joint)
    left, right = np.arange(0, len(column), 2), np.arange(1, len(column), 2)
    exact = jaccard_sorted(*shingle_sets(column), left, right)
    error = estimate(sketches(signatures(column)[0]), left, right) - exact
    variance = (1 - exact**2) / SKETCH_BITS
    assert abs(error.sum()) < 4 * np.sqrt(variance.sum())
    assert 0.75 < (error**2).sum() / variance.sum() < 1.3


def test_sketches_by_hand():
    values = np.zeros((3, SKETCH_BITS), np.uint32)
    values[1, 0] = values[1, 70] = 1  # the product of the constant and 1 has its top bit set
    values[2] = 1
    sketch = sketches(values)
    assert sketch[0].tolist() == [0, 0]
    assert sketch[1].tolist() == [1, 1 << 6]
    assert estimate(sketch, np.array([0, 0]), np.array([1, 2])).tolist() == [1 - 4 / SKETCH_BITS, -1]
    with pytest.raises(ValueError, match="96 permutations, not 20"):
        sketches(values[:, :20])


# (bands, rows); the similarity that each is meant for, and the share of such pairs that it proposes.
PRESETS = {
    "18x7": (18, 7),  # 0.8, 0.986
    "25x5": (25, 5),  # 0.7, 0.990
    "9x13": (9, 13),  # 0.8, 0.399: MAP-Neo (arXiv 2405.19327, section 4.1.2)
}


@pytest.mark.parametrize(("vocabulary", "joint"), [(WORDS, " "), (HAN, "")], ids=["en", "zh"])
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_share_of_pairs_with_a_common_band_follows_the_curve(vocabulary, joint, preset):
    column = edited_pairs(12, vocabulary, joint)
    left, right = np.arange(0, len(column), 2), np.arange(1, len(column), 2)
    expected = np.array([detection(s, *PRESETS[preset]) for s in jaccard_sorted(*shingle_sets(column), left, right)])
    bands = band_hashes(signatures(column)[0], *PRESETS[preset])
    found = (bands[left] == bands[right]).any(axis=1)
    assert abs(found.sum() - expected.sum()) < 4 * np.sqrt((expected * (1 - expected)).sum())


@pytest.mark.parametrize(
    ("preset", "similarity", "share"),
    [("18x7", 0.8, 0.986), ("25x5", 0.7, 0.990), ("9x13", 0.8, 0.399), ("9x13", 0.5, 0.001), ("9x13", 0.95, 0.998)],
)
def test_detection(preset, similarity, share):
    assert round(detection(similarity, *PRESETS[preset]), 3) == share


def test_bands_depend_on_all_their_rows_and_on_their_number():
    values = np.zeros((4, 6), np.uint32)
    values[1, 1], values[2, 5], values[3, [0, 1]] = 1, 1, [1, 0]
    bands = band_hashes(values, 3, 2)
    assert len(set(bands[0].tolist())) == 3  # equal rows, different band numbers
    assert (bands[1:] == bands[0]).tolist() == [[False, True, True], [True, True, False], [False, True, True]]
    assert bands[1, 0] != bands[3, 0]  # (0, 1) is not (1, 0)
    assert (band_hashes(values, 2, 2) == bands[:, :2]).all()
    with pytest.raises(ValueError, match="need 8 permutations, not 6"):
        band_hashes(values, 4, 2)


def test_documents_without_shingles_are_marked():
    for batch in (["", "\n", "!!!", "，。"], []):
        values, filled = signatures(pa.array(batch, pa.string()))
        assert values.shape == (len(batch), 126)
        assert not filled.any()
