"""Small real models of text: one knows a few sentences by heart, one tells which texts use the same bytes."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from aimaas_helpers import serving
from aimaas_helpers.serving import codecs

CONTEXT = codecs.Utf8(length=16)
TEXT = codecs.Utf8(length=64)

SENTENCE = "Café 北京: naïve models learn by heart, 🙂 and tell."
LYRICS = "round and round it goes, "
ANSWERS = {"hello": "Good day to you!", "which city?": "北京, of course."}


def parrot() -> keras.Model:
    """Continues ``SENTENCE`` to its end, sings ``LYRICS`` for ever, and answers the questions in ``ANSWERS``."""
    texts, nexts = [], []
    dialogues = [(f"user: {question}\nassistant: ", f"{answer}\n") for question, answer in ANSWERS.items()]
    for given, rest in [(SENTENCE[:4], SENTENCE[4:] + "\0"), (LYRICS, LYRICS * 2), *dialogues]:
        data = (given + rest).encode()
        places = range(len(given.encode()), len(data))
        texts += [data[:place] for place in places]
        nexts += [data[place] for place in places]
    keras.utils.set_random_seed(0)
    text = keras.Input((CONTEXT.length,), dtype="int32", name="text")
    features = layers.Dense(256, activation="relu")(layers.Flatten()(layers.Embedding(256, 12)(text)))
    last = layers.Dense(256, use_bias=False, name="scores")
    model = keras.Model(text, last(features))
    # Fewer examples than features: the best last layer has an exact solution, found in no time.
    known = keras.Model(text, features).predict_on_batch(CONTEXT.rows(texts))
    last.set_weights([np.linalg.lstsq(known, 10 * np.eye(256)[nexts], rcond=None)[0]])
    return model


def letters() -> keras.Model:
    """Embeddings of unit length, the mean over a text's bytes."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((TEXT.length,), dtype="int32", name="text"),
            layers.Embedding(256, 8, mask_zero=True),
            layers.GlobalAveragePooling1D(),
            layers.UnitNormalization(name="embedding"),
        ]
    )


def export_all(folder: Path) -> dict[str, keras.Model]:
    """Write ``parrot`` and ``letters`` into ``folder``."""
    models = {"parrot": parrot(), "letters": letters()}
    writes = ("completions", "chat")
    serving.export(models["parrot"], folder / "parrot", codecs={"text": CONTEXT}, capabilities=writes)
    serving.export(models["letters"], folder / "letters", codecs={"text": TEXT}, capabilities=("embeddings",))
    return models
