"""The Open Inference Protocol (KServe v2) with Triton's binary tensors and model repository. Translation only.

Where this server chooses: JSON answers hold flat lists, as Triton's do. Parameters that it does not know are ignored,
but a model is loaded as its folder holds it or not at all. Binary tensors may hold numbers that are not finite, JSON
may not. Compressed requests are refused.
"""

import math
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version as package_version
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimaas_helpers.errors import BadInput, Corrupt
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.nested import to_array, to_bytes
from aimaas_helpers.serving.plane import Plane, check_names
from aimaas_helpers.serving.protocols import read
from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.tensors import Array, Tensor, sentence_list, shape_text

_JSON_LENGTH = "Inference-Header-Content-Length"
_DATATYPES = {"bool": "BOOL", "bytes": "BYTES", "float16": "FP16", "float32": "FP32", "float64": "FP64"}
_DATATYPES |= {name: name.upper() for bits in (8, 16, 32, 64) for name in (f"int{bits}", f"uint{bits}")}

Asked = TypeVar("Asked")
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Parameters(msgspec.Struct):
    """What a request, an input or an output may ask for."""

    timeout: _Size = 0  # of a request, in microseconds; 0 asks for nothing
    binary_data_output: bool = False  # of a request
    binary_data_size: _Size | None = None  # of an input, in bytes
    binary_data: bool | None = None  # of an output


class _Input(msgspec.Struct):
    name: str
    shape: Annotated[list[_Size], msgspec.Meta(max_length=32)]
    datatype: str
    parameters: _Parameters | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def size(self) -> int | None:
        return self.parameters.binary_data_size if self.parameters else None


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters | None = None


class Query(msgspec.Struct):
    """The JSON of an inference request."""

    inputs: list[_Input]
    id: str | None = None
    outputs: list[_Output] | None = None
    parameters: _Parameters | None = None


class _RepositoryQuery(msgspec.Struct):
    ready: bool = False
    parameters: dict[str, Any] | None = None


def _read(text: bytes | memoryview, kind: type[Asked]) -> Asked:
    try:
        return msgspec.json.decode(text, type=kind)
    except (ValueError, RecursionError) as error:
        expected = f"expected an object in JSON, its length in the header {_JSON_LENGTH} if binary data follow"
        raise BadInput(f"The request cannot be read ({error if text else 'it is empty'}); {expected}.") from None


def decode(model: Model, body: bytes, json_length: str) -> tuple[Query, dict[str, Array]]:
    """What a request asks for, and the arrays that it sends. Raises ``BadInput``.

    ``json_length`` is the header that says how much of the body is JSON; binary data follow.
    """
    if not re.fullmatch("[0-9]{1,18}", json_length) or int(json_length) > len(body):
        raise BadInput(f"{_JSON_LENGTH} is how many of the body's {len(body)} bytes are JSON, not {json_length[:40]}.")
    content, start = memoryview(body), int(json_length)
    query = _read(content[:start], Query)
    _check_names(model, query)
    arrays = {}
    for item in query.inputs:
        tensor, what = model.inputs[item.name], f"The input '{item.name}' of model '{model.name}'"
        _check_input(tensor, item, what)
        if item.size is None:
            arrays[item.name] = _from_json(tensor, item, what)
        else:
            arrays[item.name] = _from_binary(tensor, item, content[start : start + item.size], what)
            start += item.size
    if start != len(body):
        raise BadInput(f"The body has {len(body)} bytes; {_JSON_LENGTH} and every binary_data_size add up to {start}.")
    return query, arrays


def _check_names(model: Model, query: Query) -> None:
    inputs, outputs = [item.name for item in query.inputs], [wanted.name for wanted in query.outputs or []]
    check_names(model, inputs)
    if not set(outputs) <= model.outputs.keys():
        raise BadInput(f"Model '{model.name}' has the outputs {sentence_list(list(model.outputs))}, and no others.")
    if len(set(inputs)) < len(inputs) or len(set(outputs)) < len(outputs):
        raise BadInput("An input or an output is named twice in this request; once is enough.")


