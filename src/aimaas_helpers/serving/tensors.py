"""What goes into and comes out of a model: a name, a NumPy type and a shape."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

SIGNATURE = "serving_default"
"""The one signature every exported model has; TensorFlow Serving's default too."""

KINDS = {"f": "numbers", "i": "whole numbers", "u": "whole numbers of at least 0", "b": "true or false"}
"""NumPy kinds a model may take or give, in words."""


class Tensor(msgspec.Struct, frozen=True):
    """One input or output; ``None`` in ``shape`` stands for any size, first of all the number of rows."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name!r}: {self.dtype} {shape_text(self.shape)}"

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape is acceptable."""
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )

    def zeros(self, unknown: int = 1) -> Array:
        """An array of one row that fits, with ``unknown`` where any other size goes."""
        sizes = [unknown if size is None else size for size in self.shape]
        if self.shape and self.shape[0] is None:
            sizes[0] = 1
        return np.zeros(sizes, self.dtype)


def shape_text(shape: Sequence[int | None]) -> str:
    """``(None, 28, 28)`` as a reader says it: ``(batch, 28, 28)``."""
    sizes = ["any" if size is None else str(size) for size in shape]
    if shape and shape[0] is None:
        sizes[0] = "batch"
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def sentence_list(names: Sequence[str]) -> str:
    """``'a', 'b' and 'c'``."""
    quoted = [f"'{name}'" for name in names]
    return " and ".join([*([", ".join(quoted[:-1])] if quoted[1:] else []), *quoted[-1:]]) or "none"
