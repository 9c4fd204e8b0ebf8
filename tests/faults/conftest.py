"""Servers to be treated badly, and what their clients must be told whatever happens."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import msgspec
import numpy as np
import pytest
from keras import layers

from aimaas_helpers import serving
from aimaas_helpers.serving import load

sys.path.append(str(Path(__file__).parent))
from servers import Server, images


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="every fault for minutes instead of seconds")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether there are minutes for every fault."""
    return bool(request.config.getoption("--long", False))


def exact_model() -> keras.Model:
    """Small images to ten scores; with whole numbers for weights, answers are the same to the byte in any batch."""
    model = keras.Sequential([keras.Input((8, 8)), layers.Flatten(), layers.Dense(10)])
    weights = np.random.default_rng(0).integers(-4, 5, (64, 10))
    model.set_weights([weights, np.arange(10)])
    return model


def probable_model() -> keras.Model:
    """Small images to ten probabilities."""
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(64, activation="relu") for _ in range(2)]
    return keras.Sequential([keras.Input((8, 8)), layers.Flatten(), *hidden, layers.Dense(10, activation="softmax")])


def heavy_model() -> keras.Model:
    """Small images to ten probabilities, in some ten milliseconds."""
    keras.utils.set_random_seed(0)
    convolutions = [layers.Conv2D(32, 3, padding="same", activation="relu") for _ in range(3)]
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Reshape((8, 8, 1)),
            layers.UpSampling2D(10),
            *convolutions,
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.fixture(scope="session")
def keras_models() -> dict[str, keras.Model]:
    return {"exact": exact_model(), "probable": probable_model(), "heavy": heavy_model()}


@pytest.fixture(scope="session")
def exported(keras_models: dict[str, keras.Model], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all models; do not change it."""
    folder = tmp_path_factory.mktemp("exported")
    for name, model in keras_models.items():
        serving.export(model, folder / name)
    return folder


@pytest.fixture
def models(exported: Path, tmp_path: Path) -> Path:
    """A folder of all models for this test alone."""
    return Path(shutil.copytree(exported, tmp_path / "models"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers that are gone after the test."""
    started: list[Server] = []

    def start(folder: Path, environment: dict[str, str] | None = None, **options: Any) -> Server:
        started.append(Server(folder, tmp_path / f"log-{len(started)}", options, environment or {}))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """Runs load while the test does harm."""
    with ThreadPoolExecutor(32) as executor:
        yield executor


@pytest.fixture(scope="session")
def questions(keras_models: dict[str, keras.Model]) -> Callable[[Server], list[load.Request]]:
    """Requests of one to five images, no two alike, each with its right answer to the byte."""
    batches = [images(1 + seed % 5, seed) for seed in range(200)]
    answers = keras_models["exact"].predict(np.concatenate(batches), verbose=0)
    ends = np.cumsum([len(batch) for batch in batches])
    bodies = [
        (msgspec.json.encode({"instances": batch.tolist()}), msgspec.json.encode({"predictions": answer.tolist()}))
        for batch, answer in zip(batches, np.split(answers, ends[:-1]), strict=True)
    ]

    def ask(server: Server) -> list[load.Request]:
        url = f"{server.url}/v1/models/exact:predict"
        return [load.post(url, body=body, expect=answer) for body, answer in bodies]

    return ask
