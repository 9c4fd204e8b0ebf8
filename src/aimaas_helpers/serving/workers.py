"""Several processes that answer on one port: who starts them, and starts them again when they die.

The parent opens the sockets and keeps them, so that connections wait for a worker that is being started anew instead
of being refused. On Linux each worker has a socket of its own on the port, and the system deals connections out
evenly; elsewhere all accept from one. Processes are spawned, not forked: forked copies of libraries with threads hang.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from prometheus_client import multiprocess

from aimaas_helpers.errors import AimaasError, Unavailable
from aimaas_helpers.serving.settings import Settings

_PAUSE = 0.5  # seconds before a worker that died is replaced
_PATIENCE = 30  # seconds; a client that takes nothing of its answer for so long is cut off, or it fills the memory


def listen(host: str, port: int, workers: int) -> list[socket.socket]:
    """A socket for every worker, all on one port; port 0 takes a free one. Raises ``Unavailable``."""
    shared = sys.platform == "linux" and workers > 1
    listeners = [_bind(host, port, shared)]
    if shared:
        listeners += [_bind(host, listeners[0].getsockname()[1], shared) for _ in range(workers - 1)]
        return listeners
    return listeners * workers


def _bind(host: str, port: int, shared: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Unavailable(f"There is no address '{host}' on this machine ({error.strerror}).") from error
    try:
        if os.name == "posix":  # elsewhere the option would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # its connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _PATIENCE)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Port {port} on {host} cannot be opened ({error.strerror}): "
            "stop what uses it, or choose another with --port."
        ) from error
    return listener


class _Worker:
    """One process and the pipe to it: it reports when it is ready, and ends when the pipe is closed."""

    def __init__(self, context: "multiprocessing.context.SpawnContext", number: int, *args: object) -> None:
        self.number = number
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, *args), name=f"worker-{number}")
        self.process.start()
        theirs.close()
        self.names: list[str] | None = None  # until it is ready


def supervise(
    path: str | os.PathLike[str],
    name: str | None,
    settings: Settings,
    listeners: list[socket.socket],
    on_ready: Callable[[list[str]], None],
    stop: threading.Event,
) -> None:
    """Run a worker on every listener until ``stop``, SIGINT or SIGTERM. Raises ``Unavailable`` if one cannot start."""
    context = multiprocessing.get_context("spawn")
    counters = tempfile.mkdtemp(prefix="aimaas-metrics-")  # where the workers' metrics meet
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters

    def start(number: int) -> _Worker:
        return _Worker(context, number, path, name, settings, listeners[number])

    draining = threading.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda sig, _: draining.set() if sig == signal.SIGTERM else stop.set())
    workers: list[_Worker] = []
    try:
        workers += [start(number) for number in range(len(listeners))]
        announced = False
        while not stop.is_set() and not draining.is_set():
            for pipe in wait([worker.pipe for worker in workers], timeout=0.1):
                worker = next(worker for worker in workers if worker.pipe is pipe)
                with contextlib.suppress(EOFError, OSError):
                    worker.names = worker.pipe.recv()
                    continue
                worker.process.join()
                multiprocess.mark_process_dead(worker.process.pid, counters)
                if stop.is_set() or draining.is_set():
                    break
                if not announced:
                    raise Unavailable("A worker could not start; what it said stands above.")
                print(f"Worker {worker.number} ended (code {worker.process.exitcode}); starting another.", flush=True)
                time.sleep(_PAUSE)
                workers[worker.number] = start(worker.number)
            if not announced and all(worker.names for worker in workers):
                announced = True
                on_ready(workers[0].names or [])
    finally:
        for listener in listeners:  # so that the port closes with the workers' copies
            listener.close()
        _end(workers, settings, drain=draining.is_set())
        shutil.rmtree(counters, ignore_errors=True)


def _end(workers: list[_Worker], settings: Settings, drain: bool) -> None:
    for worker in workers:
        if drain and os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                worker.process.terminate()
        else:
            worker.pipe.close()
    patience = time.monotonic() + (settings.drain + settings.grace if drain else 0) + 7
    for worker in workers:
        worker.process.join(max(patience - time.monotonic(), 0))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _work(
    pipe: Connection, path: str | os.PathLike[str], name: str | None, settings: Settings, listener: socket.socket
) -> None:
    """What a worker process does."""
    from aimaas_helpers.serving.server import run

    stop = threading.Event()

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()  # nothing is ever sent: it returns when the parent is gone
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        run(path, name, settings, listener, pipe.send, stop)
    except AimaasError as error:
        print(f"aimaas: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
