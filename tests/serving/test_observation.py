"""What is known of every request: ids, deadlines, metrics, and the line of log when it is answered."""

import asyncio
import contextlib
import http.client
import io
import json
import random
import socket
import string
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aimaas_helpers import serving
from aimaas_helpers.serving import metrics, middleware
from aimaas_helpers.serving.observation import AccessLog
from aimaas_helpers.serving.settings import Settings

KEYS = (
    *("time", "id", "client", "method", "path", "code", "seconds"),
    *("protocol", "model", "version", "sha256", "rows", "queued", "batch"),
)
entered = threading.Event()
proceed = threading.Event()


async def left(request: Request) -> Response:
    call = request.scope["call"]
    return JSONResponse({"id": call.id, "left": call.deadline - time.monotonic()})


async def wait(request: Request) -> Response:
    await request.body()
    entered.set()
    await request.scope["call"].wait(asyncio.get_running_loop().create_future())
    raise AssertionError("nothing sets this future")


async def upload(request: Request) -> Response:
    entered.set()
    return JSONResponse(len(await request.body()))


async def fault(request: Request) -> Response:
    raise ZeroDivisionError("the fault")


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"data: first\n\n"
        while not proceed.is_set():
            await asyncio.sleep(0.01)
        if request.query_params.get("broken"):
            raise ZeroDivisionError("halfway")
        yield b"data: [DONE]\n\n"

    return StreamingResponse(parts(), media_type="text/event-stream")


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a small application behind the real middleware."""
    endpoints = {
        "/": left,
        "/wait": wait,
        "/upload": upload,
        "/fault": fault,
        "/v1/embeddings": fault,
        "/stream": stream,
        "/metrics": metrics.endpoint,
    }
    routes = [Route(path, endpoint, methods=["GET", "POST"]) for path, endpoint in endpoints.items()]
    app = Starlette(routes=routes, middleware=middleware.stack(Settings(deadline=20)))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def url(server: int) -> str:
    return f"http://127.0.0.1:{server}"


class Log:
    """Lines of the access log, as they are written, from here on."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str, http: requests.Session) -> None:
        self._capsys = capsys
        self._text = ""
        self._before = 0
        mark = http.get(url).headers["x-request-id"]  # lines of earlier requests may still be on their way
        while mark not in [line["id"] for line in self.now()]:
            time.sleep(0.01)
        self._before = len(self.now())

    def now(self) -> list[dict[str, Any]]:
        self._text += self._capsys.readouterr().out
        return [json.loads(line) for line in self._text.splitlines()][self._before :]

    def lines(self, count: int) -> list[dict[str, Any]]:
        """All lines, once there are so many."""
        patience = time.monotonic() + 30
        while len(found := self.now()) < count:
            assert time.monotonic() < patience, found
            time.sleep(0.01)
        return found


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], url: str, http: requests.Session) -> Log:
    return Log(capsys, url, http)


def samples(url: str, http: requests.Session, name: str) -> list[Sample]:
    reply = http.get(f"{url}/metrics")
    assert reply.status_code == 200 and reply.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    families = text_string_to_metric_families(reply.text)
    return [sample for family in families for sample in family.samples if sample.name == name]


def counted(url: str, http: requests.Session, **labels: str) -> float:
    wanted = {"model": "", "version": "", "protocol": ""} | labels
    return sum(sample.value for sample in samples(url, http, "aimaas_requests_total") if sample.labels == wanted)


@pytest.mark.parametrize("name", ["x", "a b~!", "0" * 128])
def test_a_client_may_name_its_request(url: str, http: requests.Session, name: str) -> None:
    reply = http.get(url, headers={"X-Request-Id": name})
    assert reply.headers["x-request-id"] == reply.json()["id"] == name