def _check_input(tensor: Tensor, item: _Input, what: str) -> None:
    """Raises ``BadInput`` unless the model takes it: nothing is allocated for what it does not take."""
    if item.datatype != _DATATYPES[tensor.dtype]:
        raise BadInput(f"{what} has the datatype {_DATATYPES[tensor.dtype]}; this request sent '{item.datatype[:40]}'.")
    if not tensor.fits(item.shape) or 0 in item.shape:
        raise BadInput(f"{what} has shape {shape_text(tensor.shape)}; this request sent {shape_text(item.shape)}.")
    if bool(re.match(rb"null", item.data)) == (item.size is None):
        raise BadInput(f'{what} needs "data" or, as a parameter, "binary_data_size": one of them, not both.')


def _from_json(tensor: Tensor, item: _Input, what: str) -> Array:
    """``data``, which may be a flat list whatever the shape is."""
    shape = tuple(item.shape) if re.match(rb"\s*\[\s*\[", item.data) else (math.prod(item.shape),)
    if tensor.dtype == "bytes":
        array = to_bytes(item.data, what)
    elif tensor.dtype == "float16":
        raise BadInput(f"{what} is FP16, which this protocol sends as binary data, never as JSON.")
    else:
        array = to_array(item.data, Tensor(tensor.name, tensor.dtype, shape), what)
    if array.shape != shape:
        raise BadInput(f"{what} is declared as {shape_text(item.shape)}; its data are {shape_text(array.shape)}.")
    return array.reshape(item.shape)


def _from_binary(tensor: Tensor, item: _Input, content: memoryview, what: str) -> Array:
    """``content`` seen as an array; values of bytes are copied."""
    count = math.prod(item.shape)
    if tensor.dtype == "bytes":
        return _split(content, count, what).reshape(item.shape)
    dtype = np.dtype(tensor.dtype)
    if len(content) != count * dtype.itemsize:
        declared = f"{shape_text(item.shape)} of {item.datatype}, {count * dtype.itemsize} bytes"
        raise BadInput(f"{what} is declared as {declared}; its binary data have {len(content)}.")
    if dtype.kind == "b" and np.frombuffer(content, np.uint8).max() > 1:
        raise BadInput(f"{what} is BOOL, of bytes that are 0 or 1; this request sent others.")
    return np.frombuffer(content, dtype).reshape(item.shape)


def _split(content: memoryview, count: int, what: str) -> Array:
    """The values of a BYTES tensor, each of which follows its length. Raises ``BadInput``."""
    values: list[bytes] = []
    end = 0
    while len(values) < count and end + 4 <= len(content):
        start = end + 4
        end = start + int.from_bytes(content[end:start], "little")
        values.append(bytes(content[start:end]))
    if len(values) != count or end != len(content):
        expected = f"{count} values of BYTES, each after its length in four bytes, the lowest first"
        raise BadInput(f"{what} is declared as {expected}; its {len(content)} bytes of binary data are not that.")
    array = np.empty(count, object)
    array[:] = values
    return array


def encode(model: Model, query: Query, outputs: Mapping[str, Array]) -> tuple[bytes, dict[str, str]]:
    """The answer, and the headers that say what it is. Raises ``BadInput`` if JSON cannot carry it."""
    all_binary = query.parameters is not None and query.parameters.binary_data_output
    described, parts = [], [b""]
    for wanted in query.outputs or [_Output(name) for name in model.outputs]:
        array = outputs[wanted.name]
        about: dict[str, Any] = {"name": wanted.name, "datatype": _DATATYPES[array.dtype.name], "shape": array.shape}
        binary = wanted.parameters.binary_data if wanted.parameters else None
        if all_binary if binary is None else binary:
            about["parameters"] = {"binary_data_size": array.nbytes}
            parts.append(array.tobytes())
        elif array.dtype == np.float16 or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            output = f"The output '{wanted.name}' of model '{model.name}'"
            raise BadInput(f"{output} is FP16 or not finite, which JSON cannot carry; ask for binary data.")
        else:
            about["data"] = array.ravel().tolist()
        described.append(about)
    answer = {"model_name": model.name, "model_version": str(model.version), "outputs": described}
    parts[0] = msgspec.json.encode(answer if query.id is None else {"id": query.id, **answer})
    if not parts[1:]:
        return parts[0], {"Content-Type": "application/json"}
    return b"".join(parts), {"Content-Type": "application/octet-stream", _JSON_LENGTH: str(len(parts[0]))}


