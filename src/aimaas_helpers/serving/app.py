"""The ASGI application: a repository's models behind every protocol, with limits, probes and errors in JSON."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimaas_helpers.errors import AimaasError
from aimaas_helpers.serving.middleware import BodyLimit
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.protocols import tensorflow_serving
from aimaas_helpers.serving.repository import Repository

MAX_BODY = 16 * 2**20


def create_app(repository: Repository, *, max_body: int = MAX_BODY) -> Starlette:
    """The server as one ASGI application; ``max_body`` is the largest request body in bytes."""
    plane = Plane(repository)

    async def index(request: Request) -> Response:
        models = {
            name: {
                "versions": [version for version, fault in plane.versions(name).items() if fault is None],
                "predict": f"POST /v1/models/{name}:predict",
                "metadata": f"GET /v1/models/{name}/metadata",
            }
            for name in plane.names
        }
        return JSONResponse({"models": models, "health": "GET /v2/health/ready"})

    async def health(request: Request) -> Response:
        # The Open Inference Protocol calls the key "live" in both answers; KServe's client reads "ready" in the second.
        return JSONResponse({"live": True, "ready": True})

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/v2/health/live", health),
            Route("/v2/health/ready", health),
            *tensorflow_serving.routes(plane),
        ],
        middleware=[Middleware(BodyLimit, max_bytes=max_body)],
        exception_handlers={
            AimaasError: _on_aimaas_error,
            HTTPException: _on_http_exception,
            ClientDisconnect: _on_disconnect,
            Exception: _on_fault,
        },
    )
    app.router.redirect_slashes = False  # a redirected POST arrives without its body
    return app


async def _on_aimaas_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AimaasError)
    return _error(str(error), error.status)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return _error(f"{request.url.path} does not take {request.method}; it takes {allowed}.", 405, error.headers)
    return _error(
        f"There is nothing at {request.url.path}; GET / tells what is served.",
        error.status_code,
        error.headers,
    )


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return _error("The client went away before its request was complete.", 400)  # which nobody will read


async def _on_fault(request: Request, error: Exception) -> Response:
    return _error("The server failed to answer; the reason is in its log.", 500)


def _error(sentence: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence}, status, headers)
