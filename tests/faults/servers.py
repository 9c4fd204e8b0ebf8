"""A server to be treated badly, and what can be seen of it from outside."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import requests

from aimaas_helpers.serving import load


class Usage(NamedTuple):
    """What a server and its workers have of the machine."""

    mebibytes: float
    files: int
    threads: int
    processes: int


class Server:
    """``aimaas serve`` with its options, and all it says in a file."""

    def __init__(self, folder: Path, log: Path, options: dict[str, Any], environment: dict[str, str]) -> None:
        self.log = log
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        with log.open("wb") as output:
            self.process = psutil.Popen(
                [sys.executable, "-m", "aimaas_helpers", "serve", str(folder), "--exit-with-parent", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "AIMAAS_PORT": "0", **environment},
            )
        until(lambda: self.said(" at http://") or self.process.poll() is not None, 60, self.words)
        assert self.process.poll() is None, self.words()
        self.url = self.words().split(" at ")[1].split()[0]

    def words(self) -> str:
        return self.log.read_text(errors="replace")

    def said(self, text: str) -> bool:
        return text in self.words()

    def workers(self) -> list[psutil.Process]:
        """The processes that answer, if there are several."""
        return [child for child in self.process.children() if "--multiprocessing-fork" in words_of(child)]

    def usage(self) -> Usage:
        processes = [self.process, *self.process.children(recursive=True)]
        return Usage(
            sum(process.memory_info().rss for process in processes) / 2**20,
            sum(process.num_fds() for process in processes),
            sum(process.num_threads() for process in processes),
            len(processes),
        )

    def in_progress(self) -> float:
        """Requests that the server is working on, one being this."""
        text = get(f"{self.url}/metrics").text
        found = re.search(r"^aimaas_requests_in_progress (\S+)$", text, re.MULTILINE)
        return float(found[1]) - 1 if found else 0.0  # a worker that has just begun has counted none yet

    def answers(self, path: str = "/v2/health/ready") -> bool:
        try:
            return get(self.url + path).status_code == 200
        except requests.ConnectionError:
            return False

    def end(self) -> None:
        family = [self.process, *self.process.children(recursive=True)] if self.process.poll() is None else []
        for process in family:
            process.kill()
        self.process.stdin.close()
        self.process.wait()


def words_of(process: psutil.Process) -> list[str]:
    """What it was started with; nothing, if it has ended meanwhile."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie is one of these
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def get(url: str, **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=30, **options)


def until(condition: Callable[[], object], seconds: float = 20, why: Callable[[], object] = str) -> None:
    """Wait until it is so; fail if it is not after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.02)


def images(rows: int, seed: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.random.default_rng(seed).integers(0, 256, (rows, 8, 8)).astype(np.float32)


def assert_all_right(result: load.Result) -> None:
    """Every request was answered, and rightly."""
    assert result.faults == Counter() and set(result.codes) == {200}, result
    assert result.codes.total() > 50, result
