"""An error as an answer: its status, its sentence, and the shape that clients of this path expect."""

import math

from starlette.responses import JSONResponse, Response

from aimaas_helpers.errors import AimaasError, Refused

_OPENAI = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models"}
_OPENAI_CODES = {
    401: ("authentication_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


def error_response(path: str, error: AimaasError) -> Response:
    """``{"error": sentence}``, or an object in its place where OpenAI's protocol is spoken."""
    content: object = str(error)
    if path in _OPENAI:
        kind, code = _OPENAI_CODES.get(
            error.status, ("invalid_request_error" if error.status < 500 else "server_error", None)
        )
        code = getattr(error, "code", code)
        content = {"message": str(error), "type": kind, "param": getattr(error, "param", None), "code": code}
    headers = {}
    if isinstance(error, Refused):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif error.status == 408:
        headers["Connection"] = "close"  # the rest of the body must not be read as the next request
    return JSONResponse({"error": content}, error.status, headers)
