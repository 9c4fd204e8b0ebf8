"""The ASGI application: a repository's models behind every protocol, with limits, probes and errors in JSON."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimaas_helpers.serving import metrics, middleware, page
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.protocols import open_inference, openai, tensorflow_serving
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.settings import Settings


def create_app(repository: Repository, settings: Settings | None = None) -> Starlette:
    """The server as one ASGI application, for uvicorn here or another server elsewhere."""
    settings = settings or Settings()
    plane = Plane(repository, poll=settings.poll, max_rows=settings.max_rows)

    routes: list[Route] = [
        *openai.routes(plane),
        *tensorflow_serving.routes(plane),
        *open_inference.routes(plane),
        *page.routes(plane, settings),
        Route("/metrics", metrics.endpoint),
    ]
    routes.sort(key=lambda route: not route.path.endswith((":predict", "/infer")))  # tried in this order
    app = Starlette(
        routes=routes,
        middleware=middleware.stack(settings),
        exception_handlers={HTTPException: _on_http_exception},  # Observation answers all others
        lifespan=plane.following,
    )
    app.router.redirect_slashes = False  # a redirected POST arrives without its body
    app.state.plane = plane
    return app


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


def _error(sentence: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence}, status, headers)
