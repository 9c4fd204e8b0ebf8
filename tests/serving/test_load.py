"""The load generator against servers that do a known thing: what it reports is what they did."""

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st

from aimaas_helpers.errors import BadInput, Unavailable
from aimaas_helpers.serving import load

LENGTH = b"content-length"


class Server:
    """Answers by path; ``stall`` seconds is how long it will answer nobody, once."""

    def __init__(self) -> None:
        self.stall = 0.0
        self.bodies: list[bytes] = []
        self.connections: set[tuple[str, int]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        self.connections.add(scope["client"])
        status, headers, parts = 200, [(LENGTH, b"%d" % len(body))], [body]
        if path == "/sleep":
            await asyncio.sleep(0.02)
        elif path == "/stall":
            pause, self.stall = self.stall, 0.0
            time.sleep(pause)  # the event loop stands still, and with it every request
        elif path == "/never":
            await asyncio.sleep(0 if body == b"answer" else 60)
        elif path == "/codes":
            status = int(body)
        elif path == "/chunked":
            headers, parts = [], [body[:3], body[3:]]
        elif path == "/close":
            headers += [(b"connection", b"close")]
        elif path == "/swapped":
            parts = [body[::-1]]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if path == "/break":
            raise ConnectionAbortedError  # uvicorn closes the connection
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Server, str]]:
    app = Server()
    config = uvicorn.Config(app, log_level="critical", access_log=False, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield app, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.force_exit = server.should_exit = True
        thread.join()


@pytest.fixture
def server(running: tuple[Server, str]) -> Server:
    running[0].bodies.clear()
    running[0].connections.clear()
    return running[0]


@pytest.fixture
def url(running: tuple[Server, str]) -> str:
    return running[1]


def test_the_request_is_the_one_that_was_prepared(server: Server, url: str) -> None:
    request = load.post(f"{url}/echo?a=1", json={"instances": [[1.5, 2]]}, headers={"X-Key": "k"})
    head, _, body = request.content.partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "POST /echo?a=1 HTTP/1.1",
        f"host: {url.removeprefix('http://')}",
        "content-length: 23",
        "content-type: application/json",
        "x-key: k",
    ]
    result = load.closed(request, connections=3, seconds=0.2, warm_up=0)
    assert result.codes.keys() == {200} and not result.faults
    assert set(server.bodies) == {body} == {b'{"instances":[[1.5,2]]}'}
    assert len(server.connections) == 3  # kept alive


def test_a_closed_loop_keeps_its_connections_busy_and_little_s_law_holds(url: str) -> None:
    result = load.closed(load.post(f"{url}/sleep"), connections=4, seconds=0.8)
    assert result.latencies.min() > 0.0195 and result.codes.total() == len(result.latencies) == len(result.starts)
    assert result.mean_in_flight == pytest.approx(4, rel=0.05)
    ends = 2 * 4 / len(result.latencies)  # only those that began or ended outside the measurement may differ
    assert result.rate * result.latencies.mean() == pytest.approx(result.mean_in_flight, rel=ends)
    assert result.offered == result.codes.total() / result.seconds and result.seconds == 0.8
    assert 0 < result.busy < 1


def test_an_open_loop_asks_at_its_rate_and_little_s_law_holds(url: str) -> None:
    result = load.open(load.post(f"{url}/sleep"), rate=200, seconds=1.0, warm_up=0)
    assert result.offered == pytest.approx(200, abs=5 * math.sqrt(200))  # Poisson: five standard deviations
    spent = np.minimum(result.starts + result.latencies, 1.0) - result.starts  # within the measurement
    assert result.mean_in_flight == pytest.approx(spent.sum(), rel=0.01)
    assert result.latencies.sum() == pytest.approx(spent.sum(), rel=0.2)  # what Little's law leaves out
    gaps = np.diff(np.sort(result.starts))
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.3)  # exponential
    again = load.open(load.post(f"{url}/sleep"), rate=200, seconds=1.0, warm_up=0)
    np.testing.assert_allclose(np.sort(again.starts), np.sort(result.starts), atol=1e-6)  # the same seed
    other = load.open(load.post(f"{url}/sleep"), rate=50, seconds=0.5, arrivals="even")
    np.testing.assert_allclose(np.diff(np.sort(other.starts)), 1 / 50, atol=1e-6)


