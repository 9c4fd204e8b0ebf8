"""What ``data.table`` gives: the real ratings, with clean columns."""

import json
import warnings

import numpy as np
import pytest

from aimaas_helpers import data
from aimaas_helpers.errors import BadInput, NotFound


def test_movies(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        movies = data.table("movies")
    printed = capsys.readouterr().out
    assert printed.startswith(
        "MovieLens ratings of movies: 100,004 ratings by 671 users of 9,066 items; columns user, item, rating, time, "
        "title, year, genres. Licence: GroupLens"
    )
    assert "no commercial use" in printed
    assert [str(kind) for kind in movies.dtypes] == [
        "int64",
        "int64",
        "float32",
        "datetime64[s]",
        "object",
        "float32",
        "object",
    ]
    assert movies.index.tolist() == list(range(100_004))
    assert movies.time.is_monotonic_increasing
    assert (str(movies.time.iloc[0]), str(movies.time.iloc[-1])) == ("1995-01-09 11:46:49", "2016-10-16 17:57:24")
    assert sorted(movies.rating.unique()) == list(np.arange(0.5, 5.5, 0.5))
    assert not movies.duplicated(["user", "item"]).any()
    assert all(isinstance(title, str) for title in movies.title) and (movies.title == "").sum() == 7
    assert movies.isna().sum().to_dict() == dict.fromkeys(movies.columns, 0) | {"year": 7}
    toy_story = movies[movies.item == 1].iloc[0]
    assert (toy_story.title, toy_story.year) == ("Toy Story", 1995)
    assert toy_story.genres == "Adventure|Animation|Children|Comedy|Fantasy"


def test_lectures(capsys: pytest.CaptureFixture[str]) -> None:
    lectures = data.table("lectures")
    assert "73,421 ratings by 2,972 users of 1,128 items" in capsys.readouterr().out
    covariates = ["studage", "lectage", "service", "dept"]
    assert list(lectures.columns) == ["user", "item", "rating", *covariates]
    assert {str(kind) for kind in lectures.drop(columns="rating").dtypes} == {"int64"}
    assert lectures.rating.dtype == np.float32
    assert sorted(lectures.rating.unique()) == [1, 2, 3, 4, 5]
    assert lectures.iloc[0].astype(int).tolist() == [1, 1002, 5, 2, 2, 0, 2]
    assert [lectures[name].nunique() for name in covariates] == [4, 6, 2, 14]


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    data.table("lectures", quiet=True)
    assert capsys.readouterr().out == ""


def test_what_is_no_table() -> None:
    with pytest.raises(BadInput, match=r'MNIST handwritten digits: this is no table; use data\.load\("digits"\)'):
        data.table("digits")
    with pytest.raises(NotFound, match="There is no data set 'films'"):
        data.table("films")


def test_the_names_of_the_classes_stand_at_their_usual_numbers() -> None:
    names = json.loads(data.fetch("imagenet_labels").read_text(encoding="utf-8"))
    assert list(names) == [str(number) for number in range(1000)]
    usual = {698: "palace", 285: "Egyptian cat", 985: "daisy", 967: "espresso", 665: "moped"}
    assert {number: names[str(number)].split(",")[0] for number in usual} == usual
