"""Every operation of every protocol, for the OpenAPI document: one call of ``writer.add`` for each."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from aimaas_helpers.serving import examples, schemas
from aimaas_helpers.serving.artefact import ModelCard
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.protocols import open_inference
from aimaas_helpers.serving.protocols.openai_requests import Chat, Completion, Embeddings
from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.schemas import COUNT, TEXT, items, record
from aimaas_helpers.serving.writer import JSON, Writer

BINARY, EVENTS, PLAIN, PAGE = "application/octet-stream", "text/event-stream", "text/plain", "text/html"
_REFERENCE = "#/components/schemas/{name}"
_REQUESTS = (Embeddings, Completion, Chat)

_MODEL_VERSION = {"X-Model-Version": {"schema": COUNT, "description": "The version that computed this."}}
_JSON_LENGTH = {"schema": COUNT, "description": "How many bytes of the body are JSON; binary tensors follow."}


def components() -> dict[str, Any]:
    """The schemas that operations refer to."""
    _, found = msgspec.json.schema_components([ModelCard, *_REQUESTS], ref_template=_REFERENCE)
    text = msgspec.json.encode({name.lstrip("_"): schema for name, schema in found.items()})
    public: dict[str, Any] = msgspec.json.decode(text.replace(b"/schemas/_", b"/schemas/"))
    return public


def server(writer: Writer) -> None:
    page = {JSON: record({"models": {"type": "object"}, "documentation": TEXT}), PAGE: TEXT}
    writer.add("get", "/", "Server", "What is served here; a page for browsers.", page)
    writer.add("get", "/openapi.json", "Server", "This document.", {JSON: record({"openapi": TEXT, "paths": {}})})
    writer.add("get", "/metrics", "Server", "Numbers for Prometheus.", {PLAIN: TEXT}, probe=True)


def tensorflow_serving(writer: Writer, plane: Plane, models: Mapping[str, Model]) -> None:
    tag = "TensorFlow Serving REST"
    for name, model in models.items():
        for place, parameters in _places(plane, name):
            writer.add(
                "post",
                f"/v1/models/{quote(name, safe='')}{place}:predict",
                tag,
                f"Compute with '{name}': rows to predictions, or columns to outputs.",
                {JSON: schemas.predict(model.outputs, "predictions", "outputs")},
                parameters=parameters,
                body={JSON: schemas.predict(model.inputs, "instances", "inputs")},
                samples={name: examples.predict(model)},
                errors=(404, 504),
                headers=_MODEL_VERSION,
            )
    state = record({"version": TEXT, "state": {"enum": ["AVAILABLE", "END"]}, "status": {"type": "object"}})
    status = record({"model_version_status": items(state)})
    card = {"$ref": _REFERENCE.format(name="ModelCard")}
    about = record({"model_spec": {"type": "object"}, "metadata": record({"model_card": card})})
    for place, parameters in _places(plane, *plane.names):
        path, parameters = "/v1/models/{name}" + place, [_in_path("name", plane.names), *parameters]
        writer.add("get", path, tag, "Which versions are served.", {JSON: status}, parameters=parameters, errors=(404,))
        path += "/metadata"
        writer.add("get", path, tag, "Signature and model card.", {JSON: about}, parameters=parameters, errors=(404,))


def _places(plane: Plane, *names: str, labels: bool = True) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """How a path may say which version of these models is meant, and the parameter that it then has."""
    yield "", []
    numbers = {number for name in names for number, fault in plane.versions(name).items() if fault is None}
    if numbers:
        yield "/versions/{version}", [_in_path("version", numbers)]
    known = {label for name in names for label in plane.routing(name).labels}
    if labels and known:
        yield "/labels/{label}", [_in_path("label", known)]


def _in_path(name: str, values: Collection[str | int]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"enum": sorted(values)}}


def open_inference_protocol(writer: Writer, plane: Plane, models: Mapping[str, Model]) -> None:
    tag = "Open Inference Protocol"
    health = {JSON: record({"live": {"type": "boolean"}, "ready": {"type": "boolean"}})}
    about = {JSON: record({"name": TEXT, "version": TEXT, "extensions": items(TEXT)})}
    writer.add("get", "/v2", tag, "Which server this is.", about)
    writer.add("get", "/v2/health/live", tag, "Whether the server runs.", health, probe=True)
    writer.add("get", "/v2/health/ready", tag, "Whether it takes requests; 503 if not.", health, probe=True)
    tensor = record({"name": TEXT, "datatype": TEXT, "shape": items({"type": "integer", "minimum": -1})})
    about = record({"name": TEXT, "versions": items(TEXT), "inputs": items(tensor), "outputs": items(tensor)})
    ready = record({"name": TEXT, "ready": {"type": "boolean"}})
    for place, parameters in _places(plane, *plane.names, labels=False):
        path, parameters = "/v2/models/{name}" + place, [_in_path("name", plane.names), *parameters]
        writer.add(
            "get", path, tag, "What a model takes and gives.", {JSON: about}, parameters=parameters, errors=(404,)
        )
        path += "/ready"
        writer.add("get", path, tag, "Whether a model is served.", {JSON: ready}, parameters=parameters, errors=(404,))
    for name, model in models.items():
        described = open_inference.metadata(plane, model)
        sample = examples.infer(model, {about["name"]: about["datatype"] for about in described["inputs"]})
        question = record(
            {
                "id": {"type": ["string", "null"]},
                "inputs": schemas.infer(described["inputs"], model.inputs),
                "outputs": items(record({"name": {"enum": list(model.outputs)}}), most=len(model.outputs)),
                "parameters": {"type": "object"},
            },
            *("id", "outputs", "parameters"),
        )
        outputs = schemas.infer(described["outputs"], model.outputs, answer=True)
        answer = record({"id": TEXT, "model_name": TEXT, "model_version": TEXT, "outputs": outputs}, "id")
        for place, parameters in _places(plane, name, labels=False):
            writer.add(
                "post",
                f"/v2/models/{quote(name, safe='')}{place}/infer",
                tag,
                f"Compute with '{name}'. Tensors are JSON, or binary data behind it.",
                {JSON: answer, BINARY: {}},
                parameters=[*parameters, {"name": "Inference-Header-Content-Length", "in": "header", **_JSON_LENGTH}],
                body={JSON: question, BINARY: {}},
                samples={name: sample} if sample else {},
                errors=(404, 415, 504),
                headers={**_MODEL_VERSION, "Inference-Header-Content-Length": _JSON_LENGTH},
            )
    states = items(record({"name": TEXT, "version": TEXT, "state": TEXT, "reason": TEXT}))
    asked = {JSON: record({"ready": {"type": "boolean"}}, "ready")}
    writer.add(
        "post", "/v2/repository/index", tag, "All versions, with reasons for refusals.", {JSON: states}, body=asked
    )
    for verb, summary in (("load", "Load what a model's folder holds."), ("unload", "Serve a model no more.")):
        writer.add(
            "post",
            f"/v2/repository/models/{{name}}/{verb}",
            tag,
            summary,
            {JSON: {"type": "object"}},
            parameters=[_in_path("name", plane.names)],
            body={JSON: {"type": "object"}},
            errors=(404,),
        )


def openai_compatible(writer: Writer, models: Mapping[str, Model]) -> None:
    tag = "OpenAI-compatible"
    listed = record({"object": {"const": "list"}, "data": items(record({"id": TEXT, "object": {"const": "model"}}))})
    writer.add("get", "/v1/models", tag, "Which models there are.", {JSON: listed}, openai=True)
    vector = {"anyOf": [items({"type": "number"}), TEXT | {"contentEncoding": "base64"}]}
    vectors = record({"data": items(record({"index": COUNT, "embedding": vector})), "usage": {"type": "object"}})
    written = record({"id": TEXT, "model": TEXT, "choices": items({"type": "object"}), "usage": {"type": "object"}})
    for capability, path, kind, answer, content in (
        ("embeddings", "/v1/embeddings", Embeddings, {JSON: vectors}, {"input": "Hello"}),
        ("completions", "/v1/completions", Completion, {JSON: written, EVENTS: {}}, {"prompt": "Hello"}),
        (
            "chat",
            "/v1/chat/completions",
            Chat,
            {JSON: written, EVENTS: {}},
            {"messages": [{"role": "user", "content": "Hello"}]},
        ),
    ):
        able = [name for name, model in models.items() if capability in model.card.capabilities]
        if able:
            reference = {"$ref": _REFERENCE.format(name=kind.__name__)}
            writer.add(
                "post",
                path,
                tag,
                f"{capability.capitalize()} from {', '.join(able)}.",
                answer,
                body={JSON: {"allOf": [reference, {"properties": {"model": {"enum": able}}}]}},
                samples={name: {"model": name, **content} for name in able},
                errors=(404, 504),
                openai=True,
                headers=_MODEL_VERSION,
            )
