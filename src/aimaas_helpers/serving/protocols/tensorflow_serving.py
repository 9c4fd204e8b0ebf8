"""TensorFlow Serving's REST protocol: predict, status and metadata. Translation only.

Where this server chooses: keys of the request that the protocol does not know are ignored, as TensorFlow Serving does,
but the names of inputs must be exactly the model's. ``NaN`` and ``Infinity`` are not JSON and are refused in requests;
an answer that holds them is refused as well, never sent as ``null``. The content type of a request is not looked at.
"""

import contextlib
import functools
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aimaas_helpers.errors import AimaasError, BadInput, NotFound
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.nested import list_type, pack, to_array, to_bytes
from aimaas_helpers.serving.plane import Plane, check_names
from aimaas_helpers.serving.protocols import openai, read
from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.tensors import SIGNATURE, Array, Tensor, sentence_list

_EXPECTED = (
    'expected an object with "instances" (a list of rows) or "inputs" (columns by name), '
    "in JSON, where every number is finite"
)
_DATA_TYPES = {
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "bytes": "DT_STRING",
}  # the others: DT_ and NumPy's name


class _PredictRequest(msgspec.Struct):
    signature_name: str = ""
    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_request_decoder = msgspec.json.Decoder(_PredictRequest)
_rows_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_columns_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class _Question:
    inputs: dict[str, Array]
    by_row: bool


def decode(model: Model, body: bytes) -> _Question:
    """The arrays that a predict request sends: rows in ``instances``, or columns in ``inputs``. Raises ``BadInput``."""
    if len(model.inputs) == 1:
        (tensor,) = model.inputs.values()
        if tensor.dtype != "bytes":
            with contextlib.suppress(ValueError, OverflowError, RecursionError, struct.error):
                # The usual request: read at once. Whatever is odd about it, the careful way below finds it.
                values = _rows_only(tensor.dtype, len(tensor.shape)).decode(body).instances
                return _Question({tensor.name: pack(values, tensor)}, by_row=True)
    return _decode_carefully(model, body)


@functools.cache
def _rows_only(dtype: str, rank: int) -> msgspec.json.Decoder[Any]:
    kind = msgspec.defstruct("Rows", [("instances", list_type(dtype, rank))], forbid_unknown_fields=True)
    return msgspec.json.Decoder(kind)


def _decode_carefully(model: Model, body: bytes) -> _Question:
    try:
        request = _request_decoder.decode(body)
    except RecursionError:
        raise BadInput(f"The request is nested too deeply; {_EXPECTED}.") from None
    except ValueError as error:
        raise BadInput(f"The request cannot be read ({error if body else 'its body is empty'}); {_EXPECTED}.") from None
    if request.signature_name not in ("", SIGNATURE):
        raise BadInput(f"Model '{model.name}' has the signature '{SIGNATURE}', not '{request.signature_name[:80]}'.")
    if (request.instances is msgspec.UNSET) == (request.inputs is msgspec.UNSET):
        found = 'neither "instances" nor' if request.inputs is msgspec.UNSET else 'both "instances" and'
        raise BadInput(f'The request has {found} "inputs"; {_EXPECTED}.')
    if isinstance(request.instances, msgspec.Raw):
        return _Question(_from_rows(model, request.instances), by_row=True)
    assert isinstance(request.inputs, msgspec.Raw)
    return _Question(_from_columns(model, request.inputs), by_row=False)


def encode(model: Model, question: _Question, outputs: Mapping[str, Array]) -> bytes:
    """The answer: ``predictions`` row by row, or ``outputs`` by name. Raises ``BadInput`` if JSON cannot carry it."""
    if question.by_row:
        return msgspec.json.encode({"predictions": _to_rows(model, outputs)})
    columns = {name: _to_list(model, name, array) for name, array in outputs.items()}
    return msgspec.json.encode({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})


