"""What this server answers now, as an OpenAPI 3.1 document: for programs, for tests, and for the page at ``/``.

Inference has a path for each model, since each takes and gives something else; the rest has models in its parameters.
"""

import contextlib
from importlib.metadata import version as package_version
from typing import Any

from aimaas_helpers.errors import NotFound
from aimaas_helpers.serving import operations
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.settings import Settings
from aimaas_helpers.serving.writer import Writer, refusals


def document(plane: Plane, settings: Settings | None = None, url: str = "") -> dict[str, Any]:
    """The document; ``url`` is where the server is reached, for the examples."""
    settings = settings or Settings()
    writer = Writer(settings, url)
    models = served(plane)
    computing = {name: model for name, model in models.items() if model.batcher is not None}
    operations.server(writer)
    operations.tensorflow_serving(writer, plane, computing)
    operations.open_inference_protocol(writer, plane, computing)
    operations.openai_compatible(writer, models)
    components = {"schemas": operations.components(), "responses": refusals()}
    found = {
        "openapi": "3.1.0",
        "info": {"title": "Models as a service", "version": package_version("aimaas-helpers")},
        "servers": [{"url": url or "/"}],
        "paths": writer.paths,
        "components": components,
    }
    if settings.keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def served(plane: Plane) -> dict[str, Model]:
    """The version of each model that answers requests that name none; not models of which nothing can be served."""
    found = {}
    for name in plane.names:
        with contextlib.suppress(NotFound):
            found[name] = plane.model(name, plane.standing(name))
    return found