def test_a_stall_is_felt_by_all_who_came_in_it(server: Server, url: str) -> None:
    def late(result: load.Result) -> int:
        return int(np.sum(result.latencies > 0.1))

    server.stall = 0.5
    closed = load.closed(load.post(f"{url}/stall"), connections=1, seconds=1.0, warm_up=0)
    server.stall = 0.5
    opened = load.open(load.post(f"{url}/stall"), rate=200, seconds=1.0, warm_up=0, arrivals="even")
    assert 1 <= late(closed) <= 6  # one asked while the server stood still, and 0.5 s are no more than five times 0.1 s
    assert late(opened) >= 75  # 80 fell due in the 0.4 s that left them to wait more than 0.1 s
    assert opened.latencies.max() > 0.45
    assert opened.codes == {200: 200}


def test_waiting_for_a_connection_is_latency(url: str) -> None:
    result = load.open(
        load.post(f"{url}/sleep"), rate=100, seconds=0.5, connections=1, warm_up=0, arrivals="even"
    )  # 50 answers take the one connection 1 s
    assert result.codes == {200: 50} and result.latencies.max() > 0.45
    assert result.rate < 60 and result.latencies[-1] > result.latencies[0]


def test_answers_are_counted_by_status(url: str) -> None:
    requests = [load.post(f"{url}/codes", body=body) for body in (b"200", b"503", b"200", b"404")]
    result = load.closed(requests, connections=1, seconds=0.3, warm_up=0)
    assert result.codes.keys() == {200, 404, 503} and not result.faults
    assert abs(result.codes[200] - 2 * result.codes[503]) <= 2
    assert len(result.latencies) == result.codes[200]
    assert len(result.refusals) == result.codes[404] + result.codes[503]
    assert abs(result.rate * 0.3 - result.codes[200]) < 1.1  # one answer may come after the end
    assert f"status 503: {result.codes[503]:,}" in str(result) and "p99" in str(result)


@pytest.mark.parametrize("path", ["echo", "chunked", "close"])
def test_each_gets_its_own_answer_however_it_is_sent(server: Server, url: str, path: str) -> None:
    bodies = [f"row {n}".encode() * (n + 1) for n in range(7)]
    requests = [load.post(f"{url}/{path}", body=body, expect=body) for body in bodies]
    result = load.closed(requests, connections=5, seconds=0.3, warm_up=0)
    assert result.codes.keys() == {200} and not result.faults and set(server.bodies) == set(bodies)
    if path == "close":
        assert len(server.connections) > 0.9 * len(server.bodies)  # a port may come round again
    else:
        assert len(server.connections) == 5


def test_a_wrong_answer_is_a_fault(url: str) -> None:
    requests = [load.post(f"{url}/swapped", body=body, expect=body) for body in (b"level", b"lever")]
    result = load.closed(requests, connections=1, seconds=0.2, warm_up=0)
    assert result.faults.keys() == {"The answer was not the expected one."}
    assert abs(result.faults.total() - result.codes[200]) <= 1
    assert result.codes.total() == len(result.latencies)


def test_a_broken_connection_is_a_fault_and_opened_again(server: Server, url: str) -> None:
    body = b"never seen whole"
    requests = [load.post(f"{url}/break", body=body), load.post(f"{url}/echo", body=body)]
    result = load.closed(requests, connections=2, seconds=0.4, warm_up=0)
    assert result.faults.keys() == {"The server closed the connection before its answer was complete."}
    assert result.faults.total() > 1 and result.codes[200] > 1
    assert len(server.connections) >= result.faults.total()


