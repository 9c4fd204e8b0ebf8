"""One server process: a socket, the models, and uvicorn until someone says stop."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import uvicorn

from aimaas_helpers.errors import Unavailable
from aimaas_helpers.serving.app import MAX_BODY, create_app
from aimaas_helpers.serving.repository import Repository

_GRACE = 5  # seconds that requests in flight have to finish in when the server stops


def serve(
    path: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    name: str | None = None,
    threads: int = 1,
    max_body: int = MAX_BODY,
    exit_with_parent: bool = False,
) -> None:
    """Serve the models under ``path`` until SIGINT or SIGTERM, and say where as soon as requests are answered.

    Port 0 takes a free one. With ``exit_with_parent`` the server also stops when its standard input is closed, which
    the operating system does when the parent process ends, however it ends. Raises ``Unavailable`` if the port is
    taken, ``NotFound`` or ``Corrupt`` if there is nothing to serve.
    """
    with _bind(host, port) as listener:
        repository = Repository(path, name=name, threads=threads)
        for model in repository.names:
            for fault in filter(None, repository.versions(model).values()):
                print(f"Refused a version of '{model}': {fault}", flush=True)
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            create_app(repository, max_body=max_body),
            log_level="warning",
            access_log=False,
            ws="none",
            lifespan="off",
            timeout_keep_alive=75,  # longer than the usual proxy keeps its side open
            timeout_graceful_shutdown=_GRACE,
        )
        server = _Server(config, lambda: _announce(Path(path), repository, url))
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn stops first, then raises the signal once more
        if exit_with_parent:
            threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says so when it is up."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Unavailable(f"There is no address '{host}' on this machine ({error.strerror}).") from error
    try:
        if os.name == "posix":  # elsewhere the option would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Port {port} on {host} cannot be opened ({error.strerror}): "
            "stop what uses it, or choose another with --port."
        ) from error
    return listener


def _announce(path: Path, repository: Repository, url: str) -> None:
    served = [name for name in repository.names if None in repository.versions(name).values()]
    print(
        f"Serving {', '.join(served)} from {path.as_posix()} at {url} (stop with Ctrl-C)\n"
        f"Try: curl {url}/v1/models/{quote(served[0])}/metadata",
        flush=True,
    )


def _stop_with_parent(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True
    threading.Event().wait(2 * _GRACE)
    os._exit(1)  # a request that cannot be ended must not keep the process