def test_other_requests_are_given_names(url: str, http: requests.Session) -> None:
    names = {http.get(url).headers["x-request-id"] for _ in range(5)}
    for bad in ("", "0" * 129, "é", "a\tb"):
        names.add(http.get(url, headers={"X-Request-Id": bad.encode()}).headers["x-request-id"])
    assert len(names) == 9 and all(8 < len(name) < 32 and name.isascii() for name in names)


def test_a_client_may_want_its_answer_sooner(url: str, http: requests.Session) -> None:
    assert 10 < http.get(url).json()["left"] <= 20
    assert 0 < http.get(url, headers={"X-Request-Timeout": "2.5"}).json()["left"] <= 2.5
    assert 10 < http.get(url, headers={"X-Request-Timeout": "100"}).json()["left"] <= 20
    reply = http.get(f"{url}/wait", headers={"X-Request-Timeout": "0.01"})
    assert reply.status_code == 504
    for bad in ("soon", "", "0", "-1", "nan"):
        reply = http.get(url, headers={"X-Request-Timeout": bad})
        assert reply.status_code == 400 and "is a number of seconds" in reply.json()["error"]
        assert "x-request-id" in reply.headers


def test_a_request_is_a_line(url: str, http: requests.Session, log: Log) -> None:
    http.get(f"{url}/?secret=1", headers={"X-Request-Id": 'my "id"'})
    http.post(f"{url}/{'long' * 100}/ü", b"")
    first, second = log.lines(2)
    assert tuple(first) == KEYS
    assert abs(datetime.now(UTC) - datetime.fromisoformat(first.pop("time"))) < timedelta(minutes=1)
    assert 0 < first.pop("seconds") < 20
    assert first == {
        **{"id": 'my "id"', "client": "127.0.0.1", "method": "GET", "path": "/", "code": 200},
        **{"protocol": "", "model": "", "version": "", "sha256": "", "rows": 0, "queued": 0, "batch": 0},
    }
    assert (second["method"], second["path"], second["code"]) == ("POST", f"/{'long' * 100}"[:256], 404)


def test_a_fault_is_a_sentence_with_an_id(
    url: str, http: requests.Session, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted(url, http, code="500")
    reply = http.get(f"{url}/fault", headers={"X-Request-Id": "the-one"})
    assert (reply.status_code, reply.headers["x-request-id"]) == (500, "the-one")
    sentence = "The server failed to answer; the reason is in its log."
    assert reply.json() == {"error": sentence}
    assert http.get(f"{url}/v1/embeddings").json() == {
        "error": {"message": sentence, "type": "server_error", "param": None, "code": None}
    }
    assert [line["code"] for line in log.lines(3)] == [200, 500, 500]
    assert counted(url, http, code="500") == before + 2
    assert "Request the-one failed." in caplog.text and "ZeroDivisionError: the fault" in caplog.text


@pytest.mark.parametrize("broken", ["", "yes"])
def test_a_stream_passes_as_it_comes(server: int, log: Log, broken: str) -> None:
    proceed.clear()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server, timeout=30)) as connection:
        connection.request("GET", f"/stream?broken={broken}")
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read1() == b"data: first\n\n"
        assert log.now() == []  # it goes on
        proceed.set()
        if broken:
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        else:
            assert answer.read() == b"data: [DONE]\n\n"
    assert log.lines(1)[0]["code"] == (500 if broken else 200)


@pytest.mark.parametrize("path", ["/wait", "/upload", "/stream"])
def test_a_client_that_goes_away_is_499(server: int, url: str, http: requests.Session, log: Log, path: str) -> None:
    before = counted(url, http, code="499")
    entered.clear()
    proceed.clear()
    with socket.create_connection(("127.0.0.1", server), timeout=30) as client:
        length = 9 if path == "/upload" else 0
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        if path == "/stream":
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        else:
            assert entered.wait(30)
    line = log.lines(2)[-1]
    proceed.set()
    assert (line["path"], line["code"]) == (path, 499)
    assert counted(url, http, code="499") == before + 1


