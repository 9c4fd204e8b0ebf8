"""How much faster does ``training.fit`` reach the accuracy of a plain ``model.fit``? Same network, same data, in turn.

    python benchmarks/training.py [dense convolutional text] [--data fashion|digits] [--rounds 3]

Three networks that beginners meet first, each fitted as a first listing does it: Adam, batches of 32, some epochs.
Then ``training.fit`` fits the same network with the listing's own settings, and once more with settings of its own:
larger batches, a learning rate that falls to zero, and only as many epochs as it takes to be as accurate as the listing
in the end. Every run is a process of its own, and is timed from the call to the end of the last epoch, compilation
included; each round has a seed of its own. Pictures are Fashion-MNIST as a whole, or the offline sample of digits.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

import numpy as np


class Listing(NamedTuple):
    """How often the listing visits every example, and how we do: epochs, batch size, highest learning rate."""

    epochs: int
    our_epochs: int
    batch: int
    rate: float


LISTINGS = {
    "dense": Listing(epochs=5, our_epochs=5, batch=512, rate=6e-3),
    "convolutional": Listing(epochs=5, our_epochs=3, batch=128, rate=8e-3),
    "text": Listing(epochs=10, our_epochs=5, batch=128, rate=1e-2),
}
PLAIN, SAME, OWN = WAYS = ["model.fit", "training.fit, same settings", "training.fit, own settings"]


def network(listing: str, shape: tuple[int, ...], words: int, optimizer: Any) -> Any:
    import keras
    from keras import layers

    body: list[Any]
    if listing == "dense":
        body = [layers.Flatten(), layers.Dense(64, activation="relu")]
    elif listing == "convolutional":
        body = [
            layers.Reshape((*shape, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
        ]
    else:
        body = [layers.Embedding(words, 16), layers.GlobalAveragePooling1D()]
    head, loss = (1, "binary_crossentropy") if listing == "text" else (10, "sparse_categorical_crossentropy")
    model = keras.Sequential(
        [
            layers.Input(shape),
            *body,
            layers.Dense(64, activation="relu"),
            layers.Dense(head, activation="sigmoid" if head == 1 else "softmax"),
        ]
    )
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


def examples(listing: str, pictures: str) -> tuple[Any, Any, int]:
    """Splits to train and to test, and the number of words there are."""
    from aimaas_helpers import data
    from aimaas_helpers.serving.codecs import Words

    name = "reviews" if listing == "text" else pictures
    loaded = data.load(name, full=name == "fashion", quiet=True)
    x = np.concatenate([loaded.train.x, loaded.validation.x])
    train, test, words = data.Split(x, np.concatenate([loaded.train.y, loaded.validation.y])), loaded.test, 0
    if listing == "text":
        codec = Words.learn(train.x, size=10_000, length=64)
        words = len(codec.vocabulary) + 2
        train, test = (data.Split(codec.rows([text.encode() for text in part.x]), part.y) for part in (train, test))
    return train, test, words


def train(listing: str, way: str, pictures: str, seed: int) -> dict[str, float]:
    """Train once; returns the seconds it took, the test accuracy and the number of training examples."""
    import keras

    from aimaas_helpers import training

    split, test, words = examples(listing, pictures)
    x, y = split
    settings = LISTINGS[listing]
    keras.utils.set_random_seed(seed)
    rate: Any = 1e-3
    if way == OWN:
        rate = keras.optimizers.schedules.CosineDecay(settings.rate, settings.our_epochs * (len(y) // settings.batch))
    model = network(listing, x.shape[1:], words, keras.optimizers.Adam(rate))

    # A virtual machine may be slow to hand out memory for the first time; let neither way pay for that.
    np.ones(2**30, np.uint8).sum()
    start = time.perf_counter()
    if way == PLAIN:
        model.fit(x, y, epochs=settings.epochs)
    elif way == SAME:
        training.fit(model, split, epochs=settings.epochs, seed=seed)
    else:
        training.fit(model, split, epochs=settings.our_epochs, batch_size=settings.batch, seed=seed)
    seconds = time.perf_counter() - start

    scores = model.evaluate(*test, batch_size=1000, verbose=0, return_dict=True)
    return {"seconds": seconds, "accuracy": float(scores["accuracy"]), "examples": len(y)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("listings", nargs="*", metavar="LISTING", help=f"of {', '.join(LISTINGS)}")
    parser.add_argument("--data", default="fashion", choices=["fashion", "digits"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "SEED"), help=argparse.SUPPRESS)  # a process of its own
    options = parser.parse_args()
    if unknown := set(options.listings) - set(LISTINGS):
        parser.error(f"there is no listing {', '.join(sorted(unknown))}; there are {', '.join(LISTINGS)}")
    if options.one:
        print(json.dumps(train(options.listings[0], options.one[0], options.data, int(options.one[1]))))
        return
    for listing in options.listings or LISTINGS:
        compare(listing, options.data, options.rounds)


def compare(listing: str, pictures: str, rounds: int) -> None:
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            print(f"\rround {number + 1} of {rounds}: {listing}, {way:<28}", end="", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, listing, "--data", pictures, "--one", way, str(number)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit("\n" + done.stderr.strip().splitlines()[-1].removeprefix("aimaas_helpers.errors."))
            results[way].append(json.loads(done.stdout.splitlines()[-1]))
    print("\r", end="", file=sys.stderr)

    settings, first = LISTINGS[listing], results[PLAIN]
    name = "reviews" if listing == "text" else pictures
    print(f"{listing}: {name}, {int(first[0]['examples']):,} training examples, median of {rounds} rounds")
    print(f"{'':28}  epochs  batch  seconds   faster  test accuracy")
    for way, runs in results.items():
        epochs, batch = (settings.our_epochs, settings.batch) if way == OWN else (settings.epochs, 32)
        seconds = statistics.median(run["seconds"] for run in runs)
        faster = statistics.median(plain["seconds"] / run["seconds"] for plain, run in zip(first, runs, strict=True))
        accuracy = statistics.median(run["accuracy"] for run in runs)
        print(f"{way:28}  {epochs:6}  {batch:5}  {seconds:7.2f}  {faster:6.1f}×  {accuracy:13.4f}")
    print()


if __name__ == "__main__":
    main()
