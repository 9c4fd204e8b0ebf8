"""The servers that are compared: how each is started, what it is sent, and how its answer is read."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any

import environment
import numpy as np
import psutil
from numpy.typing import NDArray

Rows = NDArray[np.float32]
START_TIMEOUT = 120.0  # seconds
PEERS = environment.HERE / "peers"


@dataclass(frozen=True)
class Protocol:
    """From rows (n, 28, 28) to headers and a body, and from an answer's headers (lower case) and body to (n, 10)."""

    encode: Callable[[Rows], tuple[dict[str, str], bytes]]
    decode: Callable[[Mapping[str, str], bytes], Any]


def _json(content: object) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "application/json"}, json.dumps(content, separators=(",", ":")).encode()


def _tensor(rows: Rows, **more: object) -> dict[str, object]:
    return {"name": "input", "shape": rows.shape, "datatype": "FP32", **more}


def _encode_binary(rows: Rows) -> tuple[dict[str, str], bytes]:
    """The Open Inference Protocol's binary tensor extension: a JSON header, then the numbers as they are in memory."""
    head = {
        "inputs": [_tensor(rows, parameters={"binary_data_size": rows.nbytes})],
        "outputs": [{"name": "output", "parameters": {"binary_data": True}}],
    }
    text = _json(head)[1]
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    return headers, text + rows.astype("<f4").tobytes()


def _decode_binary(headers: Mapping[str, str], body: bytes) -> Any:
    length = int(headers["inference-header-content-length"])
    return np.frombuffer(body[length:], "<f4").reshape(json.loads(body[:length])["outputs"][0]["shape"])


def _decode_inference(headers: Mapping[str, str], body: bytes) -> Any:
    output = json.loads(body)["outputs"][0]
    return np.reshape(output["data"], output["shape"])


ROWS = Protocol(lambda rows: _json({"instances": rows.tolist()}), lambda headers, body: json.loads(body)["predictions"])
BARE = Protocol(ROWS.encode, lambda headers, body: json.loads(body))  # BentoML answers with the array alone
INFERENCE = Protocol(lambda rows: _json({"inputs": [_tensor(rows, data=rows.ravel().tolist())]}), _decode_inference)
BINARY = Protocol(_encode_binary, _decode_binary)


@dataclass(frozen=True, eq=False)
class Server:
    """One contestant. ``command`` gets the model's version folder, a port and the number of processes."""

    name: str
    runtime: str
    workers: int
    command: Callable[[Path, int, int], list[str]]
    path: str
    protocol: Protocol = ROWS
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def constant(self) -> bool:
        return self.runtime == "none"

    @property
    def ours(self) -> bool:
        return self.name.startswith("aimaas")

    def __str__(self) -> str:
        return f"{self.name}, {self.runtime}, {self.workers} worker{'s' * (self.workers > 1)}"


def _aimaas(folder: Path, port: int, workers: int) -> list[str]:
    command = [sys.executable, "-m", "aimaas_helpers", "serve", "--port", str(port)]
    return [*command, *(["--workers", str(workers)] if workers > 1 else []), str(folder.parent)]


def _constant(folder: Path, port: int, workers: int) -> list[str]:
    return [sys.executable, str(environment.HERE / "constant.py"), str(port), str(workers)]


def _peer(script: str, runtime: str) -> Callable[[Path, int, int], list[str]]:
    def command(folder: Path, port: int, workers: int) -> list[str]:
        python = environment.python("mlserver" if script == "mlserver" else "peers")
        options = ["--port", str(port), "--runtime", runtime, "--workers", str(workers)]
        return [str(python), str(PEERS / f"{script}_server.py"), str(folder), *options]

    return command


# The settings for which Ray's documentation promises the most: HAProxy before the replicas, gRPC between them.
FAST_RAY = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
BATCHING = {"PEER_BATCH": "32"}


