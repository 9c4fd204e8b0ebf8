"""Metrics against their definitions, for any classifier one can think of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aimaas_helpers import evaluation
from aimaas_helpers.errors import BadInput

cases = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays("int64", n, elements=st.integers(0, 3)),
        arrays("float32", (n, 4), elements=st.floats(0, 1, width=32)),
    )
)


@given(cases)
def test_the_report_follows_the_definitions(case):
    y, output = case
    report = evaluation.report(y, output)
    assert report.confusion.sum() == report.n == len(y)
    assert report.accuracy == pytest.approx(np.trace(report.confusion) / len(y))
    for k in range(4):
        hits, told, true = report.confusion[k, k], report.confusion[:, k].sum(), report.confusion[k].sum()
        assert report.precision[k] == pytest.approx(hits / told if told else 0)
        assert report.recall[k] == pytest.approx(hits / true if true else 0)
        assert report.f1[k] == pytest.approx(2 * hits / (told + true) if told + true else 0)
    low, high = report.interval
    assert 0 <= low <= report.accuracy <= high <= 1


@given(cases)
def test_the_worst_are_mistakes_the_surest_first(case):
    y, output = case
    report = evaluation.report(y, output)
    worst = report.worst(5)
    assert all(report.y[worst] != report.y_hat[worst])
    sureness = report.probabilities[worst].max(axis=1)
    assert list(sureness) == sorted(sureness, reverse=True)
    assert len(worst) == min(5, int(np.sum(report.y != report.y_hat)))


def test_wilson_matches_the_published_example():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, method 3.
    low, high = evaluation.wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_shrinks_with_more_examples(case):
    k, n = case
    low, high = evaluation.wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    more_low, more_high = evaluation.wilson_interval(10 * k, 10 * n)
    assert more_high - more_low < high - low


def test_one_probability_means_two_classes():
    report = evaluation.report([0, 1, 1], np.array([[0.2], [0.9], [0.4]]), ["no", "yes"])
    assert list(report.y_hat) == [0, 1, 0]
    assert "yes" in str(report)


@pytest.mark.parametrize(
    ("y", "output", "classes"),
    [([0, 1], [[1.0, 0.0]], None), ([], np.zeros((0, 2)), None), ([0], [1.0], None), ([0], [[0.1, 0.9]], ["one"])],
    ids=["lengths", "empty", "flat", "names"],
)
def test_what_does_not_fit_gets_a_sentence(y, output, classes):
    with pytest.raises(BadInput):
        evaluation.report(y, output, classes)


def test_impossible_counts_get_a_sentence():
    with pytest.raises(BadInput, match="3 of 2"):
        evaluation.wilson_interval(3, 2)
