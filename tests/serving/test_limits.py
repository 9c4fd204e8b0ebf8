"""Limits around a small application, on a real server: who, how often, how many at once, how large and how slowly."""

import asyncio
import contextlib
import hmac
import http.client
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aimaas_helpers.errors import BadInput, TooMany
from aimaas_helpers.serving import limits, metrics, middleware
from aimaas_helpers.serving.limits import Rate, read_keys
from aimaas_helpers.serving.settings import Settings

ANN, BOB = "a-key-of-sixteen", "another-key-of-sixteen"
MiB = 2**20

entered = threading.Semaphore(0)
leave = threading.Event()


async def size(request: Request) -> Response:
    return JSONResponse(len(await request.body()))


async def hang(request: Request) -> Response:
    entered.release()
    while not leave.is_set():
        await asyncio.sleep(0.01)
    return JSONResponse("done")


async def fail(request: Request) -> Response:
    raise BadInput("This path always fails.")


async def stream(request: Request) -> Response:
    await request.body()

    async def parts() -> AsyncIterator[bytes]:
        yield b"first "
        await asyncio.sleep(0.5)
        yield b"last"

    return StreamingResponse(parts())


PATHS = {
    "/": size,
    "/hang": hang,
    "/fail": fail,
    "/stream": stream,
    "/metrics": metrics.endpoint,
    "/v2/health/ready": size,
    "/v1/models": size,
    "/v1/embeddings": size,
}


