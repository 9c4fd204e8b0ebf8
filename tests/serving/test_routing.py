"""Which version answers a request that names none, and one that names a label."""

import collections
import itertools
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimaas_helpers.errors import BadInput, Corrupt, NotFound, Unwritable
from aimaas_helpers.serving import routing
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.routing import Routing, route


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """A model with the versions 1, 2 and 3."""
    for version in "123":
        (tmp_path / "pair" / version).mkdir(parents=True)
        for file in ("model_card.json", "model.tflite"):
            shutil.copy(models / "pair" / "1" / file, tmp_path / "pair" / version)
    return tmp_path / "pair"


@pytest.fixture
def repository(folder: Path) -> Repository:
    return Repository(folder)


def asked(repository: Repository, times: int = 100) -> list[int]:
    """The versions that answer so many requests."""
    return [repository.model("pair").version for _ in range(times)]


def test_the_highest_answers_unless_one_is_pinned(repository: Repository, folder: Path) -> None:
    assert set(asked(repository)) == {3} and repository.standing("pair") == 3
    route(folder, version=2)
    assert set(asked(repository)) == {3}, "followed before it looked"
    assert len(repository.refresh()) == 1 and repository.refresh() == []
    assert set(asked(repository)) == {2} and repository.standing("pair") == 2
    assert repository.model("pair", 3).version == 3
    route(folder)
    repository.refresh()
    assert set(asked(repository)) == {3}


def test_rolling_back_and_forward(repository: Repository, folder: Path, models: Path) -> None:
    route(folder, version=2)
    repository.refresh()
    shutil.copytree(folder / "3", folder / "4")
    repository.refresh()
    assert set(asked(repository)) == {2}, "a new version undid the rollback"
    route(folder, version=4)
    repository.refresh()
    assert set(asked(repository)) == {4}


def test_a_pinned_version_that_is_not_there_is_never_replaced_silently(repository: Repository, folder: Path) -> None:
    route(folder, version=2, labels={"stable": 2})
    shutil.rmtree(folder / "2")
    repository.refresh()
    with pytest.raises(NotFound, match=r"Model 'pair' has no version 2; it has 1, 3\."):
        repository.model("pair")
    with pytest.raises(NotFound, match=r"Model 'pair' has no version 2; it has 1, 3\."):
        repository.model("pair", label="stable")
    (folder / "2").mkdir()
    repository.refresh()
    with pytest.raises(NotFound, match=r"Version 2 of model 'pair' is not served: .* holds no model_card"):
        repository.model("pair")
    assert repository.model("pair", 3).version == 3


def test_labels(repository: Repository, folder: Path) -> None:
    route(folder, labels={"stable": 1, "nightly": 3})
    repository.refresh()
    assert repository.routing("pair").labels == {"stable": 1, "nightly": 3}
    assert repository.model("pair", label="stable").version == 1
    with pytest.raises(NotFound, match="Model 'pair' has no label 'beta'; it has 'nightly' and 'stable'"):
        repository.model("pair", label="beta")
    assert set(asked(repository)) == {3}


def test_a_canary_gets_exactly_its_share_evenly_spread(repository: Repository, folder: Path) -> None:
    route(folder, version=1, canary=2, weight=0.1)
    repository.refresh()
    versions = asked(repository, 200)
    assert [place for place, version in enumerate(versions, 1) if version == 2] == list(range(10, 201, 10))
    assert set(versions) == {1, 2} and repository.standing("pair") == 1


def test_reading_and_naming_a_version_take_no_turn_of_the_canary(repository: Repository, folder: Path) -> None:
    route(folder, canary=3, weight=0.5, labels={"old": 1})
    repository.refresh()
    for _ in range(5):
        repository.standing("pair"), repository.versions("pair"), repository.routing("pair").labels
        assert repository.model("pair", 1) is repository.model("pair", label="old")
    assert asked(repository, 4) == [2, 3, 2, 3]


def test_a_canary_is_never_the_default(repository: Repository, folder: Path) -> None:
    route(folder, canary=3, weight=0.25)
    repository.refresh()
    assert collections.Counter(asked(repository)) == {2: 75, 3: 25} and repository.standing("pair") == 2
    (folder / "routing.json").write_text('{"canary": 3}')
    repository.refresh()
    assert set(asked(repository)) == {2}


@pytest.mark.parametrize("weight", [1, 1.0])
def test_a_canary_with_all_the_weight_answers_all(repository: Repository, folder: Path, weight: float) -> None:
    route(folder, version=1, canary=3, weight=weight)
    repository.refresh()
    assert set(asked(repository)) == {3}


