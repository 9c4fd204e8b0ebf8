"""The table of data sets is complete and consistent."""

from importlib.metadata import version

import pytest

from aimaas_helpers.data.catalogue import CATALOGUE
from aimaas_helpers.data.entry import Entry, Made, Sample


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_each_entry_says_everything(entry: Entry) -> None:
    assert all([entry.name, entry.title, entry.noun, entry.example, entry.licence, entry.citation])
    assert entry.sample or entry.full
    assert entry.home.startswith("http")
    assert len(set(entry.classes)) == len(entry.classes)


@pytest.mark.parametrize("entry", [each for each in CATALOGUE.values() if each.full], ids=lambda entry: entry.name)
def test_each_full_set_says_where_it_is(entry: Entry) -> None:
    assert entry.full is not None
    assert entry.full.files
    assert 0 < entry.full.validation < entry.full.train
    if entry.full.sha256:
        assert len(entry.full.files) == 1
        assert len(bytes.fromhex(entry.full.sha256)) == 32


@pytest.mark.parametrize("entry", [each for each in CATALOGUE.values() if each.sample], ids=lambda entry: entry.name)
def test_each_sample_is_pinned(entry: Entry) -> None:
    sample = entry.sample
    assert sample is not None
    assert sample.requirement == f"{sample.package}=={sample.version}"
    assert sample.name not in ("", ".", "..")
    assert "*" not in sample.name
    assert sample.examples > 0
    assert sample.space > sample.size
    assert sample.package in sample.source
    assert entry.full is None or sample.examples < entry.full.train + entry.full.test
    if isinstance(sample, Sample):
        assert sample.version in sample.file
        assert sample.file.endswith((".whl", ".tar.gz"))
        assert [len(bytes.fromhex(digest)) for digest in (sample.sha256, sample.member_sha256)] == [32, 32]


def test_what_is_made_is_made_with_the_locked_package() -> None:
    for entry in CATALOGUE.values():
        if isinstance(entry.sample, Made):
            assert version(entry.sample.package) == entry.sample.version


def test_what_is_synthetic_says_so() -> None:
    speech = CATALOGUE["spoken_digits"]
    assert "synthetic" in speech.title and "synthetic" in speech.example


def test_each_entry_says_how_it_is_had() -> None:
    calls = {name: CATALOGUE[name].call for name in ("digits", "movies", "efficientnet")}
    assert calls == {
        "digits": 'data.load("digits")',
        "movies": 'data.table("movies")',
        "efficientnet": 'data.fetch("efficientnet")',
    }
