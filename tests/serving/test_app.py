"""The ASGI application in process: what no request from outside should be able to bring about."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from aimaas_helpers.serving.app import create_app
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.runtime import Runtime
from aimaas_helpers.serving.settings import Settings


def post(app: ASGIApp, path: str, body: bytes) -> tuple[int, Any]:
    """Call the application as a server would; a fault it lets out is what the server would log."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    try:
        asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    except ZeroDivisionError as error:
        assert str(error) == "the fault"
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


def test_a_fault_of_its_own_is_a_sentence(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(Repository(models / "pair"))
    body = b'{"inputs": {"signal": [[1, 2, 3]], "tag": [[0, 1]]}}'
    assert post(app, "/v1/models/pair:predict", body)[0] == 200

    def fail(*_: object) -> None:
        raise ZeroDivisionError("the fault")

    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "run", fail)
        status, answer = post(app, "/v1/models/pair:predict", body)
    assert (status, answer) == (500, {"error": "The server failed to answer; the reason is in its log."})
    assert post(app, "/v1/models/pair:predict", body)[0] == 200


def test_the_limit_on_bodies_is_the_application_s(models: Path) -> None:
    app = create_app(Repository(models / "digits" / "1"), Settings(max_body=100))
    assert post(app, "/v1/models/digits:predict", b" " * 101)[0] == 413
    assert post(app, "/v1/models/digits:predict", b" " * 100)[0] == 400
