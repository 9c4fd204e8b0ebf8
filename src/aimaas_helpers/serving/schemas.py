"""What models take and give, as JSON Schema: the part of the OpenAPI document that differs from model to model."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimaas_helpers.serving.tensors import SIGNATURE, Tensor, shape_text

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def record(properties: Mapping[str, Schema], *optional: str) -> Schema:
    """An object with these properties, all of which it must have but the ``optional`` ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": dict(properties)}


def items(schema: Schema, least: int = 0, most: int | None = None) -> Schema:
    """A list."""
    return {"type": "array", "items": schema, "minItems": least} | ({} if most is None else {"maxItems": most})


def nested(tensor: Tensor, first: int = 0) -> Schema:
    """Lists in lists as deep as the tensor's shape; without its first sizes if ``first`` is not 0."""
    schema = _value(tensor.dtype)
    for size in reversed(tensor.shape[first:]):
        schema = items(schema, 1) if size is None else items(schema, size, size)
    return schema | {"description": f"{tensor.dtype} {shape_text(tensor.shape)}"} if not first else schema


def _value(dtype: str) -> Schema:
    if dtype == "bytes":
        file = record({"b64": TEXT | {"contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*$"}})
        return {"anyOf": [TEXT, file | {"additionalProperties": False}]}
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return {"type": "boolean"}
    if kind.kind == "f":
        return {"type": "number", "minimum": float(np.finfo(kind).min), "maximum": float(np.finfo(kind).max)}
    return {"type": "integer", "minimum": int(np.iinfo(kind).min), "maximum": int(np.iinfo(kind).max)}


def predict(tensors: Mapping[str, Tensor], rows: str, columns: str) -> Schema:
    """A request of TensorFlow Serving's protocol (``rows`` is "instances") or an answer: by row or by column."""
    by_row = items(record({name: nested(tensor, 1) for name, tensor in tensors.items()}), 1)
    by_column = record({name: nested(tensor) for name, tensor in tensors.items()})
    if len(tensors) == 1:
        by_row = by_column = nested(next(iter(tensors.values())))
    asks = {"signature_name": {"enum": ["", SIGNATURE]}} if rows == "instances" else {}
    forms = [record({rows: by_row, **asks}, *asks), record({columns: by_column, **asks}, *asks)]
    together = all(tensor.shape[:1] == (None,) for tensor in tensors.values())
    return {"oneOf": forms if together else forms[1:]}


def infer(tensors: list[dict[str, Any]], dtypes: Mapping[str, Tensor], *, answer: bool = False) -> Schema:
    """A list of the Open Inference Protocol's tensors, each as ``metadata`` tells of it."""
    kinds = []
    for about in tensors:
        sizes = [{"const": size} if size >= 0 else COUNT | {"minimum": 1} for size in about["shape"]]
        shape = items({"type": "integer", "minimum": 1}, len(sizes), len(sizes))
        fields = {
            "name": {"const": about["name"]},
            "datatype": {"const": about["datatype"]},
            "shape": shape if answer else shape | {"prefixItems": sizes},
            "data": items(_value(dtypes[about["name"]].dtype)),
            "parameters": {"type": "object", "properties": {"binary_data_size": COUNT}},
        }
        kinds.append(record(fields, "parameters", "data"))
    return items({"oneOf": kinds}, 1 if answer else len(kinds), len(kinds))