def test_a_canary_that_is_refused_or_gone_leaves_all_to_the_others(
    repository: Repository, folder: Path, models: Path
) -> None:
    (folder / "3" / "model.tflite").write_bytes(b"")
    other = Repository(folder)
    route(folder, version=2, canary=3, weight=0.5)
    repository.refresh()
    other.refresh()
    assert set(asked(repository)) == {2, 3}, "what was loaded goes on answering"
    assert set(asked(other)) == {2}
    shutil.copy(models / "pair" / "1" / "model.tflite", folder / "3")
    other.refresh()
    assert set(asked(other)) == {2, 3}
    shutil.rmtree(folder / "3")
    other.refresh()
    assert set(asked(other)) == {2}
    assert other.standing("pair") == 2


def test_a_new_rule_counts_anew(repository: Repository, folder: Path) -> None:
    route(folder, canary=3, weight=0.5)
    repository.refresh()
    assert asked(repository, 3) == [2, 3, 2]
    route(folder, canary=3, weight=0.25)
    repository.refresh()
    assert asked(repository, 8) == [2, 2, 2, 3] * 2


@settings(max_examples=300, deadline=None)
@given(percent=st.integers(0, 100), start=st.integers(0, 10**7))
def test_of_any_hundred_requests_the_canary_gets_its_percents(percent: int, start: int) -> None:
    rule = Routing(canary=2, weight=percent / 100)
    turns = [rule.share(count) for count in range(start + 1, start + 101)]
    assert sum(turns) == percent
    places = [place for place, turn in enumerate([*turns, *turns]) if turn]
    gaps = {after - before for before, after in itertools.pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1, "not evenly spread"


@settings(max_examples=200, deadline=None)
@given(weight=st.floats(0, 1), count=st.integers(1, 2000))
def test_any_weight_is_kept_to_less_than_one_request(weight: float, count: int) -> None:
    rule = Routing(canary=2, weight=weight)
    assert abs(sum(map(rule.share, range(1, count + 1))) - count * weight) < 1 + 1e-6


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "cannot be read"),
        ('{"version": 1', "cannot be read"),
        ('{"version": "1"}', "Expected `int`"),
        ('{"versions": 1}', "unknown field `versions`"),
        ('{"canary": 1, "weight": 1.5}', "has a weight of 1.5; expected 0 to 1"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_broken_file_keeps_the_old_rule(repository: Repository, folder: Path, content: str, sentence: str) -> None:
    route(folder, version=2)
    repository.refresh()
    (folder / "routing.json").write_text(content)
    (said,) = repository.refresh()
    assert said.startswith("Kept the old routing of 'pair': ") and sentence in said
    assert repository.refresh() == [], "the same is said again and again"
    assert set(asked(repository)) == {2}
    (folder / "routing.json").unlink()
    repository.refresh()
    assert set(asked(repository)) == {3}


def test_what_route_writes(folder: Path) -> None:
    route(folder, version=1, canary=2, weight=0.1, labels={"stable": 1})
    assert json.loads((folder / "routing.json").read_text()) == {
        "version": 1,
        "canary": 2,
        "weight": 0.1,
        "labels": {"stable": 1},
    }
    assert routing.read_routing(folder) == Routing(1, 2, 0.1, {"stable": 1})
    assert sorted(item.name for item in folder.iterdir()) == ["1", "2", "3", "routing.json"]


@pytest.mark.parametrize(
    ("rule", "kind", "sentence"),
    [
        ({"version": 9}, NotFound, "has no version 9."),
        ({"canary": 9, "weight": 0.1}, NotFound, "has no version 9."),
        ({"labels": {"a": 1, "b": 9}}, NotFound, "has no version 9."),
        ({"version": -1}, NotFound, "has no version -1."),
        ({"canary": 2}, BadInput, "a weight above 0 and at most 1"),
        ({"weight": 0.1}, BadInput, "a weight above 0 and at most 1"),
        ({"canary": 2, "weight": 1.1}, BadInput, "a weight above 0 and at most 1"),
        ({"canary": 2, "weight": -0.1}, BadInput, "a weight above 0 and at most 1"),
        ({"canary": 2, "weight": float("nan")}, BadInput, "a weight above 0 and at most 1"),
    ],
)
def test_a_rule_that_cannot_be_changes_nothing(
    folder: Path, rule: dict[str, object], kind: type[Exception], sentence: str
) -> None:
    route(folder, version=2)
    with pytest.raises(kind, match=sentence):
        route(folder, **rule)  # type: ignore[arg-type]
    assert routing.read_routing(folder) == Routing(version=2)


def test_a_rule_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unwritable, match="cannot be written"):
        route(tmp_path / "nowhere")
    with pytest.raises(Corrupt, match="cannot be read"):
        (tmp_path / "routing.json").mkdir()
        routing.read_routing(tmp_path)
