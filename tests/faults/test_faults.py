"""What clients, disks, clocks and the system do to a server: nobody else notices, and nothing leaks."""

import asyncio
import itertools
import shutil
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import keras
import msgspec
import numpy as np
import pytest
import requests
from servers import Server, assert_all_right, get, images, until

from aimaas_helpers.serving import load

Serve = Callable[..., Server]
Questions = Callable[[Server], list[load.Request]]


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def message(model: str, rows: int, headers: str = "") -> bytes:
    body = msgspec.json.encode({"instances": images(rows, rows).tolist()})
    head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_every_client_gets_its_own_rows(
    models: Path, serve: Serve, keras_models: dict[str, keras.Model], long: bool
) -> None:
    count = 64
    server = serve(models, queue=7 * count)  # room for all
    repeats = 500 if long else 20
    batches = [
        [images(1 + (client + turn) % 7, client * repeats + turn) for turn in range(repeats)] for client in range(count)
    ]
    flat = np.concatenate([batch for client in batches for batch in client])
    expected = iter(keras_models["probable"].predict(flat, batch_size=1024, verbose=0))
    answers = [[[next(expected) for _ in batch] for batch in client] for client in batches]

    async def client(number: int) -> int:
        parts = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for batch, right in zip(batches[number], answers[number], strict=True):
            body = msgspec.json.encode({"instances": batch.tolist()})
            head = b"POST /v1/models/probable:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(head + body)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            reply = msgspec.json.decode(await reader.readexactly(length))["predictions"]
            np.testing.assert_allclose(reply, right, atol=1e-5)
        writer.close()
        return len(batches[number])

    async def everyone() -> int:
        return sum(await asyncio.gather(*map(client, range(count))))

    assert asyncio.run(everyone()) == count * repeats
    together = get(f"{server.url}/metrics").text.split('aimaas_batch_rows_count{model="probable",version="1"} ')[1]
    assert float(together.split()[0]) < 0.8 * count * repeats  # otherwise it proved nothing


# Clients


def leave(client: socket.socket, rudely: bool) -> None:
    """Close the connection; rudely is at once, with whatever is on its way thrown away."""
    if rudely:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("moment", ["headers", "body", "waiting", "reading"])
