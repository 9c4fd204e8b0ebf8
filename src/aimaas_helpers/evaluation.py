"""How good is a classifier? Accuracy with its uncertainty, precision, recall and F1 a class, and the worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import plotting
from .errors import BadInput

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike, NDArray

    from .data import Split


def wilson_interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of Wilson (1927) for a proportion: ``successes`` of ``n``; ``z`` = 1.96 covers 95 %."""
    if not 0 <= successes <= n or n == 0:
        raise BadInput(f"Expected 0 ≤ successes ≤ n and n > 0; got {successes} of {n}.")
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))  # rounding must not push p outside


@dataclass(frozen=True)
class Report:
    """What a classifier did on ``n`` examples of ``k`` classes.

    ``y`` and ``y_hat`` are true and predicted class numbers ``[n]``, ``probabilities`` is ``[n, k]``, ``confusion``
    ``[k, k]`` counts (true class, predicted class). ``precision``, ``recall`` and ``f1`` are ``[k]``, in ``[0, 1]``.
    """

    classes: Sequence[str]
    y: NDArray[np.int64]
    y_hat: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    confusion: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def accuracy(self) -> float:
        """Share of examples whose class was predicted correctly."""
        return float(np.mean(self.y == self.y_hat))

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95 % interval: where it may lie for examples not seen."""
        return wilson_interval(int(np.sum(self.y == self.y_hat)), self.n)

    def worst(self, count: int = 8) -> NDArray[np.int64]:
        """Positions of the ``count`` mistakes the model was most sure of, worst first."""
        wrong = np.flatnonzero(self.y != self.y_hat)
        return wrong[np.argsort(-self.probabilities[wrong].max(axis=1), kind="stable")][:count]

    def __str__(self) -> str:
        low, high = self.interval
        head = f"Accuracy {self.accuracy:.1%} on {self.n:,} examples (95 % interval {low:.1%} to {high:.1%})."
        width = max(5, *(len(name) for name in self.classes))
        lines = [head, f"{'class':>{width}}  precision  recall     F1  examples"]
        counts = self.confusion.sum(axis=1)
        for row in zip(self.classes, self.precision, self.recall, self.f1, counts, strict=True):
            lines.append("{:>{w}}  {:9.3f}  {:6.3f}  {:5.3f}  {:8,}".format(*row, w=width))
        return "\n".join(lines)

    def plot(self) -> None:
        """Draw the confusion matrix."""
        alt = "Confusion matrix: rows are true classes, columns predicted ones; nearly all counts lie on the diagonal."
        if self.accuracy < 0.8:
            alt = "Confusion matrix: rows are true classes, columns predicted ones; many counts lie off the diagonal."
        plotting.heatmap(self.confusion, self.classes, rows="true class", columns="predicted class", alt=alt)


def classify(model: keras.Model, split: Split, classes: Sequence[str] | None = None) -> Report:
    """Run ``model`` on ``split`` and compare with the truth.

    The model answers with class probabilities ``[n, k]``, or with one probability ``[n, 1]`` of the second of two.
    """
    output = np.asarray(model.predict(split.x, batch_size=1000, verbose=0))
    return report(split.y, output, classes)


def report(y: ArrayLike, output: ArrayLike, classes: Sequence[str] | None = None) -> Report:
    """The :class:`Report` of true classes ``y`` ``[n]`` against a model's ``output`` ``[n, k]`` or ``[n, 1]``."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    truth, probabilities = np.asarray(y), np.asarray(output)
    if probabilities.ndim != 2 or len(truth) != len(probabilities) or len(truth) == 0:
        raise BadInput(f"Expected y [n] and output [n, k]; got shapes {truth.shape} and {probabilities.shape}.")
    if probabilities.shape[1] == 1:
        probabilities = np.hstack([1 - probabilities, probabilities])
    k = probabilities.shape[1]
    names = [str(name) for name in (range(k) if classes is None else classes)]
    if len(names) != k:
        raise BadInput(f"The model tells {k} classes apart; {len(names)} class names were given.")
    y_hat = probabilities.argmax(axis=1)
    labels = list(range(k))
    scores = precision_recall_fscore_support(truth, y_hat, labels=labels, zero_division=0.0)
    confusion = confusion_matrix(truth, y_hat, labels=labels)
    return Report(names, truth, y_hat, probabilities, confusion, *scores[:3])
