"""`fit` trains as Keras does, repeatably, and refuses what cannot be trained."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from aimaas_helpers import data, training
from aimaas_helpers.errors import BadInput


def blobs(n=200, seed=0):
    """Two well separated clouds of points, shape [n, 4]."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return data.Split((rng.normal(size=(n, 4)) + 3 * y[:, None]).astype("float32"), y.astype("int64"))


def network(*, convolution=False, compiled=True):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((4,))]
    if convolution:
        layers += [keras.layers.Reshape((4, 1)), keras.layers.Conv1D(4, 2), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(8, "relu"), keras.layers.Dense(2, "softmax")])
    if compiled:
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("xla", [True, False], ids=["xla", "pieces"])
def test_it_learns(xla):
    model = network()
    history = training.fit(model, blobs(), epochs=20, xla=xla)
    assert history["loss"][-1] < history["loss"][0] / 2
    assert model.evaluate(*blobs(seed=1), verbose=0)[1] > 0.9
    assert len(history["accuracy"]) == history.epochs == 20
    assert history.seconds > 0


@pytest.mark.parametrize("xla", [True, False], ids=["xla", "pieces"])
def test_it_makes_the_very_steps_that_keras_makes(xla):
    split, ours, keras_s = blobs(n=64), network(), network()
    training.fit(ours, split, epochs=3, batch_size=16, seed=5, xla=xla)
    shuffle = np.random.default_rng(5)
    for _ in range(3):
        for rows in shuffle.permutation(64).reshape(4, 16):
            keras_s.train_on_batch(split.x[rows], split.y[rows])
    for a, b in zip(ours.get_weights(), keras_s.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_it_records_what_keras_records():
    split = blobs(n=64)
    ours = training.fit(network(), split, epochs=3, batch_size=64)
    keras_s = network().fit(split.x, split.y, epochs=3, batch_size=64, verbose=0).history
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(ours[name], keras_s[name], atol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    weights = []
    for seed in (0, 0, 1):
        model = network()
        training.fit(model, blobs(), epochs=2, seed=seed)
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_a_data_set_adds_validation_metrics():
    part = blobs(n=40)
    dataset = data.Dataset("blobs", "Blobs", part, part, part, ("a", "b"), "none", "none", "made here")
    history = training.fit(network(), dataset, epochs=2)
    assert set(history.metrics) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    with pytest.raises(BadInput, match="there are: loss, accuracy, val_accuracy"):
        history["f1"]


def test_fewer_examples_than_a_batch_still_train():
    model = network()
    before = model.get_weights()[0].copy()
    training.fit(model, blobs(n=5), epochs=1, batch_size=32)
    assert not np.array_equal(before, model.get_weights()[0])


@pytest.mark.parametrize(
    ("model", "split", "options", "sentence"),
    [
        (network(compiled=False), blobs(), {}, "Compile the model first"),
        (network(), data.Split(blobs().x, blobs().y[:-1]), {}, "same number of examples"),
        (network(), data.Split(blobs().x[:0], blobs().y[:0]), {}, "no training examples"),
        (network(), blobs(), {"epochs": 0}, "at least 1"),
        (network(), blobs(), {"batch_size": 0}, "at least 1"),
    ],
    ids=["uncompiled", "lengths", "empty", "epochs", "batch"],
)
def test_what_cannot_be_trained_gets_a_sentence(model, split, options, sentence):
    with pytest.raises(BadInput, match=sentence):
        training.fit(model, split, **options)


def test_xla_is_chosen_for_dense_networks_only():
    assert training._suits_xla(network())
    assert not training._suits_xla(network(convolution=True))


def test_nothing_is_printed_or_logged_when_nobody_watches(capfd, caplog):
    for _ in range(7):  # TensorFlow warns of retracing only after a few
        training.fit(network(), blobs(), epochs=1)
    assert capfd.readouterr().out == ""
    assert not caplog.records


def test_in_a_notebook_a_line_fills_and_ends_as_the_title_alone():
    code = """
import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.displaypub import CapturingDisplayPublisher
shell = InteractiveShell.instance(); shell.display_pub = CapturingDisplayPublisher()
from aimaas_helpers import progress
bar = progress._NotebookBar("Training", "Trained.", total=3)
bar.advance("loss 0.500"); bar.close()
texts = [output["data"]["text/plain"] for output in shell.display_pub.outputs]
assert texts[0] == texts[-1] == "Trained." and "loss 0.500" in texts[1], texts
"""
    subprocess.run([sys.executable, "-c", code], check=True)