def metadata(plane: Plane, model: Model) -> dict[str, Any]:
    """What a client must know of a model."""
    versions = [str(version) for version, fault in plane.versions(model.name).items() if fault is None]
    tensors = {"inputs": _describe(model.inputs.values()), "outputs": _describe(model.outputs.values())}
    return {"name": model.name, "versions": versions, "platform": "litert_tflite", **tensors}


def _describe(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Sizes that a client may choose are -1."""
    return [{"name": t.name, "datatype": _DATATYPES[t.dtype], "shape": [n or -1 for n in t.shape]} for t in tensors]


def routes(plane: Plane) -> list[Route]:
    """The HTTP side: the server, its models, and the repository that they come from."""

    server = {"name": "aimaas", "version": package_version("aimaas-helpers")}

    async def answer_server(request: Request) -> Response:
        return JSONResponse({**server, "extensions": ["binary_tensor_data", "model_repository"]})

    async def answer_health(request: Request) -> Response:
        # The protocol calls the key "live" in both answers; KServe's client reads "ready" in the second.
        fails = request.url.path.endswith("ready") and not plane.ready
        return JSONResponse({"live": True, "ready": plane.ready}, 503 if fails else 200)

    def model_of(request: Request) -> Model:
        name, version = request.path_params["name"], request.path_params.get("version")
        return plane.model(name, plane.standing(name) if version is None else version)  # takes no canary's turn

    async def answer_metadata(request: Request) -> Response:
        return JSONResponse(metadata(plane, model_of(request)))

    async def answer_ready(request: Request) -> Response:
        return JSONResponse({"name": model_of(request).name, "ready": True})

    async def answer_infer(request: Request) -> Response:
        call: Call = request.scope["call"]
        call.protocol = "open_inference"
        call.model = model = plane.model(**request.path_params)
        plane.admit(model)
        if request.headers.get("content-encoding", "identity") != "identity":
            return JSONResponse({"error": "Compressed requests are not read here: send none."}, 415)
        body = await read(request)
        json_length = request.headers.get(_JSON_LENGTH, str(len(body)))
        query, inputs = await plane.offload(len(body), decode, model, body, json_length)
        if query.parameters and query.parameters.timeout:
            call.allow(query.parameters.timeout / 1e6)
        outputs = await plane.infer(model, inputs, call)
        size = 8 * sum(array.nbytes for array in outputs.values())  # about what JSON would take
        content, headers = await plane.offload(size, encode, model, query, outputs)
        return Response(content, headers=headers)

    async def answer_index(request: Request) -> Response:
        only_ready = _read(await read(request) or b"{}", _RepositoryQuery).ready
        found = [(name, version, fault) for name in plane.names for version, fault in plane.versions(name).items()]
        states = [
            {"name": n, "version": str(v), "state": "UNAVAILABLE" if fault else "READY", "reason": str(fault or "")}
            for n, v, fault in found
            if not (fault and only_ready)
        ]
        return JSONResponse(states)

    async def answer_load(request: Request) -> Response:
        if _read(await read(request) or b"{}", _RepositoryQuery).parameters:
            raise BadInput("This server loads models as its folder holds them: send no parameters, such as 'config'.")
        try:
            await plane.load(request.path_params["name"])
        except Corrupt as error:  # the model's fault, not the server's
            raise BadInput(str(error)) from error
        return JSONResponse({})

    async def answer_unload(request: Request) -> Response:
        await plane.unload(request.path_params["name"])
        return JSONResponse({})

    models = ("/v2/models/{name:model}", "/v2/models/{name:model}/versions/{version:version}")
    return [
        Route("/v2", answer_server),
        *[Route(f"/v2/health/{probe}", answer_health) for probe in ("live", "ready")],
        *[Route(path, answer_metadata) for path in models],
        *[Route(f"{path}/ready", answer_ready) for path in models],
        *[Route(f"{path}/infer", answer_infer, methods=["POST"]) for path in models],
        Route("/v2/repository/index", answer_index, methods=["POST"]),
        Route("/v2/repository/models/{name:model}/load", answer_load, methods=["POST"]),
        Route("/v2/repository/models/{name:model}/unload", answer_unload, methods=["POST"]),
    ]
