"""What every peer needs: its arguments, and the model as a function from arrays to arrays.

All peers take one JSON body, ``{"instances": [[…28 × 28…]]}``; each runs what ``--runtime`` names:

- ``predict``: the Keras model and ``model.predict`` on every request (FastAPI only);
- ``tensorflow``: the SavedModel's signature, a concrete function that takes any number of rows;
- ``litert``: this project's LiteRT file, one interpreter a process behind a lock.
"""

import argparse
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

Model = Callable[[np.ndarray], np.ndarray]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", help="one version of a model: a SavedModel, model.tflite and model.keras")
    parser.add_argument("--runtime", choices=["predict", "tensorflow", "litert"], required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    # Servers that import this module anew in each worker read the choice from here.
    os.environ["PEER_FOLDER"], os.environ["PEER_RUNTIME"] = options.folder, options.runtime
    return options


def load(folder: str | None = None, runtime: str | None = None) -> Model:
    """The model, ready: from rows (n, 28, 28) float32 to rows (n, 10) float32."""
    path = Path(folder or os.environ["PEER_FOLDER"])
    model = LOADERS[runtime or os.environ["PEER_RUNTIME"]](path)
    model(np.zeros((1, 28, 28), np.float32))  # the first call is slow: no request should be the one that waits
    return model


def load_predict(path: Path) -> Model:
    import keras

    model = keras.models.load_model(path / "model.keras")
    return lambda rows: model.predict(rows, verbose=0)


def load_tensorflow(path: Path) -> Model:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def run(rows: np.ndarray, loaded: object = loaded) -> np.ndarray:  # the function lives as long as what it is from
        return serve(input=tf.constant(rows))["output"].numpy()

    return run


def load_litert(path: Path) -> Model:
    from ai_edge_litert.interpreter import Interpreter

    run_signature = Interpreter(str(path / "model.tflite"), num_threads=1).get_signature_runner("serving_default")
    lock = threading.Lock()

    def run(rows: np.ndarray) -> np.ndarray:
        with lock:
            return run_signature(input=rows)["output"]

    return run


LOADERS = {"predict": load_predict, "tensorflow": load_tensorflow, "litert": load_litert}
