"""Collects the operations of the OpenAPI document, and adds what all of them have in common."""

import json
from collections.abc import Mapping
from typing import Any

from aimaas_helpers.serving import examples
from aimaas_helpers.serving.schemas import COUNT, TEXT, Schema, record
from aimaas_helpers.serving.settings import Settings

JSON = "application/json"
_LONG = 4_000  # characters of JSON, of examples that the document leaves out

_ERRORS = {
    400: "The request does not fit; the sentence says what came and what was expected.",
    401: "The API key is missing or unknown.",
    404: "There is no such model, version or label.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is compressed.",
    429: "This client sent more requests than it may.",
    503: "The server is busy or about to stop.",
    504: "The answer was not ready by the request's deadline.",
}
_ERROR = record({"error": TEXT})
_OPENAI_ERROR = record(
    {"error": record({"message": TEXT, **{name: {"type": ["string", "null"]} for name in ("type", "param", "code")}})}
)
_RETRY: dict[str, Schema] = {"Retry-After": {"schema": COUNT, "description": "Seconds."}}
_HEADERS = {401: {"WWW-Authenticate": {"schema": {"const": "Bearer"}}}, 429: _RETRY, 503: _RETRY}
_TIMEOUT = {
    "name": "X-Request-Timeout",
    "in": "header",
    "description": "Seconds in which the answer is wanted, if that is fewer than the server allows.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}


class Writer:
    """``paths`` are those of the document; ``url`` is where the server is reached, for the examples."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.paths: dict[str, dict[str, Any]] = {}
        self._url = url
        self._key = bool(settings.keys)
        self._always = {400, 413, 503, *([401] if settings.keys else []), *([429] if settings.rate else [])}

    def add(
        self,
        method: str,
        path: str,
        tag: str,
        summary: str,
        answer: Mapping[str, Schema],
        *,
        parameters: list[dict[str, Any]] | None = None,
        body: Mapping[str, Schema] | None = None,
        samples: Mapping[str, Any] | None = None,
        errors: tuple[int, ...] = (),
        headers: Mapping[str, Schema] | None = None,
        openai: bool = False,
        probe: bool = False,
    ) -> None:
        """Add one operation: ``answer`` and ``body`` are schemas by media type, ``samples`` are bodies that work,
        each with the name of the model that it is for.

        Errors have the shape that ``openai`` clients expect, or everybody else's. A ``probe`` is never refused.
        """
        codes = {400, 413} if probe else {*self._always, *errors, *([408] if body else [])}
        operation: dict[str, Any] = {
            "tags": [tag],
            "summary": summary,
            "parameters": [*(parameters or ()), _TIMEOUT],
            "responses": {"200": {"description": "The answer.", "headers": headers or {}, "content": _content(answer)}},
        }
        for code in sorted(codes):
            name = f"openai-{code}" if openai else str(code)
            operation["responses"][str(code)] = {"$ref": f"#/components/responses/{name}"}
        if path.endswith("/ready") and probe:
            operation["responses"]["503"] = {"description": _ERRORS[503], "content": _content(answer)}
        if probe and self._key:
            operation["security"] = []
        if body:
            operation["requestBody"] = {"required": bool(samples), "content": _content(body)}
        if samples:
            short = {key: {"value": sample} for key, sample in samples.items() if len(json.dumps(sample)) <= _LONG}
            operation["requestBody"]["content"][JSON]["examples"] = short
        if samples and "{" not in path:
            commands = {key: examples.curl(self._url + path, sample, key=self._key) for key, sample in samples.items()}
            operation["x-codeSamples"] = [
                {"lang": "Shell", "label": key, "source": command} for key, command in commands.items()
            ]
        self.paths.setdefault(path, {})[method] = operation


def refusals() -> dict[str, Any]:
    """What is answered in place of an answer, by code, and for OpenAI's clients by ``openai-`` and code."""
    found = {}
    for prefix, schema in (("", _ERROR), ("openai-", _OPENAI_ERROR)):
        for code, description in _ERRORS.items():
            content = _content({JSON: schema})
            found[f"{prefix}{code}"] = {
                "description": description,
                "headers": _HEADERS.get(code, {}),
                "content": content,
            }
    return found


def _content(kinds: Mapping[str, Schema]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in kinds.items()}
