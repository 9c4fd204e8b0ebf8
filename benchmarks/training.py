"""How much faster is ``training.fit`` than ``model.fit``? Both train the same network on the same data, in turn.

    python benchmarks/training.py [--data fashion|digits] [--rounds 3]

The network is a common first listing: two hidden layers of 64 neurons, Adam, batches of 32, five epochs, ``fit`` as a
beginner would call it. ``training.fit`` runs twice: with the listing's own settings, and with larger batches and a
learning rate that falls to zero. Every run is a process of its own, and is timed from the call to the end of the last
epoch, compilation included; each round has a seed of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

WAYS = ["model.fit, batch 32", "training.fit, batch 32", "training.fit, batch 512"]
EPOCHS = 5


def network(optimizer: Any) -> Any:
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(way: str, name: str, seed: int) -> dict[str, float]:
    """Train once; returns the seconds it took, the test accuracy and the number of training examples."""
    import keras

    from aimaas_helpers import data, training

    loaded = data.load(name, full=name == "fashion", quiet=True)  # all of it, or the offline sample of digits
    x = np.concatenate([loaded.train.x, loaded.validation.x])
    y = np.concatenate([loaded.train.y, loaded.validation.y])
    keras.utils.set_random_seed(seed)
    if way == "training.fit, batch 512":
        falling = keras.optimizers.schedules.CosineDecay(6e-3, decay_steps=EPOCHS * (len(y) // 512))
        model = network(keras.optimizers.Adam(falling))
    else:
        model = network("adam")

    # A virtual machine may be slow to hand out memory for the first time; let neither way pay for that.
    np.ones(2**30, np.uint8).sum()
    start = time.perf_counter()
    if way == "model.fit, batch 32":
        model.fit(x, y, epochs=EPOCHS)
    else:
        training.fit(model, data.Split(x, y), epochs=EPOCHS, batch_size=int(way.split()[-1]), seed=seed)
    seconds = time.perf_counter() - start

    scores = model.evaluate(*loaded.test, batch_size=1000, verbose=0, return_dict=True)
    return {"seconds": seconds, "accuracy": float(scores["accuracy"]), "examples": len(y)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion", choices=["fashion", "digits"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "SEED"), help=argparse.SUPPRESS)  # a process of its own
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train(options.one[0], options.data, int(options.one[1]))))
        return

    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(options.rounds):
        for way in WAYS:
            print(f"\rround {number + 1} of {options.rounds}: {way:<24}", end="", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--data", options.data, "--one", way, str(number)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit("\n" + done.stderr.strip().splitlines()[-1].removeprefix("aimaas_helpers.errors."))
            results[way].append(json.loads(done.stdout.splitlines()[-1]))
    print("\r", end="", file=sys.stderr)

    baseline = statistics.median(run["seconds"] for run in results[WAYS[0]])
    examples = int(results[WAYS[0]][0]["examples"])
    print(f"{options.data}, {examples:,} training examples, {EPOCHS} epochs, median of {options.rounds} rounds")
    print(f"{'':24}  seconds   faster  test accuracy")
    for way, runs in results.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        accuracy = statistics.median(run["accuracy"] for run in runs)
        print(f"{way:24}  {seconds:7.2f}  {baseline / seconds:6.1f}×  {accuracy:13.4f}")


if __name__ == "__main__":
    main()
