"""Fit a plain, compiled Keras model quickly and repeatably.

``model.fit`` returns to Python after every batch; on a small network that costs more than the arithmetic. Here a
whole epoch — Keras's own ``train_step``, batch after batch — is one compiled TensorFlow function.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import plotting
from .errors import BadInput
from .progress import progress

if TYPE_CHECKING:
    import keras

    from .data import Dataset, Split


@dataclass(frozen=True, repr=False)
class History:
    """What training recorded: one value an epoch for each metric, and how long it took.

    ``history["loss"]`` is a list of floats, one an epoch; validation metrics start with ``val_``.
    """

    metrics: dict[str, list[float]]
    epochs: int
    seconds: float

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.metrics:
            raise BadInput(f"No metric {name!r} was recorded; there are: {', '.join(self.metrics)}.")
        return self.metrics[name]

    def __repr__(self) -> str:
        return f"<History of {_count(self.epochs, 'epoch')}: {', '.join(self.metrics)}>"

    def plot(self) -> None:
        """Draw each metric against the epoch, training and validation in one panel."""
        from matplotlib.ticker import MaxNLocator

        names = [name for name in self.metrics if not name.startswith("val_")]
        fig, axes = plotting.panels(len(names))
        for ax, name in zip(axes, names, strict=True):
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                if key in self.metrics:
                    ax.plot(range(1, self.epochs + 1), self.metrics[key], marker="o", label=label)
            ax.set(title=name.replace("_", " ").capitalize(), xlabel="epoch")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.legend()
        plotting.show(fig, f"Line charts of {' and '.join(names)} over {self.epochs} epochs of training.")


def fit(
    model: keras.Model,
    data: Dataset | Split,
    *,
    epochs: int = 5,
    batch_size: int = 32,
    seed: int = 0,
    xla: bool | None = None,
) -> History:
    """Train ``model``, which the caller has built and compiled, and return its :class:`History`.

    ``data`` is a data set with ``train`` and ``validation`` splits, or one split ``(x, y)`` whose first axes count
    the examples; ``x`` and ``y`` may be nested structures of arrays. Every epoch visits the examples in a new order
    drawn from ``seed``, and leaves out the few that do not fill a batch. ``xla`` compiles the epoch with XLA: on a
    CPU that makes dense networks about twice as fast again, once the half second it takes has been earned, and
    convolutions slower; by default it is chosen by that rule.

    The same seed on the same machine gives the same weights (set ``keras.utils.set_random_seed`` before *building*
    the model); another processor may differ in the last digits. Raises :class:`BadInput` for an uncompiled model,
    an empty split, or ``x`` and ``y`` of different lengths.
    """
    import tensorflow as tf

    train, validation = (data, None) if isinstance(data, tuple) else (data.train, data.validation)
    n = _check(model, train, epochs, batch_size)
    batch_size = min(batch_size, n)
    steps = n // batch_size
    use_xla = (steps * epochs > 2000 and _suits_xla(model)) if xla is None else xla

    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(seed)
    shuffle = np.random.default_rng(seed)
    x, y = tf.nest.map_structure(tf.constant, tuple(train))
    # Let Keras create its variables now: TensorFlow would trace twice a function that creates some.
    model.test_step(tf.nest.map_structure(lambda rows: rows[:1], (x, y)))
    model.optimizer.build(model.trainable_variables)

    def take(batch: Any) -> Any:  # batch: [batch_size] row numbers
        return tf.nest.map_structure(lambda rows: tf.gather(rows, batch), (x, y))

    def several_steps(order: Any) -> Any:  # order: [steps, batch_size]
        for step in tf.range(tf.shape(order)[0]):
            model.train_step(take(order[step]))
        return model.get_metrics_result()

    # XLA compiles anew for every shape, so it gets the epoch whole; otherwise pieces keep the progress bar moving.
    pieces = 1 if use_xla else min(steps, 20)
    shape = tf.TensorSpec([steps if use_xla else None, batch_size], tf.int64)
    run = tf.function(several_steps, jit_compile=use_xla).get_concrete_function(shape)

    recorded: dict[str, list[float]] = {}
    start = time.perf_counter()
    title = f"Trained for {_count(epochs, 'epoch')} on {n:,} examples in batches of {batch_size}."
    with progress("Training", title, total=epochs * pieces) as bar:
        for _ in range(epochs):
            model.reset_metrics()
            order = shuffle.permutation(n)[: steps * batch_size].reshape(steps, batch_size)
            for piece in np.array_split(order, pieces):
                result = run(tf.constant(piece))
                bar.advance(f"loss {float(result['loss']):.3f}")
            values = {name: float(value) for name, value in result.items()}
            if validation is not None:
                scores = model.evaluate(*validation, batch_size=1000, verbose=0, return_dict=True)
                values |= {f"val_{name}": float(value) for name, value in scores.items()}
            for name, value in values.items():
                recorded.setdefault(name, []).append(value)
    return History(recorded, epochs, time.perf_counter() - start)


def _check(model: keras.Model, train: Split, epochs: int, batch_size: int) -> int:
    """Number of training examples, once everything that can be wrong has been ruled out."""
    import tensorflow as tf

    if not getattr(model, "compiled", False):
        raise BadInput("Compile the model first: model.compile(optimizer=…, loss=…, metrics=[…]).")
    if epochs < 1 or batch_size < 1:
        raise BadInput(f"epochs and batch_size must be at least 1; got {epochs} and {batch_size}.")
    lengths = {len(part) for part in tf.nest.flatten(tuple(train))}
    if len(lengths) != 1:
        raise BadInput(f"x and y must hold the same number of examples; they hold {sorted(lengths)}.")
    n = lengths.pop()
    if n == 0:
        raise BadInput("There are no training examples.")
    return n


def _suits_xla(model: keras.Model) -> bool:
    """XLA speeds dense arithmetic up and slows convolutions and recurrent loops down (measured on two CPU cores)."""
    slow = ("Conv", "LSTM", "GRU", "RNN")
    return not any(word in type(layer).__name__ for layer in model._flatten_layers() for word in slow)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
