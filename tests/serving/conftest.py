"""Real models, exported once, and one real server for all of them."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
import requests
from keras import layers

from aimaas_helpers import serving
from aimaas_helpers.serving import codecs


def digits_model() -> keras.Model:
    """Document B's first listing, untrained: 28 × 28 images to ten probabilities."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28), name="image"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ]
    )


def pair_model() -> keras.Model:
    """Two inputs of different types, two outputs."""
    keras.utils.set_random_seed(1)
    signal, tag = keras.Input((3,), name="signal"), keras.Input((2,), dtype="int32", name="tag")
    embedded = layers.Flatten()(layers.Embedding(5, 4)(tag))
    joined = layers.Concatenate()([signal, embedded])
    return keras.Model([signal, tag], [layers.Dense(2, name="scores")(joined), layers.Dense(1, name="price")(joined)])


def slow_model() -> keras.Model:
    """A quarter of a second or more a row."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.UpSampling2D(64),
            *[layers.Conv2D(24, 5, padding="same", activation="relu") for _ in range(3)],
            layers.GlobalAveragePooling2D(),
        ]
    )


def words_model(length: int | None, words: int) -> keras.Model:
    """Word numbers, ``None`` for texts of any length, to three numbers."""
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((length,), dtype="int32", name="words"),
            layers.Embedding(words, 8),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3, name="topics"),
        ]
    )


CODECS = {"pictures": {"image": codecs.Image(28, 28)}, "texts": {"words": codecs.Utf8(8)}}


@pytest.fixture(scope="session")
def keras_models() -> dict[str, keras.Model]:
    return {
        "digits": digits_model(),
        "pair": pair_model(),
        "pictures": digits_model(),
        "slow": slow_model(),
        "texts": words_model(8, 256),
        "words": words_model(None, 50),
    }


@pytest.fixture(scope="session")
def models(keras_models: dict[str, keras.Model], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models; do not change it."""
    folder = tmp_path_factory.mktemp("with spaces") / "models"
    for name, model in keras_models.items():
        serving.export(model, folder / name, codecs=CODECS.get(name))
    return folder


@pytest.fixture(scope="session")
def service(models: Path) -> Iterator[serving.Service]:
    with serving.local(models) as service:
        yield service


@pytest.fixture(scope="session")
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session
