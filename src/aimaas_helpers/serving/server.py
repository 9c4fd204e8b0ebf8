"""One server: a socket, the models, and uvicorn until someone says stop."""

import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import uvicorn

from aimaas_helpers.serving.app import create_app
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.settings import Settings

_GRACE = 5.0  # seconds that requests in progress have when whoever started the server is gone


def serve(
    path: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    name: str | None = None,
    settings: Settings | None = None,
    exit_with_parent: bool = False,
) -> None:
    """Serve the models under ``path`` until SIGINT or SIGTERM, and say where as soon as requests are answered.

    Port 0 takes a free one. With ``exit_with_parent`` the server also stops when its standard input is closed, which
    the operating system does when the parent process ends, however it ends. Raises ``Unavailable`` if the port is
    taken, ``NotFound`` or ``Corrupt`` if there is nothing to serve.
    """
    from aimaas_helpers.serving import workers

    settings = settings or Settings()
    stop = threading.Event()
    if exit_with_parent:
        threading.Thread(target=_watch_stdin, args=(stop,), daemon=True).start()
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in workers.listen(host, port, settings.workers)]
        url = f"http://{f'[{host}]' if ':' in host else host}:{listeners[0].getsockname()[1]}"
        if settings.workers == 1:
            run(path, name, settings, listeners[0], lambda names: announce(path, names, url), stop)
        else:
            workers.supervise(path, name, settings, listeners, lambda names: announce(path, names, url), stop)


def run(
    path: str | os.PathLike[str],
    name: str | None,
    settings: Settings,
    listener: socket.socket,
    on_ready: Callable[[list[str]], None],
    stop: threading.Event,
) -> None:
    """One process's part: load the models, say so to ``on_ready`` once requests are answered, and go on until told."""
    sys.setswitchinterval(0.0005)  # a model that has its result must not wait 5 ms for the loop to pause
    with ThreadPoolExecutor(32, thread_name_prefix="model") as executor:  # most of them wait for their model
        repository = Repository(path, name=name, settings=settings, executor=executor)
        for model in repository.names:
            for fault in filter(None, repository.versions(model).values()):
                print(f"Refused a version of '{model}': {fault}", flush=True)
        app = create_app(repository, settings)
        served = [model for model in repository.names if None in repository.versions(model).values()]
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            ws="none",
            lifespan="on",
            server_header=False,
            proxy_headers=False,  # any client could claim to be another
            backlog=2048,
            timeout_keep_alive=75,  # longer than the usual proxy keeps its side open
            timeout_graceful_shutdown=int(settings.grace),
        )
        server = _Server(config, settings, lambda: on_ready(served))
        gc.freeze()  # what is loaded stays: looking through it again and again would hold up requests
        threading.Thread(target=server.stop_after, args=(stop,), daemon=True).start()
        signal.signal(signal.SIGTERM, server.handle_exit)  # uvicorn listens a little later, and raises it once more
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says so when it is up; on SIGTERM it first says that it is not ready, and closes ``drain`` seconds later."""

    def __init__(self, config: uvicorn.Config, settings: Settings, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = settings.drain
        self._patience = settings.body_timeout
        self._silent: dict[Any, float] = {}  # connections without a request yet, and since when
        self._on_ready = on_ready
        self._close_at = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.config.app.state.plane.draining = True  # type: ignore[union-attr]
        if sig == signal.SIGTERM and self._drain:  # a second one, as from whoever started us, does not hasten it
            self._close_at = min(self._close_at, time.monotonic() + self._drain)
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            self._close_silent(time.monotonic())
        return await super().on_tick(counter) or time.monotonic() >= self._close_at

    def _close_silent(self, now: float) -> None:
        """A client that never sends a whole request must not hold a connection for ever; uvicorn would let it."""
        silent: list[Any] = [held for held in self.server_state.connections if getattr(held, "cycle", None) is None]
        self._silent = {held: self._silent.get(held, now) for held in silent}
        for held, since in self._silent.items():
            if now - since > self._patience and held.transport is not None:
                held.transport.close()

    def stop_after(self, stop: threading.Event) -> None:
        """Once ``stop`` is set the server ends, within ``_GRACE`` whatever hangs."""
        stop.wait()
        self.should_exit = True
        threading.Event().wait(_GRACE)
        self.force_exit = True
        threading.Event().wait(1)
        os._exit(1)  # a model that does not come to an end must not keep the process


def announce(path: str | os.PathLike[str], names: list[str], url: str) -> None:
    """Tell whoever started the server that it answers, and what to try."""
    print(
        f"Serving {', '.join(names)} from {Path(path).as_posix()} at {url} (stop with Ctrl-C)\n"
        f"Try: curl {url}/v1/models/{quote(names[0])}/metadata",
        flush=True,
    )


def _watch_stdin(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):  # not the buffered read: its lock would abort Python at exit
        pass
    stop.set()
