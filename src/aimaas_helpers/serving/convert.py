"""From a Keras model to a SavedModel and a LiteRT file. Importing this module imports TensorFlow."""

import contextlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.runtime import WARM_UP_SIZE, Runtime
from aimaas_helpers.serving.tensors import KINDS, SIGNATURE, Tensor


def write(model: Any, name: str, folder: Path, file: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Write the model called ``name`` as a SavedModel into ``folder`` and as LiteRT to ``file``.

    Returns its inputs and outputs. Raises ``BadInput`` if Keras, TensorFlow or LiteRT cannot express it.
    """
    try:
        functional = keras.Model(model.inputs, model.outputs)  # the same layers, every structure a plain list
    except (AttributeError, ValueError) as error:
        raise BadInput(
            f"Model '{name}' does not say what goes in: begin it with keras.Input(shape, name=...), "
            "or wrap it in keras.Model(inputs, outputs)."
        ) from error
    inputs = _tensors(functional.inputs, [_chosen_input_name(value.name) for value in functional.inputs], "input")
    outputs = _tensors(
        functional.outputs, [_chosen_output_name(functional, n) for n in functional.output_names], "output"
    )
    for tensor in (*inputs, *outputs):
        if tensor.dtype == "string" or np.dtype(tensor.dtype).kind not in KINDS:
            raise BadInput(
                f"Model '{name}' has {tensor}: only numbers and booleans can be served, encode the rest first."
            )

    def serve(**arrays: Any) -> dict[str, Any]:
        values = [arrays[tensor.name] for tensor in inputs]
        results = keras.tree.flatten(functional(values if values[1:] else values[0], training=False))
        return {tensor.name: value for tensor, value in zip(outputs, results, strict=True)}

    module = tf.Module()
    module.model = functional
    module.weights = [variable.value for variable in functional.variables]  # else the converter leaves them out
    try:
        with _quiet():
            signature = tf.function(serve).get_concrete_function(
                **{tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in inputs}
            )
            tf.saved_model.save(module, str(folder), signatures={SIGNATURE: signature})
            content = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE]).convert()
            _compare(functional, inputs, outputs, Runtime(content))
    except OSError:
        raise
    except Exception as error:  # the converter raises many kinds
        reason = str(error).strip().partition("\n")[0]
        raise BadInput(f"Model '{name}' cannot be turned into a LiteRT model ({reason}).") from error
    file.write_bytes(content)
    return inputs, outputs


def _compare(functional: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor], runtime: Runtime) -> None:
    """Raises ``ValueError`` unless LiteRT answers one random row as Keras does."""
    random = np.random.default_rng(0)
    row = {tensor.name: tensor.zeros(WARM_UP_SIZE) for tensor in inputs}
    for name, array in row.items():
        if array.dtype.kind == "f":
            row[name] = random.random(array.shape).astype(array.dtype)
    arrays = [row[tensor.name] for tensor in inputs]
    expected = keras.tree.flatten(functional(arrays if arrays[1:] else arrays[0], training=False))
    answer = runtime.run(row)
    for tensor, values in zip(outputs, expected, strict=True):
        right = np.asarray(values)
        if not np.allclose(answer[tensor.name], right, rtol=1e-3, atol=1e-3 * np.abs(right).max(), equal_nan=True):
            raise ValueError(f"its output '{tensor.name}' would differ from Keras's")


def _tensors(values: list[Any], chosen: list[str | None], otherwise: str) -> tuple[Tensor, ...]:
    """Describe Keras's symbolic tensors: under the chosen names, or ``input``, or ``input_1``, ``input_2``, …"""
    numbered = [f"{otherwise}_{n}" for n in range(1, len(values) + 1)] if values[1:] else [otherwise]
    names = [
        name if name and chosen.count(name) == 1 else number for name, number in zip(chosen, numbered, strict=True)
    ]
    return tuple(Tensor(name, value.dtype, tuple(value.shape)) for name, value in zip(names, values, strict=True))


def _chosen_input_name(name: str) -> str | None:
    return None if re.fullmatch(r"(keras_tensor|input_layer)(_\d+)?", name) else _identifier(name)


def _chosen_output_name(functional: Any, name: str) -> str | None:
    """The last layer's name, unless Keras made it up: from its class, as in ``dense_3``, or for a bare operation."""
    layer = next((layer for layer in functional.layers if layer.name == name), None)
    if layer is None:
        return None
    made_up = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(layer).__name__)
    return None if re.fullmatch(rf"{made_up.lower()}(_\d+)?", name) else _identifier(name)


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what Python and C++ print, log and warn to nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    level = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        for descriptor in (1, 2):
            stack.callback(os.close, saved := os.dup(descriptor))
            stack.callback(os.dup2, saved, descriptor)
            os.dup2(nowhere.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(logging.disable, level)
        logging.disable(logging.CRITICAL)
        yield