@contextlib.contextmanager
def running(**settings: object) -> Iterator[int]:
    """The port of a server with these settings."""
    routes = [Route(path, endpoint, methods=["GET", "POST"]) for path, endpoint in PATHS.items()]
    app = Starlette(routes=routes, middleware=middleware.stack(Settings(**settings)))  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def ask(
    port: int, path: str = "/", body: bytes | None = None, source: str = "127.0.0.1", **headers: str
) -> tuple[int, http.client.HTTPMessage, Any]:
    """Status, headers and parsed body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
    with contextlib.closing(connection):
        connection.request(
            "GET" if body is None else "POST",
            path,
            body,
            {name.replace("_", "-"): value for name, value in headers.items()},
        )
        answer = connection.getresponse()
        content = answer.read()
        is_json = answer.headers["content-type"] == "application/json"
        return answer.status, answer.headers, json.loads(content) if is_json else content.decode()


def status(port: int, path: str = "/", body: bytes | None = None, source: str = "127.0.0.1", **headers: str) -> int:
    return ask(port, path, body, source, **headers)[0]


def test_a_body_that_drips_is_refused_and_holds_up_nobody() -> None:
    with running(body_timeout=0.5) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        client.settimeout(0.05)
        received, served = b"", 0
        while b"}" not in received:
            client.sendall(b"x")
            served += status(port, "/", b"quick") == 200
            with contextlib.suppress(TimeoutError):
                received += client.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ") and b"\r\nconnection: close" in head.lower()
        assert json.loads(body)["error"].startswith("The body of this request did not arrive within 0.5 seconds;")
        assert served > 1
        client.settimeout(30)
        with contextlib.suppress(ConnectionResetError):  # how a connection is closed on a client that still sends
            assert client.recv(65536) == b""


def test_a_body_in_pieces_is_fine_if_it_is_there_in_time() -> None:
    with running() as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n")
        for _ in range(3):
            assert status(port) == 200  # the server has seen the piece before
            client.sendall(b"x")
        assert client.makefile("rb").read().endswith(b"\r\n\r\n3")


def test_the_answer_may_take_longer_than_the_body(http: requests.Session) -> None:
    with running(body_timeout=0.1) as port:
        assert http.post(f"http://127.0.0.1:{port}/stream", b"x").text == "first last"


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_are_limited(http: requests.Session, announced: bool) -> None:
    def post(length: int) -> requests.Response:
        body = bytes(length)
        return http.post(url, body if announced else iter([body[: length // 2], body[length // 2 :]]))

    with running(max_body=MiB) as port:
        url = f"http://127.0.0.1:{port}/"
        assert post(MiB).json() == MiB
        answer = post(MiB + 1)
        assert answer.status_code == 413
        assert answer.json()["error"].startswith("The body of this request is larger than 1 MiB, the most this server")
        assert post(MiB).json() == MiB


def test_an_announced_body_is_refused_before_it_is_sent() -> None:
    with running(max_body=MiB) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MiB + 1}\r\nExpect: 100-continue\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.fixture
def keys(tmp_path: Path) -> str:
    file = tmp_path / "keys"
    file.write_text(f"\ufeff# who may ask\n\nann {ANN}\r\n  bob\t{BOB}  \n", "utf-8")
    return str(file)


def test_only_who_has_a_key_is_let_in(keys: str) -> None:
    with running(keys=keys) as port:
        assert status(port, "/", Authorization=f"Bearer {ANN}") == 200
        assert status(port, "/", Authorization=f"bearer  {BOB}") == 200
        assert status(port, "/", x_api_key=BOB) == 200
        empty: dict[str, str] = {}
        for headers in (empty, {"Authorization": f"Basic {ANN}"}, {"Authorization": "Bearer"}):
            code, answer, body = ask(port, "/", None, "127.0.0.1", **headers)
            assert (code, answer["www-authenticate"]) == (401, "Bearer")
            assert body == {
                "error": "The API key of this request is missing; send the header 'Authorization: Bearer KEY'."
            }
        for wrong in (ANN[:-1], ANN + "x", ANN.upper(), "ann", f"{ANN} {BOB}", "é" * 20):
            code, _, body = ask(port, Authorization=f"Bearer {wrong}")
            assert code == 401 and wrong not in str(body) and "is not one that this server knows" in str(body)
        assert status(port, "/v2/health/ready") == status(port, "/metrics") == 200
        assert status(port, "/no/such/path") == 401


def test_the_log_says_who_and_never_how(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    with running(keys=keys) as port:
        ask(port, f"/?key={BOB}", Authorization=f"Bearer {ANN}")
        ask(port, "/", Authorization=f"Bearer {ANN}x")
        ask(port, "/v2/health/ready")
        text = log_of(3, capsys)
    assert [json.loads(line)["client"] for line in text.splitlines()] == ["ann", "127.0.0.1", "127.0.0.1"]
    assert ANN not in text and BOB not in text


def log_of(lines: int, capsys: pytest.CaptureFixture[str]) -> str:
    text = ""
    while text.count("\n") < lines:
        time.sleep(0.01)
        text += capsys.readouterr().out
    return text


def test_every_key_is_compared_whichever_fits(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compare = hmac.compare_digest
    compared: list[tuple[bytes, bytes]] = []

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    with running(keys=keys) as port:
        for key, code in ((ANN, 200), (BOB, 200), ("x" * 999, 401)):
            compared.clear()
            assert status(port, "/", Authorization=f"Bearer {key}") == code
            assert len(compared) == 2 and len({len(digest) for pair in compared for digest in pair}) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "keys, cannot be read: No such file"),
        (b"ann \xff\xff", "cannot be read: it is not UTF-8"),
        (b"# nobody\n\n", "holds none; expected lines of NAME KEY"),
        (b"only-one-word-here", "Line 1 of .* has 1 words; expected two"),
        (b"\nann secret-secret-secret # hers", "Line 2 of .* has 4 words; expected two"),
        (b"ann sixteen-a-secret", None),
        (b"ann fifteen--secret", "The key in line 1 of .* is shorter than 16"),
        (b"ann a-secret-secret-1\nann a-secret-secret-2", "Line 2 of .* repeats the name"),
        (b"ann a-secret-secret-1\nbob a-secret-secret-1", "Line 2 of .* repeats the key"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_stops_the_start(
    tmp_path: Path, content: bytes | None, reason: str | None
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    if reason is None:
        assert list(read_keys(str(file))) == ["ann"]
        return
    with pytest.raises(BadInput, match=reason) as caught:
        middleware.stack(Settings(keys=str(file)))
    assert "secret" not in str(caught.value)


def test_each_client_has_its_own_rate(keys: str) -> None:
    with running(keys=keys, rate=0.01, burst=3) as port:
        assert [status(port, Authorization=f"Bearer {ANN}") for _ in range(4)] == [200, 200, 200, 429]
        code, headers, body = ask(port, Authorization=f"Bearer {ANN}")
        assert code == 429 and 90 <= int(headers["retry-after"]) <= 100
        assert body == {"error": "This client may send 0.01 requests a second; wait, then send again."}
        assert [status(port, Authorization=f"Bearer {BOB}") for _ in range(4)] == [200, 200, 200, 429]
        assert {status(port, "/v2/health/ready") for _ in range(9)} == {200}


def test_without_keys_a_client_is_an_address() -> None:
    with running(rate=0.01, burst=1) as port:
        assert [status(port, "/", None, "127.0.0.1") for _ in range(2)] == [200, 429]
        assert [status(port, "/", None, "127.0.0.2") for _ in range(2)] == [200, 429]


def test_who_waits_may_ask_again() -> None:
    with running(rate=5, burst=1) as port:
        codes = [status(port)]
        while codes.count(200) < 3:
            codes.append(status(port))
        assert 429 in codes


def test_a_bucket_is_refilled_as_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e6
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(Starlette(), rate=3, burst=7)

    def taken(client: str = "ann") -> int:
        for count in range(1000):
            try:
                rate._take(client)
            except TooMany as error:
                assert 0 < error.retry_after <= 1 / 3 + 1e-6
                return count
        raise AssertionError("no limit")

    assert taken() == 7 and taken() == 0
    now += 1.01
    assert taken() == 3
    now += 1000
    assert taken() == 7
    rate._take("bob")
    now += 2
    assert taken("bob") == 7  # no more, though ann's, which is older, is not full yet


def test_idle_clients_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(Starlette(), rate=1, burst=10)
    for number in range(5000):
        now += 0.1
        rate._take(f"client {number}")
    assert len(rate.full) <= 101  # of the last ten seconds
    monkeypatch.setattr(limits, "_CLIENTS", 50)
    for number in range(5000):
        rate._take(f"other {number}")
    assert len(rate.full) <= 51


def in_background(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_so_many_at_once_and_no_more() -> None:
    leave.clear()
    with running(concurrency=2) as port:
        codes: list[int] = []
        waiting = [in_background(lambda: codes.append(status(port, "/hang"))) for _ in range(2)]
        try:
            assert all(entered.acquire(timeout=30) for _ in waiting)
            code, headers, body = ask(port)
            assert (code, headers["retry-after"]) == (503, "1")
            assert body == {"error": "2 requests are in progress, the most that may be at once; try again later."}
            assert status(port, "/v2/health/ready") == status(port, "/metrics") == 200
        finally:
            leave.set()
            for thread in waiting:
                thread.join()
        assert codes == [200, 200] and status(port) == 200


def test_a_request_that_fails_gives_its_place_back() -> None:
    with running(concurrency=1) as port:
        assert [status(port, "/fail") for _ in range(3)] == [400] * 3
        assert status(port) == 200


def test_refusals_speak_the_protocol_of_their_path(keys: str) -> None:
    with running(keys=keys, max_body=10, rate=0.01, burst=3) as port:
        for path in ("/v1/embeddings", "/v1/models"):
            error = ask(port, path, b"{}")[2]["error"]
            assert error.pop("message").startswith("The API key of this request is missing")
            assert error == {"type": "authentication_error", "param": None, "code": "invalid_api_key"}
        answers = [ask(port, "/v1/embeddings", b"x" * 11, x_api_key=ANN)[2]["error"] for _ in range(4)]
        assert [(error["type"], error["code"]) for error in answers] == [
            ("invalid_request_error", None),
            ("invalid_request_error", None),
            ("invalid_request_error", None),
            ("rate_limit_error", "rate_limit_exceeded"),
        ]
        assert all(error["message"] and error["param"] is None for error in answers)
