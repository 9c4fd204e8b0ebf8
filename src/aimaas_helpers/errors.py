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


class TooLarge(AimaasError):
    """The request body is larger than the server accepts."""

    status = 413


class Unavailable(AimaasError):
    """The thing exists but cannot be had now: offline, not ready, or the port is taken."""

    status = 503


class Corrupt(AimaasError):
    """What was read is not what was written: a wrong hash, a truncated file, a broken export."""


class Unwritable(AimaasError):
    """A folder or file could not be written."""
