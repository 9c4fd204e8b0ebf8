"""How many requests a second does our server answer, and how many do others? Same model, same payload, same two cores.

    python benchmarks/serving/bench.py [--quick] [--models mlp cnn] [--servers FastAPI aimaas …] [--rounds 2]

Every server runs by itself, in processes of its own, and is asked one real digit as JSON over 1, 8, 32 and 128
connections by ``aimaas_helpers.serving.load``, which shares the cores with it. Before it is measured it must answer 32
different digits at once, each as Keras does. The servers take turns, round after round, and medians count. The first
round tries every server with one and with two processes; later ones go on with whichever was faster (with both for
ours and for the constants). The peers live in environments of their own in ``build/bench``, made on the first run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import socket
import statistics
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import environment
import numpy as np
import psutil
import report
from servers import Failed, Rows, Running, Server, contestants

from aimaas_helpers import data, serving
from aimaas_helpers.serving import load

DIGITS = 32
Cell = dict[str, Any]


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which stops the server that runs
    if hasattr(os, "sched_setaffinity"):  # inherited by every server and by the client
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    digits = data.load("digits", quiet=True).test.x[:DIGITS].astype(np.float32)
    found: dict[tuple[str, Server], dict[int, list[Cell]]] = {}
    failed: dict[str, str] = {}
    for model in options.models:
        folder, right = export(model, digits)
        rivals = [server for server in contestants(model) if chosen(server, options.servers)]
        for number in range(options.rounds):
            if number == 1:
                rivals = qualify(rivals, {server: cells for (name, server), cells in found.items() if name == model})
            for server in rivals[:: -1 if number % 2 else 1]:
                print(f"{model}, round {number + 1} of {options.rounds}: {server}", end="", flush=True)
                try:
                    cells = measure(server, folder, digits, right, options)
                except Failed as error:
                    print(f"  FAILED: {error}")
                    failed[f"{model}: {server}"] = str(error)
                    continue
                print("".join(f"  {count}: {cell['rate']:,.0f}/s" for count, cell in cells.items()))
                for count, cell in cells.items():
                    found.setdefault((model, server), {}).setdefault(count, []).append(cell)
    results = describe(options) | {
        "results": [summary(model, server, cells) for (model, server), cells in found.items()],
        "failed": failed,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{report.render(results)}\nWritten to {options.out}")
    sys.exit(1 if failed else 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(report.TITLES), default=list(report.TITLES))
    parser.add_argument("--servers", nargs="+", default=[], help="those whose name, runtime or both begin so")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=1.0, help="per measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2, help="that servers and client share (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one model, one round, two numbers of connections")
    parser.add_argument("--out", type=Path, default=environment.BUILD / "serving.json")
    options = parser.parse_args()
    if options.quick:
        options.models, options.connections, options.rounds = ["mlp"], [1, 32], 1
    return options


def chosen(server: Server, wanted: Iterable[str]) -> bool:
    text = str(server).lower()
    return not wanted or any(text.startswith(name.lower()) for name in wanted)


def export(model: str, digits: Rows) -> tuple[Path, Rows]:
    """An untrained network, which computes as fast as a trained one: its version folder, and its answers (n, 10)."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    body: dict[str, list[Any]] = {
        "mlp": [layers.Flatten(), layers.Dense(64, activation="relu")],
        "cnn": [
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
        ],
    }
    head = [layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
    network = keras.Sequential([layers.Input((28, 28)), *body[model], *head])
    shutil.rmtree(environment.BUILD / "models" / model, ignore_errors=True)
    artefact = serving.export(network, environment.BUILD / "models" / model)
    network.save(artefact.path / "model.keras")  # for whoever would call model.predict
    return artefact.path, np.asarray(network(digits))


def measure(server: Server, folder: Path, digits: Rows, right: Rows, options: argparse.Namespace) -> dict[int, Cell]:
    """Start the server, check its answers, and put each load on it. Raises ``Failed``."""
    port = free_port()
    with Running(server, folder, port) as running:
        start = running.wait_until_ready(digits[:1])
        check(running, digits, right)
        headers, body = server.protocol.encode(digits[:1])
        request = load.post(f"http://127.0.0.1:{port}{server.path}", body=body, headers=headers)
        cells = {}
        for count in options.connections:
            cpu = running.cpu()
            result = load.closed(request, connections=count, seconds=options.seconds, timeout=60)
            if set(result.codes) - {200} or result.faults:
                raise Failed(f"at {count} connections: status {dict(result.codes)}, {dict(result.faults)}")
            answered = len(result.latencies) > 0
            cells[count] = {
                "rate": result.rate,
                "p50": result.latency(0.5).value if answered else None,
                "p99": result.latency(0.99).value if answered else None,
                "client_busy": result.busy,
                "cpu": running.cpu() - cpu,
                "start": start,
            }
        return cells


def free_port() -> int:
    """A free port whose next one is free as well, below those that the system gives to clients."""
    while True:
        port = random.randrange(20000, 32000, 2)
        with suppress(OSError), socket.create_server(("", port)), socket.create_server(("", port + 1)):
            return port


def check(running: Running, digits: Rows, right: Rows) -> None:
    """Raises ``Failed`` unless each of many digits asked at once, and two in one request, get the right answers."""
    if running.server.constant:
        return
    with ThreadPoolExecutor(len(digits)) as pool:
        try:
            answers = np.concatenate(list(pool.map(running.ask, np.split(digits, len(digits)))))
            pair = running.ask(digits[:2])
        except OSError as error:
            raise Failed(f"broke off while answering {len(digits)} at once ({error})") from error
    for got, wanted in ((answers, right), (pair, right[:2])):
        if got.shape != wanted.shape or not np.allclose(got, wanted, atol=1e-4):
            raise Failed(f"WRONG ANSWER: shape {got.shape}, largest error {np.abs(got - wanted).max():.2g}")


def qualify(rivals: list[Server], found: dict[Server, dict[int, list[Cell]]]) -> list[Server]:
    """Of each peer with each runtime the number of processes that was faster; all of ours and of the constants."""
    fastest: dict[tuple[str, str], Server] = {}

    def peak(server: Server) -> float:
        return max(float(cells[0]["rate"]) for cells in found[server].values())

    for server in found:
        kind = (server.name, server.runtime)
        if kind not in fastest or peak(server) > peak(fastest[kind]):
            fastest[kind] = server
    return [s for s in rivals if s in found and (s.ours or s.constant or fastest[s.name, s.runtime] is s)]


def summary(model: str, server: Server, cells: dict[int, list[Cell]]) -> dict[str, Any]:
    """The medians over the rounds, and every round's numbers."""

    def median(count: int, name: str) -> float | None:
        values = [cell[name] for cell in cells[count] if cell[name] is not None]
        return statistics.median(values) if values else None

    return {
        "model": model,
        "server": server.name,
        "runtime": server.runtime,
        "workers": server.workers,
        "start": median(min(cells), "start"),
        "at": {str(count): {name: median(count, name) for name in ("rate", "p50", "p99")} for count in cells},
        "rounds": {str(count): each for count, each in cells.items()},
    }


def describe(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "processor": processor(),
            "cores": min(options.cores, psutil.cpu_count() or math.inf),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "system": " ".join(os.uname()[:3:2]) if hasattr(os, "uname") else sys.platform,
        },
        "versions": environment.versions(),
        **{name: getattr(options, name) for name in ("models", "connections", "seconds", "rounds")},
    }


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else "unknown processor"


if __name__ == "__main__":
    main()
