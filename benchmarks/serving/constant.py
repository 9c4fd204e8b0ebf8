"""The ceiling: the stack of this project's server with no model behind it. Two paths:

- ``/constant`` reads the body and returns a fixed answer: what HTTP alone costs;
- ``/parsed`` also turns the JSON rows into Python lists, as any server must that looks at them.
"""

import sys

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ANSWER = msgspec.json.encode({"predictions": [[0.0123456789 * digit for digit in range(1, 11)]]})


class Rows(msgspec.Struct):
    instances: list[list[list[float]]]


decoder = msgspec.json.Decoder(Rows)


async def constant(request: Request) -> Response:
    await request.body()
    return Response(ANSWER, media_type="application/json")


async def parsed(request: Request) -> Response:
    decoder.decode(await request.body())
    return Response(ANSWER, media_type="application/json")


app = Starlette(routes=[Route(f"/{path.__name__}", path, methods=["POST"]) for path in (constant, parsed)])

if __name__ == "__main__":
    uvicorn.run(
        "constant:app",
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        log_level="warning",
        access_log=False,
        ws="none",
        lifespan="off",
    )
