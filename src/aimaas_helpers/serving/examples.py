"""Requests that work when they are pasted into a terminal, and short enough to be read whatever the model's shape."""

import base64
import json
import shlex
from typing import Any

from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.tensors import Tensor

_SHORT = 200
"""Characters of JSON that are shown as they are; a longer body is written as the Python that makes it."""


def predict(model: Model) -> dict[str, Any]:
    """One row for TensorFlow Serving's protocol: of zeros, or the codec's example."""
    columns = {name: _column(model, tensor) for name, tensor in model.inputs.items()}
    if any(tensor.shape[:1] != (None,) for tensor in model.inputs.values()):
        return {"inputs": columns}
    row = {name: column[0] for name, column in columns.items()}
    return {"instances": [row if len(row) > 1 else next(iter(row.values()))]}


def infer(model: Model, datatypes: dict[str, str]) -> dict[str, Any] | None:
    """The same for the Open Inference Protocol; ``None`` if it can be sent in binary only."""
    if any(tensor.dtype == "float16" for tensor in model.inputs.values()):
        return None
    inputs = []
    for name, tensor in model.inputs.items():
        data = _column(model, tensor)
        shape = [1] if tensor.dtype == "bytes" else list(tensor.zeros().shape)
        flat = data if tensor.dtype == "bytes" else tensor.zeros().ravel().tolist()
        inputs.append({"name": name, "shape": shape, "datatype": datatypes[name], "data": flat})
    return {"inputs": inputs}


def _column(model: Model, tensor: Tensor) -> Any:
    if tensor.dtype == "bytes":
        value = model.card.codecs[tensor.name].example
        text = value.decode(errors="ignore")
        return [text if text.isprintable() else {"b64": base64.b64encode(value).decode()}]
    return tensor.zeros().tolist()


def curl(url: str, body: object, *, key: bool = False) -> str:
    """A command for a POSIX shell that posts ``body``; ``key`` adds the header with the caller's API key."""
    words = ["curl", "-sS", shlex.quote(url)] + ['-H "Authorization: Bearer $API_KEY"'] * key
    text = json.dumps(body)
    if len(text) <= _SHORT:
        return " ".join([*words, "-d", shlex.quote(text)])
    program = f"import json; print(json.dumps({_python(body)}))"
    return f"python3 -c {shlex.quote(program)} |\n  {' '.join([*words, '-d @-'])}"


def _python(value: object) -> str:
    """The expression for a JSON value; of items that are all alike, one and how many there are."""
    if isinstance(value, list) and len(value) > 3 and all(item == value[0] for item in value):
        return f"[{_python(value[0])}] * {len(value)}"
    if isinstance(value, list):
        return f"[{', '.join(map(_python, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)}: {_python(item)}' for key, item in value.items())}}}"
    return json.dumps(value) if isinstance(value, str) else repr(value)
