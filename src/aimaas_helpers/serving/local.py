"""A server beside the notebook: started, ready before the next line, and gone whatever happens."""

import atexit
import collections
import contextlib
import http.client
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from aimaas_helpers.errors import Unavailable
from aimaas_helpers.serving.settings import LARGE_PAGES, Settings

_START_TIMEOUT = 60.0  # seconds; a start takes about one
_STOP_TIMEOUT = 8.0
_KEPT_LINES = 500

_running: dict[Path, "Service"] = {}


def local(path: str | os.PathLike[str], *, name: str | None = None, **settings: Any) -> "Service":
    """Start a server for the models under ``path`` on a free port of this machine, and return when it is ready.

    ``path`` is a folder of models, one model's folder or one version; ``name`` renames a single model. The server is a
    process of its own. It ends with ``service.stop()``, at the end of a ``with`` block, when a new one is started for
    the same folder, and when this process ends, even if it is killed. ``settings`` are the fields of ``Settings``, as
    in ``local("models", queue=32, rate=5)``.
    Raises ``Unavailable``, saying why, if the server cannot start, and ``BadInput`` for a setting that there is not.
    """
    Settings.from_environment(**settings)
    folder = Path(path).resolve()
    if folder in _running:
        _running[folder].stop()
    service = Service(Path(path), name, settings)
    _running[folder] = service
    return service


class Service:
    """A running server; ``url`` is its address. Made by ``local``."""

    url: str

    def __init__(self, path: Path, name: str | None, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._owner = os.getpid()
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._announced = threading.Event()
        serve = [sys.executable, "-m", "aimaas_helpers", "serve", "--host", "127.0.0.1", "--port", "0"]
        given = settings if name is None else {"name": name, **settings}
        options = [f"--{key.replace('_', '-')}={value}" for key, value in given.items() if value is not None]
        self._process = subprocess.Popen(
            [*serve, "--exit-with-parent", *options, "--", str(path)],
            stdin=subprocess.PIPE,  # its end tells the server that this process is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env={**LARGE_PAGES, **os.environ, "PYTHONUTF8": "1"},
            start_new_session=True,  # interrupting a cell must not interrupt the server
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def __repr__(self) -> str:
        return f"Service for the folder {self.path.name!r}: {'running' if self.running else 'stopped'}"

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the server's process, to send it signals."""
        return self._process.pid

    def wait(self, seconds: float = 60.0) -> int:
        """Wait until the server has ended by itself; returns its exit code. Raises ``Unavailable`` if it does not."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"The server has not ended after {seconds:g} seconds; stop() ends it.") from None

    def log(self, lines: int = 20) -> str:
        """The last lines that the server wrote."""
        return "\n".join(list(self._lines)[-lines:])

    def stop(self) -> None:
        """End the server: requests in flight are finished first. Harmless if it has ended already."""
        if os.getpid() != self._owner:  # a fork of the process that started it
            return
        for folder in [folder for folder, service in _running.items() if service is self]:
            del _running[folder]
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_STOP_TIMEOUT)

    def _read(self) -> None:
        """Keep what the server writes, so that its pipe never fills, and pick out its address."""
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.append(line.rstrip())
                if found := re.match(r"Serving .* at (http://\S+) \(", line):
                    self.url = found[1]
                    self._announced.set()
        self._announced.set()

    def _wait_until_ready(self) -> None:
        if not self._announced.wait(_START_TIMEOUT):
            raise Unavailable(f"The server was not ready after {_START_TIMEOUT:.0f} seconds. {self._last_words()}")
        if not hasattr(self, "url"):
            sentences = [line.removeprefix("aimaas: ") for line in self._lines if line.startswith("aimaas: ")]
            raise Unavailable(sentences[-1] if sentences else f"The server did not start. {self._last_words()}")
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_START_TIMEOUT)
        try:
            connection.request("GET", "/v2/health/ready")
            status = connection.getresponse().status
        except OSError as error:
            raise Unavailable(f"The server does not answer ({error}). {self._last_words()}") from error
        finally:
            connection.close()
        if status != 200:
            raise Unavailable(f"The server is not ready (status {status}). {self._last_words()}")

    def _last_words(self) -> str:
        return f"Its last words:\n{self.log()}"


@atexit.register
def _stop_all() -> None:
    for service in list(_running.values()):
        service.stop()
