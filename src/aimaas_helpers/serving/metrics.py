"""What the server counts, for Prometheus to collect at ``/metrics``."""

import functools
import os

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from starlette.requests import Request
from starlette.responses import Response

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

prometheus_client.disable_created_metrics()  # a series more for each counter

REQUESTS = Counter("aimaas_requests", "Requests answered.", ["model", "version", "protocol", "code"])
REQUEST_SECONDS = Histogram(
    "aimaas_request_seconds",
    "From a request's headers to the last byte of its answer.",
    ["model", "version", "protocol"],
    buckets=_SECONDS,
)
QUEUE_SECONDS = Histogram("aimaas_queue_seconds", "Wait for the model.", ["model", "version"], buckets=_SECONDS)
BATCH_ROWS = Histogram("aimaas_batch_rows", "Rows in one call of the model.", ["model", "version"], buckets=_ROWS)
IN_PROGRESS = Gauge("aimaas_requests_in_progress", "Requests being worked on.", multiprocess_mode="livesum")

# Looking labels up costs as much as counting: every combination, and there are few, is looked up once.
requests = functools.cache(REQUESTS.labels)
request_seconds = functools.cache(REQUEST_SECONDS.labels)


def text() -> bytes:
    """All metrics, of all workers, in Prometheus's text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)


def endpoint(_: Request) -> Response:
    """The endpoint ``GET /metrics``. Not a coroutine, so that requests go on while it collects."""
    return Response(text(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})
