"""How much faster does ``training.fit`` reach the accuracy of a plain ``model.fit``? Same network, same data, in turn.

    python benchmarks/training.py [dense convolutional text] [--data fashion|digits] [--rounds 3] [--out results.json]

Three networks that beginners meet first, each fitted as a first listing does it: Adam, batches of 32, some epochs.
Then ``training.fit`` fits the same network with the listing's own settings, and once more with settings of its own:
larger batches, a learning rate that rises quickly and falls to zero, and only as many epochs as it takes to be as
accurate as the listing in the end. Every run is a process of its own, and is timed from the call to the end of the last
epoch, compilation included; each round has a seed of its own. Pictures are Fashion-MNIST as a whole, or the offline
sample of digits.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Listing(NamedTuple):
    """How often the listing visits every example, and how we do: epochs, batch size, highest learning rate."""

    title: str
    epochs: int
    our_epochs: int
    batch: int
    rate: float


LISTINGS = {
    "dense": Listing("Dense 64–10", epochs=5, our_epochs=5, batch=512, rate=6e-3),
    "convolutional": Listing("Conv 32 – pool – Conv 64 – pool – Dense 64–10", 5, our_epochs=2, batch=96, rate=7e-3),
    "text": Listing("Embedding – average – Dense 64–1", epochs=10, our_epochs=4, batch=128, rate=1e-2),
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
        steps = settings.our_epochs * (len(y) // settings.batch)
        rise = steps // 7
        rate = keras.optimizers.schedules.CosineDecay(
            settings.rate / 20, steps - rise, warmup_target=settings.rate, warmup_steps=rise
        )
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
    result = {"seconds": seconds, "accuracy": float(scores["accuracy"]), "examples": len(y)}
    return result | (parts(model, split, settings) if way == OWN else {})


def parts(model: Any, split: Any, settings: Listing) -> dict[str, float]:
    """Seconds to begin a training, and to go forward through all its examples; what the machine would need at best."""
    import tensorflow as tf

    from aimaas_helpers import data, training

    few = data.Split(split.x[: 20 * settings.batch], split.y[: 20 * settings.batch])
    start = time.perf_counter()
    training.fit(model, few, epochs=1, batch_size=settings.batch)
    begin = time.perf_counter() - start

    x, steps = tf.constant(split.x), len(split.y) // settings.batch

    def all_steps(order: Any) -> Any:  # order: [steps, batch]
        total = 0.0
        for step in tf.range(tf.shape(order)[0]):
            total += tf.reduce_sum(model(tf.gather(x, order[step]), training=True))
        return total

    forward = tf.function(all_steps, reduce_retracing=True)
    order = tf.reshape(tf.range(steps * settings.batch), (steps, settings.batch))
    for few_steps in (1, 2):  # the second shape makes TensorFlow leave the number of steps open
        forward(order[:few_steps])
    start = time.perf_counter()
    forward(order)
    ahead = settings.our_epochs * (time.perf_counter() - start)

    square, best = tf.random.normal((2048, 2048)), math.inf
    for _ in range(10):
        start = time.perf_counter()
        tf.matmul(square, square)
        best = min(best, time.perf_counter() - start)
    total = operations(model) * steps * settings.batch * settings.our_epochs
    return {"begin": begin, "forward": ahead, "operations": total, "gflops": 2 * 2048**3 / best / 1e9}


def operations(model: Any) -> int:
    """Multiplications and additions to train on one example: two for each weight and place where it is used, forward;
    as many back for the weights, and again for what came before, unless that is the input."""
    weighted = [layer for layer in model.layers if layer.weights]
    kernels = [layer for layer in weighted if hasattr(layer, "kernel")]
    places = [math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1]) for layer in kernels]
    return sum((4 if layer is weighted[0] else 6) * used for layer, used in zip(kernels, places, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("listings", nargs="*", metavar="LISTING", help=f"of {', '.join(LISTINGS)}")
    parser.add_argument("--data", default="fashion", choices=["fashion", "digits"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the results there, as JSON")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "SEED"), help=argparse.SUPPRESS)  # a process of its own
    options = parser.parse_args()
    if unknown := set(options.listings) - set(LISTINGS):
        parser.error(f"there is no listing {', '.join(sorted(unknown))}; there are {', '.join(LISTINGS)}")
    if options.one:
        print(json.dumps(train(options.listings[0], options.one[0], options.data, int(options.one[1]))))
        return
    results: dict[str, Any] = {
        "date": f"{datetime.date.today()}",
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "listings": {name: measure(name, options.data, options.rounds) for name in options.listings or LISTINGS},
    }
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(render(results))


def measure(listing: str, pictures: str, rounds: int) -> dict[str, Any]:
    """All ways in turn, round after round: the medians of what each of them measured."""
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            print(f"\rround {number + 1} of {rounds}: {listing}, {way:<28}", end="", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, listing, "--data", pictures, "--one", way, str(number)]
            process = subprocess.run(command, capture_output=True, text=True)
            if process.returncode:
                sys.exit("\n" + process.stderr.strip().splitlines()[-1].removeprefix("aimaas_helpers.errors."))
            runs[way].append(json.loads(process.stdout.splitlines()[-1]))
            runs[way][-1]["faster"] = runs[PLAIN][-1]["seconds"] / runs[way][-1]["seconds"]
    print("\r", end="", file=sys.stderr)
    settings, ways = LISTINGS[listing], dict[str, Any]()
    for way, done in runs.items():
        medians = {key: float(f"{statistics.median(run[key] for run in done):.4g}") for key in done[0]}
        own = way == OWN
        ways[way] = {
            "epochs": settings.our_epochs if own else settings.epochs,
            "batch": settings.batch if own else 32,
        } | medians
    return {"title": settings.title, "data": "reviews" if listing == "text" else pictures, "ways": ways}


def render(results: dict[str, Any]) -> str:
    """A table in Markdown, and for each network where the time goes."""
    lines = [
        f"Measured on {results['date']} on {results['cores']} cores, median of {results['rounds']} rounds.\n",
        "| network, data | way | epochs | batch | seconds | faster | test accuracy |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    where = []
    for listing in results["listings"].values():
        title, ways = listing["title"], listing["ways"]
        what = f"{title}, {ways[PLAIN]['examples']:,.0f} examples of `{listing['data']}`"
        for way, run in ways.items():
            lines.append(
                f"| {what} | {way} | {run['epochs']} | {run['batch']} | {run['seconds']:.1f} | "
                f"{run['faster']:.1f}× | {run['accuracy']:.3f} |"
            )
            what = ""
        run = ways[OWN]
        rest = run["seconds"] - run["begin"] - run["forward"]
        where.append(
            f"- {title}: of {run['seconds']:.1f} s, {run['begin']:.1f} s begin the training (compile, copy), "
            f"{run['forward']:.1f} s go forward, and {rest:.1f} s compute gradients and take the steps. At the "
            f"{run['gflops']:.0f} GFLOP/s of a large matrix product, all its arithmetic would take "
            f"{run['operations'] / run['gflops'] / 1e9:.2g} s."
        )
    return "\n".join([*lines, "", *where])


if __name__ == "__main__":
    main()
