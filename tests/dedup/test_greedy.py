"""Who is removed for whom, against quadratic plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.greedy import resolve


def arrays(edges):
    later, earlier, score = zip(*edges, strict=True) if edges else ((), (), ())
    return np.array(later, np.int64), np.array(earlier, np.int64), np.array(score, np.float64)


def reference(n, edges):
    """Visit documents in order; compare each with every earlier one that is kept: O(n^2), no components."""
    similarity = {}
    for later, earlier, score in edges:
        similarity[later, earlier] = max(score, similarity.get((later, earlier), 0.0))
    kept_by = []
    for v in range(n):
        twins = [(-similarity[v, u], u) for u in range(v) if kept_by[u] < 0 and (v, u) in similarity]
        kept_by.append(min(twins)[1] if twins else -1)
    return kept_by, [similarity[v, u] if u >= 0 else None for v, u in enumerate(kept_by)]


BY_HAND = [  # documents, edges (later, earlier, score), kept_by
    (3, [(1, 0, 0.9), (2, 1, 0.9)], [-1, 0, -1]),  # a chain removes only its middle
    (3, [(1, 0, 0.9), (2, 1, 0.9), (2, 0, 0.8)], [-1, 0, 0]),
    (4, [(2, 0, 0.8), (2, 1, 0.9), (3, 0, 0.9), (3, 1, 0.9)], [-1, -1, 1, 0]),  # best score, then lowest number
    (3, [(2, 1, 0.8), (2, 1, 0.9)], [-1, -1, 1]),  # an edge proposed twice
    (5, [(1, 0, 0.9), (2, 1, 0.9), (3, 2, 0.9), (4, 3, 0.9)], [-1, 0, -1, 2, -1]),
    (2, [], [-1, -1]),
    (0, [], []),
]


@pytest.mark.parametrize(("n", "edges", "expected"), BY_HAND)
def test_by_hand(n, edges, expected):
    assert resolve(n, *arrays(edges))[0].tolist() == expected == reference(n, edges)[0]


graphs = st.integers(1, 14).flatmap(
    lambda n: (
        st.tuples(
            st.just(n),
            st.lists(
                st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from([0.8, 0.9, 1.0]))
                .filter(lambda edge: edge[0] != edge[1])
                .map(lambda edge: (max(edge[:2]), min(edge[:2]), edge[2])),
                max_size=40,
            ),
        )
        if n > 1
        else st.just((1, []))
    )
)


@settings(max_examples=200, deadline=None)
@given(graphs)
def test_any_graph(graph):
    n, edges = graph
    kept_by, score = resolve(n, *arrays(edges))
    assert (kept_by.tolist(), [None if s != s else s for s in score.tolist()]) == reference(n, edges)
    assert all(kept_by[twin] == -1 for twin in kept_by if twin >= 0)  # whoever is named is kept


def test_edges_in_any_order_give_the_same():
    rng = np.random.default_rng(5)
    n, m = 3000, 2500
    later = rng.integers(1, n, m)
    earlier = (later * rng.random(m)).astype(np.int64)
    score, order = rng.choice([0.8, 0.85, 0.9], m), rng.permutation(m)
    for one, other in zip(
        resolve(n, later, earlier, score), resolve(n, later[order], earlier[order], score[order]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_long_chain():
    n = 200_000
    later, earlier = np.arange(1, n), np.arange(n - 1)
    assert resolve(n, later, earlier, np.ones(n - 1))[0].tolist() == [-1 if v % 2 == 0 else v - 1 for v in range(n)]


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ((1, 1, 0.9), "later document"),
        ((0, 1, 0.9), "later document"),
        ((3, 0, 0.9), r"\[0, 3\)"),
        ((1, 0, np.nan), "score"),
    ],
)
def test_wrong_edges_are_refused(edge, message):
    with pytest.raises(ValueError, match=message):
        resolve(3, *arrays([edge]))
