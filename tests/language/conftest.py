"""The real model: as its file says, and as the server runs it."""

from pathlib import Path

import pytest

from aimaas_helpers import data, serving
from aimaas_helpers.language.engine import Engine, open_litert
from aimaas_helpers.language.tokenizer import Tokenizer
from aimaas_helpers.language.weights import Weights


@pytest.fixture(scope="session")
def weights() -> Weights:
    return Weights(data.fetch("smollm2"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> serving.Artefact:
    return serving.export_language_model(tmp_path_factory.mktemp("language") / "smollm2")


@pytest.fixture(scope="session")
def tokenizer(exported: serving.Artefact) -> Tokenizer:
    return exported.tokenizer()


@pytest.fixture(scope="session")
def parts(exported: serving.Artefact) -> tuple:  # type: ignore[type-arg]
    """What an engine is made of; opening the files takes longer than making one."""
    assert exported.card.language is not None
    shape = exported.card.language.shape
    return (shape, *open_litert(Path(exported.path), shape, threads=2))


@pytest.fixture
def engine(parts: tuple) -> Engine:  # type: ignore[type-arg]
    return Engine(*parts, slots=4, context=256)
