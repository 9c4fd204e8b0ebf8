"""Errors a reader or a client may meet: each says what was expected, and carries its HTTP status."""


class AimaasError(Exception):
    """Base of every error this package raises on purpose; its text is one helpful sentence."""

    status = 500


class BadInput(AimaasError):
    """The caller sent something that does not fit: wrong shape, type, name or option."""

    status = 400


class NotFound(AimaasError):
    """There is no such model, version, data set or page."""

    status = 404


class Unauthorized(AimaasError):
    """The server wants an API key, and this request has none that it knows."""

    status = 401


class TooSlow(AimaasError):
    """The body of the request did not arrive in time."""

    status = 408


class TooLarge(AimaasError):
    """The request body is larger than the server accepts."""

    status = 413


class Refused(AimaasError):
    """The server could answer, but not now; ``retry_after`` is how many seconds a client should wait."""

    def __init__(self, sentence: str, retry_after: float = 1.0) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class TooMany(Refused):
    """This client sends more requests than it may."""

    status = 429


class Overloaded(Refused):
    """More is waiting than the server can finish in time, or it is about to stop."""

    status = 503


class Expired(AimaasError):
    """The answer was not ready by the deadline."""

    status = 504


class Unavailable(AimaasError):
    """The thing exists but cannot be had now: offline, not ready, or the port is taken."""

    status = 503


class Corrupt(AimaasError):
    """What was read is not what was written: a wrong hash, a truncated file, a broken export."""


class Unwritable(AimaasError):
    """A folder or file could not be written."""
