"""``GET /``: for a browser, a page that tells a person what is served here and how to call it; for programs, JSON.

The page asks for nothing but itself and runs no script. Whatever comes from a model card is escaped by ``tag``.
"""

import base64
import hashlib
import html
import itertools
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from aimaas_helpers.serving import openapi
from aimaas_helpers.serving.artefact import ModelCard
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.settings import Settings
from aimaas_helpers.serving.tensors import Tensor, shape_text

_TEMPLATE = string.Template((files(__package__) / "page.html").read_text("utf-8"))
_STYLE = re.search("<style>(.*?)</style>", _TEMPLATE.template, re.DOTALL)
assert _STYLE is not None
_HASH = base64.b64encode(hashlib.sha256(_STYLE[1].encode()).digest()).decode()
_HOST = re.compile(r"([a-zA-Z0-9._-]+|\[[a-fA-F0-9:.]+\])(:[0-9]{1,5})?")
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}


class Markup(str):
    """Text that is HTML already."""


def tag(name: str, *children: str, **attributes: str) -> Markup:
    """An element. Children are escaped unless they are ``Markup``, and attributes always."""
    inner = "".join(child if isinstance(child, Markup) else html.escape(child) for child in children)
    given = "".join(f' {key.strip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{inner}</{name}>")


def render(plane: Plane, settings: Settings, url: str) -> str:
    """The whole page."""
    document = openapi.document(plane, settings, url)
    links = {"Metrics": "/metrics", "OpenAPI document": "/openapi.json", "Health": "/v2/health/ready"}
    nav = tag("ul", *[tag("li", tag("a", text, href=href)) for text, href in links.items()])
    models = openapi.served(plane)
    return _TEMPLATE.substitute(
        body=Markup("\n").join(
            [
                tag("header", tag("h1", "Models as a service"), tag("nav", nav, aria_label="This server")),
                Markup("<main>"),
                tag("h2", "Models"),
                *[_model(plane, name, models.get(name), document) for name in plane.names],
                tag("h2", "Operations"),
                *_operations(document),
                Markup("</main>"),
            ]
        )
    )


def _model(plane: Plane, name: str, model: Model | None, document: Mapping[str, Any]) -> Markup:
    """What there is to know of one model; ``model`` is the version that answers, if one does."""
    parts = [tag("h3", name), _versions(plane, name)]
    if model is not None:
        sides = (("Inputs", model.inputs), ("Outputs", model.outputs))
        parts += [_facts(model.card), *[_tensors(title, tensors) for title, tensors in sides if tensors]]
        for heading, operations in itertools.groupby(_each(document), lambda entry: entry[2]["tags"][0]):
            samples = [sample for _, _, operation in operations for sample in operation.get("x-codeSamples", ())]
            sources = [sample["source"] for sample in samples if sample["label"] == name]
            parts += [tag("h4", heading)] * bool(sources) + [tag("pre", tag("code", source)) for source in sources]
    return tag("article", *parts)


def _versions(plane: Plane, name: str) -> Markup:
    routing, versions = plane.routing(name), plane.versions(name)
    weight = routing.weight if versions.get(routing.canary, True) is None else 0.0  # a refused canary gets nothing
    shares = {plane.standing(name): 1 - weight}
    shares[routing.canary] = shares.get(routing.canary, 0) + weight
    rows = []
    for version, fault in versions.items():
        labels = ", ".join(label for label, number in routing.labels.items() if number == version)
        state = tag("td", f"refused: {fault}", class_="refused") if fault else tag("td", "served")
        rows.append([str(version), state, labels, "" if fault else f"{shares.get(version, 0):.0%}"])
    return _table("Versions", ("Version", "State", "Labels", "Share"), rows)


def _facts(card: ModelCard) -> Markup:
    facts = {
        "Task": card.task,
        "Notes": card.notes,
        "Data": f"{card.data.title} ({card.data.licence})" if card.data else "",
        "Metrics": ", ".join(f"{name} {value}" for name, value in card.metrics.items()),
        "Parameters": f"{card.parameters:,}",
        "Capabilities": ", ".join(card.capabilities),
        "Created": card.created,
        "SHA-256": card.sha256,
    }
    pairs = [(tag("dt", key), tag("dd", value)) for key, value in facts.items() if value]
    return tag("dl", *itertools.chain.from_iterable(pairs))


def _tensors(title: str, tensors: Mapping[str, Tensor]) -> Markup:
    rows = [[tensor.name, tensor.dtype, shape_text(tensor.shape)] for tensor in tensors.values()]
    return _table(title, ("Name", "Type", "Shape"), rows)


def _table(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    head = tag("tr", *[tag("th", text, scope="col") for text in heads])
    body = [tag("tr", *[cell if isinstance(cell, Markup) else tag("td", cell) for cell in row]) for row in rows]
    return tag("table", tag("caption", title), tag("thead", head), tag("tbody", *body))


def _operations(document: Mapping[str, Any]) -> Iterator[Markup]:
    heading = ""
    for path, method, operation in _each(document):
        if operation["tags"][0] != heading:
            heading = operation["tags"][0]
            yield tag("h3", heading)
        rows = [[p["name"], p["in"], p.get("description", ""), _json(p["schema"])] for p in operation["parameters"]]
        parts = [_table("Parameters", ("Name", "In", "Meaning", "Schema"), rows)]
        bodies = operation.get("requestBody", {}).get("content", {})
        parts += [_schema(f"Request, {kind}", about) for kind, about in bodies.items()]
        parts += [_schema(f"Answer, {kind}", about) for kind, about in operation["responses"]["200"]["content"].items()]
        refusals = [[code, _description(document, answer)] for code, answer in operation["responses"].items()]
        parts.append(_table("Statuses", ("Code", "Meaning"), refusals))
        head = tag("summary", tag("code", f"{method.upper()} {path}"), f" {operation['summary']}")
        yield tag("details", head, *parts)
    yield tag("h3", "Schemas")
    for name, schema in document["components"]["schemas"].items():
        yield _schema(name, {"schema": schema})


def _each(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation, protocol by protocol."""
    found = [(path, method, what) for path, methods in document["paths"].items() for method, what in methods.items()]
    tags = list(dict.fromkeys(operation["tags"][0] for _, _, operation in found))
    yield from sorted(found, key=lambda entry: tags.index(entry[2]["tags"][0]))


def _description(document: Mapping[str, Any], answer: Mapping[str, str]) -> str:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return answer["description"]


def _schema(title: str, about: Mapping[str, Any]) -> Markup:
    return tag("details", tag("summary", title), tag("pre", tag("code", _json(about.get("schema", {}), indent=1))))


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


def routes(plane: Plane, settings: Settings) -> list[Route]:
    """``GET /`` and ``GET /openapi.json``. Not coroutines, so that requests go on while a long page is written."""

    def answer_index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(render(plane, settings, _url(request)), headers=_HEADERS)
        models = {
            name: {
                "versions": [version for version, fault in plane.versions(name).items() if fault is None],
                "predict": f"POST /v1/models/{quote(name)}:predict",
                "metadata": f"GET /v1/models/{quote(name)}/metadata",
            }
            for name in plane.names
        }
        links = {"documentation": "/openapi.json", "health": "GET /v2/health/ready", "metrics": "/metrics"}
        return JSONResponse({"models": models, **links}, headers={"Vary": "Accept"})

    def answer_openapi(request: Request) -> Response:
        return JSONResponse(openapi.document(plane, settings, _url(request)))

    return [Route("/", answer_index), Route("/openapi.json", answer_openapi)]


def _url(request: Request) -> str:
    """Where the client reached this server, as it says itself."""
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else ""
