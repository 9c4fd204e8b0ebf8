"""A language model's file as its makers publish it: GGUF, with the weights, the tokenizer and the chat template."""

import os
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize
from numpy.typing import NDArray

from ..errors import Corrupt
from .shape import Shape

Floats = NDArray[np.float32]


class Weights:
    """The arrays of a GGUF file, read from the memory-mapped file when they are asked for, and its texts.

    Raises ``Corrupt`` if the file is no GGUF file or its model is of another family.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._reader = gguf.GGUFReader(self.path)
        except (OSError, ValueError, IndexError) as error:
            raise Corrupt(f"{self.path.as_posix()} cannot be read as a GGUF file ({error}).") from error
        self.stored = {tensor.name: tensor for tensor in self._reader.tensors}
        if self.text("general.architecture") != "llama":
            raise Corrupt(f"{self.path.as_posix()} is a {self.text('general.architecture')}; only llama is read here.")
        width, heads = self.text("llama.embedding_length"), self.text("llama.attention.head_count")
        self.shape = Shape(
            layers=self.text("llama.block_count"),
            width=width,
            heads=heads,
            kv_heads=self.text("llama.attention.head_count_kv"),
            head_size=width // heads,
            hidden=self.text("llama.feed_forward_length"),
            vocabulary=self.text("llama.vocab_size"),
            context=self.text("llama.context_length"),
            rope_base=self.text("llama.rope.freq_base"),
            epsilon=self.text("llama.attention.layer_norm_rms_epsilon"),
        )

    def text(self, name: str) -> Any:
        """What the file says under ``name``: a text, a number or a list, such as ``tokenizer.ggml.tokens``."""
        field = self._reader.fields.get(name)
        if field is None:
            raise Corrupt(f"{self.path.as_posix()} does not say '{name}'.")
        return field.contents()

    def array(self, name: str) -> Floats:
        """The float32 array ``name``: a vector, or a matrix of shape (from, to) as in ``x @ matrix``.

        Rows of queries and keys are put back into the order of the model's paper: a number's partner in the rotation
        stands half a head further on. GGUF keeps the two side by side. The embedding has shape (tokens, width).
        """
        try:
            tensor = self.stored[f"{name}.weight"]
        except KeyError:
            raise Corrupt(f"{self.path.as_posix()} has no array '{name}.weight'.") from None
        values: Floats = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)  # (to, from)
        if name.endswith(("attn_q", "attn_k")):
            size = self.shape.head_size
            values = values.reshape(-1, size // 2, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
        return values if values.ndim == 1 or name == "token_embd" else values.T
