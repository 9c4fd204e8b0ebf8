"""Several processes on one port: they share the work, and each may die."""

import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import Server, alive, assert_all_right, get, until

from aimaas_helpers.serving import load

Serve = Callable[..., Server]
Questions = Callable[[Server], list[load.Request]]

BROKEN = ("The server closed the connection", "The server reset the connection")


def port_is_free(server: Server) -> bool:
    parts = urlsplit(server.url)
    with socket.socket() as probe:
        try:
            probe.bind((parts.hostname, parts.port))
        except OSError:
            return False
    return True


def test_they_share_a_port_and_the_metrics(models: Path, serve: Serve, questions: Questions) -> None:
    server = serve(models, workers=2)
    assert len(server.workers()) == 2
    result = load.closed(questions(server), connections=32, seconds=1)
    assert_all_right(result)
    assert all(worker.cpu_times().user > 0 for worker in server.workers())
    series = 'aimaas_requests_total{code="200",model="exact",protocol="tensorflow_serving",version="1"} '
    counts = {float(get(f"{server.url}/metrics").text.split(series)[1].split()[0]) for _ in range(8)}
    assert len(counts) == 1 and counts.pop() >= result.codes[200]  # whoever is asked knows of all
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) == 0
    assert port_is_free(server) and "Traceback" not in server.words()


def test_one_that_is_killed_is_replaced(
    models: Path, serve: Serve, questions: Questions, beside: ThreadPoolExecutor, long: bool
) -> None:
    server = serve(models, workers=2)
    load.closed(questions(server), connections=32, seconds=1)
    before = server.usage()
    for _ in range(20 if long else 1):
        answers = beside.submit(load.closed, questions(server), connections=32, seconds=5, warm_up=0)
        until(server.in_progress)
        old = server.workers()
        old[0].kill()
        until(lambda old=old: len(server.workers()) == 2 and server.workers() != old)
        result = answers.result()
        assert set(result.codes) == {200} and result.codes.total() > 50, result
        assert 0 < result.faults.total() <= 32, result  # one for each of its connections, at most
        assert all(fault.startswith(BROKEN) for fault in result.faults), result
    assert server.said("Worker 0 ended (code -9); starting another.") or server.said("Worker 1 ended (code -9)")
    assert_all_right(load.closed(questions(server), connections=32, seconds=1))
    after = server.usage()
    assert after.processes == before.processes and after.files <= before.files + 4
    assert after.mebibytes < before.mebibytes * 1.5


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_left_of_a_server_whose_parent_is_gone(models: Path, serve: Serve, workers: int) -> None:
    server = serve(models, workers=workers)
    family = server.process.children(recursive=True)
    server.process.stdin.close()  # as the system does it when the parent is killed
    assert server.process.wait(20) == 0
    until(lambda: not any(map(alive, family)))
    assert port_is_free(server) and "Traceback" not in server.words()


def test_workers_go_when_the_one_that_started_them_is_killed(models: Path, serve: Serve) -> None:
    server = serve(models, workers=2)
    family = server.process.children(recursive=True)
    assert len(family) >= 2
    server.process.kill()
    server.process.wait()
    until(lambda: not any(map(alive, family)))
    assert port_is_free(server)


def test_why_workers_cannot_start_is_told_once(tmp_path: Path, serve: Serve) -> None:
    started = time.monotonic()
    with pytest.raises(AssertionError, match=r"holds no model(.|\n)*A worker could not start"):
        serve(tmp_path, workers=2)
    assert time.monotonic() - started < 59  # it did not try for ever
