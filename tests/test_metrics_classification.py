"""Accuracy, top k, confusion and McNemar's test against values counted by hand and by enumeration."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from partscope import metrics
from partscope.errors import DatasetError, OptionError
from partscope.metrics import McNemar
from partscope.metrics import classification as measured

TRUTH = ["a", "a", "a", "b"]
GUESS = ["a", "a", "c", "c"]
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


def test_micro_and_macro_by_hand() -> None:
    assert metrics.accuracy(TRUTH, GUESS) == 0.5
    assert metrics.macro_accuracy(TRUTH, GUESS) == pytest.approx((2 / 3 + 0) / 2)


def test_per_class_and_confusion_by_hand() -> None:
    table = metrics.confusion(TRUTH, GUESS, ["a", "b", "c"])
    assert table.tolist() == [[2, 0, 1], [0, 0, 1], [0, 0, 0]]
    a, b, c = metrics.per_class(TRUTH, GUESS, ["a", "b", "c"])
    assert a == (3, 2, 2)
    assert (a.recall, a.precision) == (2 / 3, 1.0)
    assert (b.recall, c.precision) == (0.0, 0.0)
    assert np.isnan([b.precision, c.recall]).all()


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
@given(PAIRS)
def test_macro_is_scikit_learns_balanced_accuracy(pairs: list[tuple[int, int]]) -> None:
    truth, guess = zip(*pairs, strict=True)
    assert metrics.macro_accuracy(truth, guess) == pytest.approx(balanced_accuracy_score(truth, guess))
    counts = metrics.per_class(truth, guess, range(4))
    assert sum(one.correct for one in counts) / len(pairs) == pytest.approx(metrics.accuracy(truth, guess))
    assert sum(one.predicted for one in counts) == sum(one.images for one in counts) == len(pairs)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 1000))
def test_top_k_is_scikit_learns_where_no_scores_are_equal(images: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.permuted(np.tile(np.arange(5.0), (images, 1)), axis=1), rng.integers(0, 5, images)
    if k < 5:
        expected = top_k_accuracy_score(truth, scores, k=k, labels=np.arange(5))
        assert metrics.top_k(truth, scores, k) == pytest.approx(expected)
    else:
        assert metrics.top_k(truth, scores, k) == 1.0
    assert metrics.top_k(truth, scores, 1) == metrics.accuracy(truth, scores.argmax(axis=1))


def test_equal_scores_count_in_the_order_of_argmax() -> None:
    scores = np.zeros((3, 3))
    assert metrics.in_top([0, 1, 2], scores, 1).tolist() == [True, False, False]
    assert metrics.in_top([0, 1, 2], scores, 2).tolist() == [True, True, False]


def test_a_class_without_a_column_is_never_among_the_top() -> None:
    assert metrics.in_top([-1, 0], np.ones((2, 3)), 3).tolist() == [False, True]


def test_interval_of_the_accuracy() -> None:
    right = np.arange(400) % 4 > 0
    low, high = metrics.accuracy_interval(right)
    # 1.96 standard errors of a share of ¾ of 400 images.
    assert (low, high) == pytest.approx((0.75 - 0.0424, 0.75 + 0.0424), abs=0.006)
    assert metrics.accuracy_interval(np.ones(5, bool)) == (1.0, 1.0)
    assert metrics.accuracy_interval(right) == metrics.bootstrap_interval(right[:, None].astype(float))


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 3), st.integers(0, 3))
def test_mcnemar_against_the_closed_form(b: int, c: int, both: int, neither: int) -> None:
    """Two-sided p = 2·P(X ≤ min(b, c)) for X of a binomial distribution with ½, at most 1: the exact form."""
    first = np.repeat([True, False, True, False], [b, c, both, neither])
    second = np.repeat([False, True, True, False], [b, c, both, neither])
    n = b + c
    closed = min(1.0, 2 * sum(comb(n, i) for i in range(min(b, c) + 1)) / 2**n)
    result = metrics.mcnemar(first, second)
    assert (result.b, result.c) == (b, c)
    assert result.p == pytest.approx(closed)
    assert metrics.mcnemar(second, first) == McNemar(c, b, pytest.approx(result.p))


def test_mcnemar_by_hand() -> None:
    # Of 32 sequences of five images, the two in which one classifier has them all are as extreme as this.
    assert metrics.mcnemar([True] * 5, [False] * 5).p == pytest.approx(2 / 32)
    assert metrics.mcnemar([True, False], [True, False]) == (0, 0, 1.0)


@pytest.mark.parametrize("call", [metrics.accuracy, metrics.macro_accuracy])
def test_shapes_must_fit(call) -> None:
    with pytest.raises(DatasetError, match="one length"):
        call([1, 2], [1])
    with pytest.raises(DatasetError, match="no image"):
        call([], [])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.in_top([0], [[1.0]], 0), OptionError, "positive"),
        (lambda: metrics.in_top([0, 1], [[1.0]], 1), DatasetError, "do not fit"),
        (lambda: metrics.in_top([1], [[1.0]], 1), DatasetError, "1 columns"),
        (lambda: metrics.in_top([-2], [[1.0]], 1), DatasetError, "-2"),
        (lambda: metrics.top_k([], np.empty((0, 3))), DatasetError, "no image"),
        (lambda: metrics.confusion(["a"], ["b"], ["a"]), DatasetError, "'b' is not among"),
        (lambda: metrics.accuracy_interval([]), DatasetError, "one value per image"),
        (lambda: metrics.mcnemar([True], [True, False]), DatasetError, "same images"),
    ],
)
def test_bad_input_is_named(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_exports_are_the_modules_own() -> None:
    for name in ("accuracy", "macro_accuracy", "top_k", "per_class", "confusion", "mcnemar"):
        assert getattr(metrics, name) is getattr(measured, name)
