"""Claims stop a run when they are false; exercises accept right answers and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimaas_helpers.checks import ClaimFailed, claim, exercise


def test_a_true_claim_is_printed(capsys):
    claim(2 > 1, "Two is more than one.")
    claim(np.bool_(True), "NumPy's truth counts too.")
    assert capsys.readouterr().out == "✓ Two is more than one.\n✓ NumPy's truth counts too.\n"


def test_a_false_claim_stops_the_run(capsys):
    with pytest.raises(ClaimFailed, match="One is more than two"):
        claim(1 > 2, "One is more than two.")
    assert capsys.readouterr().out == ""


def said(capsys):
    return capsys.readouterr().out.strip()


def test_each_wrong_answer_earns_the_next_hint(capsys):
    question = exercise(42, hints=["Think.", "It is 42."])
    question.check(...)
    assert said(capsys).startswith("Your turn")
    for expected in ("Hint: Think.", "Hint: It is 42.", "Hint: It is 42."):
        question.check(41)
        assert said(capsys).endswith(expected)
    question.check(42)
    assert said(capsys) == "✓ Correct."


@given(st.one_of(st.none(), st.text(), st.lists(st.integers()), st.dictionaries(st.text(), st.none()), st.just(...)))
def test_no_answer_makes_it_crash_or_is_right_by_accident(answer):
    assert not exercise(1.5, hints=["No."])._right(answer)


@pytest.mark.parametrize(
    ("expected", "right", "wrong"),
    [
        (0.5, 0.5, 0.6),
        (np.array([1, 2]), [1, 2], [1, 2, 3]),
        ("same", " Same ", "double"),
        (lambda f: f(2) == 4, lambda x: x * x, lambda x: x + 1),
        (3, np.int64(3), np.nan),
    ],
    ids=["number", "array", "text", "function", "whole number"],
)
def test_right_answers_are_right_and_wrong_ones_wrong(expected, right, wrong):
    question = exercise(expected, hints=["…"], tolerance=1e-6)
    assert question._right(right) and not question._right(wrong)


def test_a_wrong_solution_fails_the_run(capsys):
    question = exercise(1, hints=["…"])
    question.solution(1)
    assert said(capsys) == "✓ The solution is correct."
    with pytest.raises(ClaimFailed):
        question.solution(2)


def test_an_exercise_needs_a_hint():
    with pytest.raises(ValueError, match="hint"):
        exercise(1, hints=[])
