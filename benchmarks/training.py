"""How much faster is ``training.fit`` than ``model.fit``? Both train the same network on the same data, in turn.

    python benchmarks/training.py [--data fashion|digits] [--rounds 3]

The network is a common first listing: two hidden layers of 64 neurons, Adam, batches of 32, five epochs, ``fit`` as a
beginner would call it. ``training.fit`` runs twice: with the listing's own settings, and with a larger batch. Every
run is a process of its own and is timed from the first call to the last epoch, compilation included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

WAYS = {
    "model.fit, batch 32": ("keras", 32, 1e-3),
    "training.fit, batch 32": ("helpers", 32, 1e-3),
    "training.fit, batch 256": ("helpers", 256, 4e-3),
}
EPOCHS = 5


def network(learning_rate: float) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(learning_rate)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(way: str, name: str) -> dict[str, float]:
    """Train once; returns the seconds it took and the test accuracy."""
    from aimaas_helpers import data, training

    kind, batch_size, learning_rate = WAYS[way]
    loaded = data.load(name, full=name == "fashion", quiet=True)  # all of it, or the offline sample of digits
    model = network(learning_rate)
    start = time.perf_counter()
    if kind == "keras":
        model.fit(loaded.train.x, loaded.train.y, epochs=EPOCHS, batch_size=batch_size, verbose=0)
    else:
        training.fit(model, loaded.train, epochs=EPOCHS, batch_size=batch_size)
    seconds = time.perf_counter() - start
    scores = model.evaluate(*loaded.test, batch_size=1000, verbose=0, return_dict=True)
    return {"seconds": seconds, "accuracy": float(scores["accuracy"]), "examples": len(loaded.train.y)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion", choices=["fashion", "digits"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # one run, in a process of its own
    options = parser.parse_args()
    if options.way:
        print(json.dumps(train(options.way, options.data)))
        return

    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(options.rounds):
        for way in WAYS:
            print(f"\rround {number + 1} of {options.rounds}: {way:<24}", end="", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--way", way, "--data", options.data]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit("\n" + done.stderr.strip().splitlines()[-1].removeprefix("aimaas_helpers.errors."))
            results[way].append(json.loads(done.stdout.splitlines()[-1]))
    print("\r", end="", file=sys.stderr)

    baseline = statistics.median(run["seconds"] for run in results["model.fit, batch 32"])
    examples = int(results["model.fit, batch 32"][0]["examples"])
    print(f"{options.data}, {examples:,} training examples, {EPOCHS} epochs, median of {options.rounds} rounds")
    print(f"{'':24}  seconds   faster  test accuracy")
    for way, runs in results.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        accuracy = statistics.median(run["accuracy"] for run in runs)
        print(f"{way:24}  {seconds:7.2f}  {baseline / seconds:6.1f}×  {accuracy:13.4f}")


if __name__ == "__main__":
    main()