def test_clients_that_disconnect(
    models: Path, serve: Serve, questions: Questions, beside: ThreadPoolExecutor, long: bool, moment: str
) -> None:
    server = serve(models, queue=100_000, concurrency=1000)
    heavy, wide = message("heavy", 4), message("probable", 200)
    sent = {"headers": heavy[:40], "body": heavy[:-40], "waiting": heavy, "reading": wide}[moment]
    load.closed(questions(server), connections=16, seconds=1)
    with connect(server) as largest:  # a model keeps the memory that its largest batch needed
        largest.sendall(message("heavy", 64, "Connection: close\r\n"))
        assert largest.makefile("rb").read().startswith(b"HTTP/1.1 200")
    before = server.usage()
    answers = beside.submit(load.closed, questions(server), connections=16, seconds=120 if long else 2, timeout=60)
    memory = []
    for _ in range(80 if long else 2):
        clients = [connect(server) for _ in range(250)]
        for client in clients:
            client.sendall(sent)
        if moment == "waiting":
            until(lambda: server.in_progress() > 100)
        if moment == "reading":
            for client in clients[::10]:
                assert client.recv(1000).startswith(b"HTTP/1.1 200")
        for number, client in enumerate(clients):
            leave(client, rudely=number % 2 == 0)
        until(lambda: server.in_progress() <= 16)
        memory.append(server.usage().mebibytes)
    assert_all_right(answers.result())
    until(lambda: server.in_progress() == 0)
    until(lambda: server.usage().files <= before.files + 2, why=lambda: (before, server.usage()))
    after = server.usage()
    assert after.threads <= before.threads + 8 and after.processes == before.processes, (before, after)
    # What once was needed at a time is kept, up to the most that ever was; a leak would go on.
    assert after.mebibytes < (memory[len(memory) // 2 - 1] if long else before.mebibytes) + 64, (before, memory)


def test_slow_bodies_are_refused_and_slow_clients_do_not_stop_the_others(
    models: Path, serve: Serve, questions: Questions, beside: ThreadPoolExecutor
) -> None:
    server = serve(models, body_timeout=1)
    slow = [connect(server) for _ in range(100)]
    answers = beside.submit(load.closed, questions(server), connections=16, seconds=2)
    for client in slow:
        client.sendall(message("exact", 5)[:-10])
    for client in slow:
        reply = b"".join(iter(lambda client=client: client.recv(65536), b""))  # up to the end: it closes the connection
        assert reply.startswith(b"HTTP/1.1 408") and b"did not arrive within 1 seconds" in reply
        client.close()
    assert_all_right(answers.result())
    until(lambda: server.in_progress() == 0)


def test_clients_that_do_not_read(models: Path, serve: Serve, questions: Questions) -> None:
    server = serve(models)
    slow = [connect(server) for _ in range(4)]
    wide = message("probable", 20_000)  # for which four megabytes come back, more than the system holds
    for client in slow:
        client.sendall(wide)
    until(lambda: server.in_progress() == 0, 60)  # it has written them, as far as it can
    assert_all_right(load.closed(questions(server), connections=16, seconds=2))
    for client in slow:
        client.close()
    until(lambda: server.in_progress() == 0)


# Versions


def whole(version: Path) -> None:
    """As ``export`` does it: complete, then given its name."""
    shutil.copytree(version.parent / "1", version.parent / ".staging")
    (version.parent / ".staging").rename(version)


def by_and_by(version: Path) -> None:
    """As a slow copy over a network does it."""
    original = version.parent / "1"
    version.mkdir()
    shutil.copy(original / "model_card.json", version)
    content = (original / "model.tflite").read_bytes()
    with (version / "model.tflite").open("wb") as file:
        for start in range(0, len(content), 1 + len(content) // 4):
            file.write(content[start : start + 1 + len(content) // 4])
            file.flush()
            time.sleep(0.05)


def corrupt(version: Path) -> None:
    """Its middle is not what was exported."""
    shutil.copytree(version.parent / "1", version.parent / ".staging")
    model = version.parent / ".staging" / "model.tflite"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 0xFF
    model.write_bytes(content)
    (version.parent / ".staging").rename(version)


@pytest.mark.parametrize("workers", [1, 2])
def test_versions_come_and_go_under_load(
    models: Path, serve: Serve, questions: Questions, beside: ThreadPoolExecutor, long: bool, workers: int
) -> None:
    server = serve(models, poll=0.05, workers=workers)
    seconds = 120 if long else 4
    answers = beside.submit(load.closed, questions(server), connections=16, seconds=seconds)
    memory = []
    for number, how in enumerate(itertools.cycle((whole, corrupt, by_and_by)), 2):
        if answers.done():
            break
        how(models / "exact" / str(number))
        time.sleep(0.2)
        memory.append(server.usage().mebibytes)
        if number > 6:
            shutil.rmtree(models / "exact" / str(number - 4))
    assert_all_right(answers.result())
    assert server.said("Serving version 5 of 'exact'") and server.said("Refused version 3 of 'exact'")
    assert server.said("Serving version 4 of 'exact'")  # which was first refused, when half of it had come
    assert server.said("Dropped version 4 of 'exact'")
    assert memory[-1] < memory[len(memory) // 2] + 32 * workers, memory


# The system


def test_a_clock_that_jumps(models: Path, serve: Serve, questions: Questions, tmp_path: Path, long: bool) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "right = time.time\n"
        "time.time = lambda: right() + (0, 7200, -7200, 86400)[int(time.monotonic() * 5) % 4]\n"
    )
    server = serve(models, {"PYTHONPATH": str(tmp_path)}, poll=0.1, deadline=2, rate=1e6)
    dates = {get(server.url).headers["date"][:19] for _ in range(20) if not time.sleep(0.1)}
    assert len(dates) > 1  # it does jump
    assert_all_right(load.closed(questions(server), connections=16, seconds=120 if long else 2))
    shutil.copytree(models / "exact" / "1", models / "exact" / "2")
    until(lambda: server.said("Serving version 2"))
    started = time.monotonic()
    with requests.Session() as session:
        session.trust_env = False
        url = f"{server.url}/v1/models/heavy:predict"
        reply = session.post(url, json={"instances": images(2000, 0).tolist()}, headers={"X-Request-Timeout": "0.5"})
    assert (reply.status_code, 0.4 < time.monotonic() - started < 10) == (504, True)
