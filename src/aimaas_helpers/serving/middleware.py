"""What holds for every request, whatever its protocol, from the outside to the inside."""

from starlette.middleware import Middleware

from aimaas_helpers.serving.limits import BodyLimit, Concurrency, Keys, Rate, read_keys
from aimaas_helpers.serving.observation import AccessLog, Observation
from aimaas_helpers.serving.settings import Settings


def stack(settings: Settings) -> list[Middleware]:
    """The middleware of one application. Raises ``BadInput`` if the file of API keys cannot be used."""
    return [
        Middleware(Observation, deadline=settings.deadline, log=AccessLog() if settings.access_log else None),
        Middleware(Concurrency, most=settings.concurrency),
        *([Middleware(Keys, keys=read_keys(settings.keys))] if settings.keys else []),
        *([Middleware(Rate, rate=settings.rate, burst=settings.burst)] if settings.rate else []),
        Middleware(BodyLimit, max_bytes=settings.max_body, seconds=settings.body_timeout),
    ]