def _from_rows(model: Model, text: msgspec.Raw) -> dict[str, Array]:
    """``instances``: a list of values, if the model has one input, or a list of objects keyed by input name."""
    if not re.match(rb"\s*\[", text):
        raise BadInput('"instances" must be a list of rows.')
    if re.match(rb"\s*\[\s*\]", text):
        raise BadInput('"instances" is an empty list; expected at least one row.')
    if re.match(rb'\s*\[\s*\{(?!\s*"b64"\s*:)', text):
        try:
            rows = _rows_decoder.decode(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(f'Every row of "instances" must be an object, as the first is ({error}).') from None
        for number, row in enumerate(rows):
            try:
                check_names(model, row)
            except BadInput as error:
                raise BadInput(f'Row {number} of "instances" does not fit: {error}') from None
        columns = {name: b"[" + b",".join([bytes(row[name]) for row in rows]) + b"]" for name in model.inputs}
        return {name: _to_array(model, name, column) for name, column in columns.items()}
    if len(model.inputs) > 1:
        raise BadInput(f'Every row of "instances" must be an object with {sentence_list(list(model.inputs))}.')
    return {name: _to_array(model, name, text) for name in model.inputs}


def _from_columns(model: Model, text: msgspec.Raw) -> dict[str, Array]:
    """``inputs``: an object keyed by input name, or the value itself if the model has one input."""
    if re.match(rb'\s*\{(?!\s*"b64"\s*:)', text):
        columns = _columns_decoder.decode(text)
        check_names(model, columns)
        return {name: _to_array(model, name, column) for name, column in columns.items()}
    if len(model.inputs) > 1:
        raise BadInput(f'"inputs" must be an object with {sentence_list(list(model.inputs))}.')
    return {name: _to_array(model, name, text) for name in model.inputs}


def _to_array(model: Model, name: str, text: msgspec.Raw | bytes) -> Array:
    what = f"The input '{name}' of model '{model.name}'"
    if model.inputs[name].dtype == "bytes":
        return to_bytes(text, what)
    return to_array(text, model.inputs[name], what)


def _to_rows(model: Model, outputs: Mapping[str, Array]) -> list[Any]:
    if len({array.shape[:1] for array in outputs.values()}) > 1:
        raise BadInput(f'Model \'{model.name}\' does not answer row by row: send "inputs" instead of "instances".')
    lists = [_to_list(model, name, array) for name, array in outputs.items()]
    return [dict(zip(outputs, row, strict=True)) for row in zip(*lists, strict=True)] if len(lists) > 1 else lists[0]


def _to_list(model: Model, name: str, array: Array) -> list[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise BadInput(
            f"Model '{model.name}' computed an output '{name}' that is not finite for row {row}, "
            "which JSON cannot carry; send values nearer to those it was trained on."
        )
    values: list[Any] = array.tolist()
    return values


def status(plane: Plane, name: str, version: int | None) -> dict[str, Any]:
    """The state of one version, or of all, highest first. Raises ``NotFound``."""
    versions = plane.versions(name)
    if version is not None:
        if version not in versions:
            plane.model(name, version)  # raises, saying which versions there are
        versions = {version: versions[version]}
    return {"model_version_status": [_version_status(number, fault) for number, fault in versions.items()]}


def _version_status(version: int, fault: AimaasError | None) -> dict[str, Any]:
    state, code = ("AVAILABLE", "OK") if fault is None else ("END", "DATA_LOSS")
    return {
        "version": str(version),
        "state": state,
        "status": {"error_code": code, "error_message": str(fault or "")},
    }


def metadata(model: Model) -> dict[str, Any]:
    """The signature, and beside it the model card."""
    signature = {
        "inputs": {name: _tensor_info(model, tensor) for name, tensor in model.inputs.items()},
        "outputs": {name: _tensor_info(model, tensor) for name, tensor in model.outputs.items()},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}, "model_card": model.card},
    }


def _tensor_info(model: Model, tensor: Tensor) -> dict[str, Any]:
    assert model.runtime is not None
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in tensor.shape]
    return {
        "dtype": _DATA_TYPES.get(tensor.dtype, f"DT_{tensor.dtype.upper()}"),
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": model.runtime.tensor_names[tensor.name],
    }


def routes(plane: Plane) -> list[Route]:
    """The HTTP side: every path with no version, with a version and with a label."""

    async def answer_predict(request: Request) -> Response:
        call: Call = request.scope["call"]
        call.protocol = "tensorflow_serving"
        call.model = model = plane.model(**request.path_params)
        plane.admit(model)
        body = await read(request)
        question = await plane.offload(len(body), decode, model, body)
        outputs = await plane.infer(model, question.inputs, call)
        size = sum(array.nbytes for array in outputs.values())
        return _json(await plane.offload(8 * size, encode, model, question, outputs))

    async def answer_status(request: Request) -> Response:
        wanted = _versioned(plane, request)
        answer = status(plane, **wanted)
        with contextlib.suppress(NotFound):  # OpenAI's and KServe's older clients ask for the same path
            model = plane.model(wanted["name"], wanted["version"] or plane.standing(wanted["name"]))
            answer |= openai.describe(model) | {"name": model.name, "ready": True}
        return _json(_pretty(answer))

    async def answer_metadata(request: Request) -> Response:
        wanted = _versioned(plane, request)
        if wanted["version"] is None:  # not plane.model: reading takes no canary's turn
            wanted["version"] = plane.standing(wanted["name"])
        return _json(_pretty(metadata(plane.model(**wanted))))

    found = []
    for path in ("", "/versions/{version:version}", "/labels/{label:model}"):
        path = f"/v1/models/{{name:model}}{path}"
        found += [
            Route(f"{path}:predict", answer_predict, methods=["POST"]),
            Route(path, answer_status),
            Route(f"{path}/metadata", answer_metadata),
        ]
    return found


def _versioned(plane: Plane, request: Request) -> dict[str, Any]:
    name, label = request.path_params["name"], request.path_params.get("label")
    version = request.path_params.get("version") if label is None else plane.model(name, label=label).version
    return {"name": name, "version": version}


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