def test_what_is_not_http_is_a_fault() -> None:
    async def run() -> load.Result:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(100):
                writer.write(b"hello?\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            return await asyncio.to_thread(load.closed, load.post(f"http://127.0.0.1:{port}"), seconds=0.2, warm_up=0)

    result = asyncio.run(run())
    assert result.faults.keys() == {"The answer was not HTTP."} and not result.codes


def test_a_server_that_goes_away_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread = threading.Thread(target=lambda: (listener.accept()[0].close(), listener.close()))
        thread.start()
        result = load.open(load.post(url), rate=100, seconds=0.3, warm_up=0, arrivals="even")
        thread.join()
    assert result.faults == {"The server refused the connection.": 30} and result.rate == 0
    with pytest.raises(BadInput, match="No request was answered with success"):
        result.latency(0.5)
    with pytest.raises(Unavailable, match=r"Nothing answers at 127\.0\.0\.1:\d+ .*: start the service"):
        load.closed(load.post(url))


def test_what_is_never_answered_does_not_vanish(url: str) -> None:
    requests = [load.post(f"{url}/never", body=body) for body in (b"answer", b"do not")]
    result = load.open(requests, rate=100, seconds=0.3, warm_up=0, arrivals="even", timeout=0.5)
    assert result.faults == {"There was no answer 0.5 s after the end.": 15} and result.codes == {200: 15}
    result = load.closed(requests[1], connections=2, seconds=0.2, warm_up=0.1, timeout=0)
    assert result.faults.total() == 2  # though they began in the warm-up
    assert result.mean_in_flight == pytest.approx(2)


def test_the_warm_up_is_not_counted(server: Server, url: str) -> None:
    result = load.open(load.post(f"{url}/echo"), rate=100, seconds=0.2, warm_up=0.295, arrivals="even")
    assert result.codes.total() == 20 and len(server.bodies) == 50
    assert result.starts.min() == pytest.approx(0.005)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.floats(0.01, 0.99), st.integers(0, 2**32 - 1))
def test_a_quantile_lies_in_its_interval(n: int, q: float, seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(size=n)
    value, low, high = load.quantile(values, q)
    assert low <= value <= high and value in values
    assert np.mean(values <= value) >= q - 1e-9 and np.mean(values < value) <= q
    assert low == 0 or low in values
    assert high == math.inf or high in values


@pytest.mark.parametrize(("n", "q"), [(20, 0.5), (200, 0.95), (2000, 0.99), (60, 0.99)])
def test_the_interval_covers_the_true_quantile(n: int, q: float) -> None:
    random, truth, tries = np.random.default_rng(0), -math.log(1 - q), 1000
    estimates = [load.quantile(random.exponential(size=n), q) for _ in range(tries)]
    covered = sum(low <= truth <= high for _, low, high in estimates) / tries
    assert covered > 0.95 - 3 * math.sqrt(0.95 * 0.05 / tries)
    if (n, q) == (60, 0.99):
        assert all(high == math.inf for _, _, high in estimates)  # 60 values say nothing of the slowest 1 %
    else:
        assert covered < 0.99  # no wider than it must be
        assert np.mean([value for value, _, _ in estimates]) == pytest.approx(truth, rel=0.1)


def test_a_curve_has_a_point_for_each_load_and_draws_itself(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda data, *, raw, metadata: shown.append(metadata))
    curve = load.curve(load.post(f"{url}/sleep"), connections=(1, 4), seconds=0.3, warm_up=0)
    assert [round(result.mean_in_flight) for result in curve.results] == [1, 4]
    curve.plot()
    rates = load.curve(load.post(f"{url}/sleep"), rates=(20, 80), seconds=0.3, arrivals="even", warm_up=0)
    assert [result.codes.total() for result in rates.results] == [6, 24]
    rates.plot()
    assert [set(metadata) for metadata in shown] == [{"image/png"}] * 2
    assert "one point for each load" in shown[0]["image/png"]["alt"]
    assert str(curve).count("Closed loop") == 2


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_an_interruption_ends_the_client_too(server: Server, url: str) -> None:
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's & makes it deaf
    code = f"{listening}; from aimaas_helpers.serving import load; load.closed(load.post('{url}/echo'), seconds=60)"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        while not server.bodies:
            assert process.poll() is None
            time.sleep(0.01)
        (client,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=20)[1]
    assert not client.is_running()


def test_what_cannot_be_asked_gets_a_sentence(url: str) -> None:
    with pytest.raises(BadInput, match=r"plain http; .* got 'https://example\.org'"):
        load.post("https://example.org")
    with pytest.raises(BadInput, match="not both"):
        load.post(url, json=1, body=b"1")
    request = load.post(url)
    with pytest.raises(BadInput, match="all to one host and port; got 2"):
        load.closed([request, load.post("http://127.0.0.2:1")])
    with pytest.raises(BadInput, match="got 0"):
        load.closed([])
    for options in ({"connections": 0}, {"seconds": 0}, {"warm_up": -1}, {"timeout": -1}):
        with pytest.raises(BadInput, match="must be above 0"):
            load.closed(request, **options)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="got 0 and 'poisson'"):
        load.open(request, rate=0)
    with pytest.raises(BadInput, match="arrivals 'poisson' or 'even'; got 1 and 'odd'"):
        load.open(request, rate=1, arrivals="odd")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="got 1 values and q = 1"):
        load.quantile([1.0], 1)
