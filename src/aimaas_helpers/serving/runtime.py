"""Arrays in, arrays out: one LiteRT interpreter, warmed up."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from aimaas_helpers.errors import Corrupt
from aimaas_helpers.serving.tensors import SIGNATURE, Array, Tensor

WARM_UP_SIZE = 32  # for sizes other than the batch that the model leaves open, such as a text's length

_TRIAL = 0.05  # seconds that trying a batch of one size may take, or one call if that takes longer
_SHORT = 0.001  # seconds; a call that takes less is mostly not the rows' own work
_LONG = 0.1  # seconds; a call that takes longer has little to gain from more rows, and trying them would cost too much


class Runtime:
    """A loaded model. An interpreter serves one caller at a time: others wait for the lock.

    ``content`` is a LiteRT model with the signature ``serving_default``; ``threads`` is how many cores one call may
    use. Raises ``Corrupt`` if it is no such model or does not run on zeros.
    """

    def __init__(self, content: bytes, *, threads: int = 1) -> None:
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
            signature = self._interpreter.get_signature_runner(SIGNATURE)
            inputs, outputs = signature.get_input_details(), signature.get_output_details()
            del signature  # the interpreter refuses to run while anything else refers to its inside
        except (ValueError, RuntimeError) as error:
            raise Corrupt(f"LiteRT cannot read the model ({error}).") from error
        self._input_index = {name: int(details["index"]) for name, details in inputs.items()}
        self._output_index = {name: int(details["index"]) for name, details in outputs.items()}
        self.tensor_names = {name: str(details["name"]) for name, details in (inputs | outputs).items()}
        self.inputs = {name: _describe(name, details) for name, details in inputs.items()}
        self.outputs = {name: _describe(name, details) for name, details in outputs.items()}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._lock = threading.Lock()
        self._seconds: dict[int, float] = {}  # what a call lately took, by the bits in its size
        try:
            for _ in range(3):  # the first call is slower
                self.run({name: tensor.zeros(WARM_UP_SIZE) for name, tensor in self.inputs.items()})
        except (ValueError, RuntimeError) as error:
            raise Corrupt(f"LiteRT cannot run the model ({error}).") from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs, by name. Every input must be present, of its type and of a shape that fits.

        Raises ``RuntimeError`` if the values make an operation fail, such as a word number outside the vocabulary.
        """
        interpreter = self._interpreter
        with self._lock:
            started = time.perf_counter()
            shapes = {name: array.shape for name, array in inputs.items()}
            if shapes != self._shapes:
                self._shapes = {}  # until every tensor has its new size
                for name, shape in shapes.items():
                    interpreter.resize_tensor_input(self._input_index[name], shape)
                interpreter.allocate_tensors()
                self._shapes = shapes
            for name, array in inputs.items():
                interpreter.set_tensor(self._input_index[name], array)
            interpreter.invoke()
            outputs = {name: interpreter.get_tensor(index) for name, index in self._output_index.items()}
            bits = sum(array.size for array in inputs.values()).bit_length()
            seconds = time.perf_counter() - started
            # Quick to believe that it is cheap, slow to believe that it is dear: one hiccup says little.
            self._seconds[bits] = min(seconds, 0.9 * self._seconds.get(bits, seconds) + 0.1 * seconds)
            return outputs

    def best_batch(self, most: int) -> int:
        """How many rows, at most ``most``, to put into a call: as many as do not make each row dearer.

        Runs the model to find out. On a processor, large batches pay for small networks and harm convolutions.
        """
        rows = best = 1
        cost = cheapest = self._seconds_per_row(1)
        while 2 * rows <= most and rows * cost < _LONG:
            # In short calls four rows may gain where two do not; in long ones looking further costs time and memory.
            if cost > (1.3 if rows * cost < _SHORT else 1.05) * cheapest:
                break
            rows *= 2
            cost = self._seconds_per_row(rows)
            if cost > 1.05 * cheapest:  # or was the machine busy? Ask twice
                cost = min(cost, self._seconds_per_row(rows))
            if cost <= 1.05 * cheapest:
                best = rows
            cheapest = min(cost, cheapest)
        return most if 2 * best > most else best

    def _seconds_per_row(self, rows: int) -> float:
        inputs = {name: tensor.zeros(WARM_UP_SIZE) for name, tensor in self.inputs.items()}
        inputs = {name: np.repeat(array, rows, axis=0) for name, array in inputs.items()}
        times: list[float] = []
        while (len(times) < 5 and sum(times) < _TRIAL) or sum(times) < _TRIAL / 25:  # longer than most hiccups
            started = time.perf_counter()
            self.run(inputs)
            times.append(time.perf_counter() - started)
        return min(times) / rows

    def seconds(self, size: int) -> float:
        """What a call with so many values is expected to take, from those there have been; at least one has."""
        for bits in range(size.bit_length(), 0, -1):
            if bits in self._seconds:
                return self._seconds[bits] * max(1.0, size / (1 << bits))
        return min(tuple(self._seconds.values()))  # a copy: a thread may be adding to them


def _describe(name: str, details: Mapping[str, Any]) -> Tensor:
    shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
    return Tensor(name, np.dtype(details["dtype"]).name, shape)