def contestants(model: str) -> list[Server]:
    """Every server, each with one and with two processes."""
    found = []
    for workers in (1, 2):
        found += [
            Server("Starlette, a constant", "none", workers, _constant, "/constant"),
            Server("Starlette, JSON read, a constant", "none", workers, _constant, "/parsed"),
            Server("aimaas, binary", "LiteRT", workers, _aimaas, f"/v2/models/{model}/infer", BINARY),
            Server("aimaas, JSON", "LiteRT", workers, _aimaas, f"/v1/models/{model}:predict"),
            Server("FastAPI", "model.predict", workers, _peer("fastapi", "predict"), "/predict"),
        ]
        for runtime in ("TensorFlow", "LiteRT"):
            kind = runtime.lower()
            found += [
                Server("FastAPI", runtime, workers, _peer("fastapi", kind), "/predict"),
                Server("LitServe", runtime, workers, _peer("litserve", kind), "/predict"),
                Server("LitServe, batching", runtime, workers, _peer("litserve", kind), "/predict", settings=BATCHING),
                Server("BentoML", runtime, workers, _peer("bentoml", kind), "/predict", BARE),
                Server("MLServer", runtime, workers, _peer("mlserver", kind), "/v2/models/digits/infer", INFERENCE),
                Server("Ray Serve", runtime, workers, _peer("ray", kind), "/predict"),
                Server("Ray Serve, tuned", runtime, workers, _peer("ray", kind), "/predict", settings=FAST_RAY),
            ]
    return found


class Failed(Exception):
    """A server that did not start, or that answered wrong."""


class Running:
    """A server's processes: started in a home and a temporary folder of their own, and none left at the end."""

    def __init__(self, server: Server, folder: Path, port: int) -> None:
        self.server, self.port = server, port
        self._home = tempfile.TemporaryDirectory(prefix="b", ignore_cleanup_errors=True)
        home = self._home.name
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "BENTOML_DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        haproxy = {
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{home}/h/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{home}/h/admin.sock",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{home}/h/metrics.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{home}/h",
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{home}/h/server-state",
        }
        self._log = Path(home, "log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                server.command(folder, port, server.workers),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home,
                env={
                    **os.environ,
                    **quiet,
                    **haproxy,
                    **server.settings,
                    "HOME": home,
                    "TMPDIR": home,
                    "RAY_TMPDIR": home,
                },
                start_new_session=True,
            )
        self._tree: set[psutil.Process] = set()

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._look()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for process in self._tree:  # those in groups of their own
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(self._tree, timeout=5)
        self._home.cleanup()

    def ask(self, rows: Rows) -> Rows:
        """One request; rows (n, 28, 28) → (n, 10). Raises ``OSError`` or ``Failed``."""
        headers, body = self.server.protocol.encode(rows)
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", self.server.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        except HTTPException as error:
            raise Failed(f"broken answer: {error!r}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise Failed(f"status {response.status}: {answer[:200].decode(errors='replace')}")
        return np.asarray(
            self.server.protocol.decode({name.lower(): text for name, text in response.headers.items()}, answer),
            np.float32,
        )

    def wait_until_ready(self, rows: Rows) -> float:
        """Wait for the first right status, then until all processes have finished loading. Returns seconds."""
        start, why = time.monotonic(), "no answer"
        while time.monotonic() < start + START_TIMEOUT:
            if self._process.poll() is not None:
                break
            try:
                self.ask(rows)
            except (OSError, Failed) as error:
                why = str(error)
                time.sleep(0.1)
                continue
            seconds = time.monotonic() - start
            self._settle()
            return seconds
        raise Failed(f"not ready ({why}); its last words:\n{self._log.read_text(errors='replace')[-1500:]}")

    def _settle(self) -> None:
        before = self.cpu()
        for _ in range(40):
            time.sleep(0.5)
            now = self.cpu()
            if now - before < 0.1:
                return
            before = now

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._process.pid)
            self._tree.update([root, *root.children(recursive=True)])

    def cpu(self) -> float:
        """Seconds of processor time that all its processes have used."""
        self._look()
        total = 0.0
        for process in self._tree:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total