def test_what_clients_make_up_is_no_label(url: str, http: requests.Session) -> None:
    letters = random.Random(0)
    http.get(f"{url}/none")
    before = samples(url, http, "aimaas_requests_total")
    for _ in range(200):
        path = "".join(letters.choices(string.ascii_letters + "/:%?#", k=20))
        http.request(letters.choice(["GET", "POST", "PUT"]), f"{url}/v1/models/{path}:predict")
    after = samples(url, http, "aimaas_requests_total")
    assert {str(sample.labels) for sample in after} == {str(sample.labels) for sample in before}
    assert sum(sample.value for sample in after) == sum(sample.value for sample in before) + 201


def test_requests_in_progress_are_a_gauge(server: int, url: str, http: requests.Session) -> None:
    entered.clear()

    def in_progress() -> float:
        return samples(url, http, "aimaas_requests_in_progress")[0].value

    assert in_progress() == 1  # the one that asks
    with socket.create_connection(("127.0.0.1", server), timeout=30) as client:
        client.sendall(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert entered.wait(30)
        assert in_progress() == 2
    while in_progress() != 1:
        time.sleep(0.01)


def test_lines_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Output(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith('{"number"'):  # an earlier test's last line may come late
                written.append(text)
            return len(text)

    async def run() -> None:
        log = AccessLog(delay=0.01)
        for number in range(50):
            log.write({"number": number})
        assert written == []
        while not written:
            await asyncio.sleep(0.01)
        log.write({"number": 50})
        log.flush()

    monkeypatch.setattr(sys, "stdout", Output())
    asyncio.run(run())
    assert len(written) == 2
    assert [json.loads(line)["number"] for line in "".join(written).splitlines()] == list(range(51))


def test_nothing_is_lost_at_exit() -> None:
    code = (
        "import asyncio\nfrom aimaas_helpers.serving.observation import AccessLog\n"
        "async def run(): AccessLog(delay=60).write({'last': 'words'})\n"
        "asyncio.run(run())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == '{"last":"words"}\n'


def test_log_and_metrics_name_the_model(models: Path, http: requests.Session) -> None:
    body = {"inputs": {"signal": [[1, 2, 3], [4, 5, 6]], "tag": [[0, 1], [2, 3]]}}
    card = json.loads((models / "pair" / "1" / "model_card.json").read_text())
    with serving.local(models / "pair", access_log=True) as service:
        for _ in range(3):
            reply = http.post(f"{service.url}/v1/models/pair:predict", json=body)
            assert reply.status_code == 200 and reply.headers["x-model-version"] == "1"
        wrong = http.post(f"{service.url}/v1/models/pair:predict", json={"inputs": {}})
        none = http.post(f"{service.url}/v1/models/none:predict", json=body)
        assert (wrong.status_code, wrong.headers["x-model-version"]) == (400, "1")
        assert (none.status_code, none.headers.get("x-model-version")) == (404, None)
        labels = {"model": "pair", "version": "1", "protocol": "tensorflow_serving"}
        assert counted(service.url, http, **labels, code="200") == 3
        assert counted(service.url, http, **labels, code="400") == 1
        seconds = samples(service.url, http, "aimaas_request_seconds_count")
        assert [sample.value for sample in seconds if sample.labels == labels] == [4]
        rows = samples(service.url, http, "aimaas_batch_rows_sum")
        assert [sample.value for sample in rows] == [6]
    lines = [json.loads(line) for line in service.log(100).splitlines() if line.startswith("{")]
    line = next(line for line in lines if line["id"] == reply.headers["x-request-id"])
    assert (line["protocol"], line["model"], line["version"]) == ("tensorflow_serving", "pair", "1")
    assert line["sha256"] == card["sha256"][:12] and (line["rows"], line["batch"]) == (2, 2)
    assert {line["code"] for line in lines} == {200, 400, 404}
