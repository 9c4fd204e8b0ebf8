"""The load generator: how many answers a second does a service give, how late, and what if more is asked of it?

In a *closed* loop each connection sends its next request when it has its answer: a slow server is asked less. In an
*open* loop requests come on a schedule fixed beforehand, as from many strangers, and latency counts from the scheduled
time, so that a server which stalls cannot hide whom it kept waiting (no coordinated omission).

The requests are sent by a process of its own (``load_client``), so that neither a notebook's threads nor its event loop
disturb the measurement.
"""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
import numpy as np

from aimaas_helpers import plotting
from aimaas_helpers.errors import AimaasError, BadInput, Unavailable
from aimaas_helpers.progress import progress
from aimaas_helpers.serving import load_client
from aimaas_helpers.serving.load_client import Outcome, Plan

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Request:
    """A request ready to be sent: ``content`` is all of it, ``expect`` the body of the right answer, if known."""

    host: str
    port: int
    content: bytes
    expect: bytes | None = None


def post(
    url: str,
    *,
    json: object = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    expect: bytes | None = None,
) -> Request:
    """Prepare a ``POST`` of ``json`` or ``body`` to ``url``; a 2xx answer whose body is not ``expect`` is a fault."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise BadInput(f"The load generator speaks plain http; expected http://host:port/path, got {url!r}.")
    if json is not None and body is not None:
        raise BadInput("Give the request either json=… or body=…, not both.")
    if body is None:
        body = b"" if json is None else msgspec.json.encode(json)
    fields = {"host": parts.netloc, "content-length": str(len(body))}
    fields |= {} if json is None else {"content-type": "application/json"}
    fields |= {name.lower(): value for name, value in (headers or {}).items()}
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = "\r\n".join([f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())])
    return Request(parts.hostname, parts.port or 80, head.encode() + b"\r\n\r\n" + body, expect)


class Estimate(NamedTuple):
    """A quantile and its 95 % interval, in seconds; ``high`` is infinite if there are too few answers to bound it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        value, low, high = (f"{1000 * number:,.2f}" for number in self)
        return f"{value} ms ({low} to {high})" if self.high < math.inf else f"{value} ms (at least {low})"


def quantile(values: ArrayLike, q: float) -> Estimate:
    """The ``q`` quantile of ``values`` ``[n]``, 0 < q < 1, with a 95 % interval that assumes no distribution.

    The number of values below the true quantile is binomial, so two of the sorted values enclose it. Values must be
    independent; neighbours in a queue are alike, so in an overloaded service the true uncertainty is larger.
    """
    from scipy.stats import binom

    x, n = np.sort(np.asarray(values, np.float64)), np.size(values)
    if not 0 < q < 1 or n == 0:
        raise BadInput(f"Expected at least one value and 0 < q < 1; got {n} values and q = {q}.")
    low, high = (int(binom.ppf(tail, n, q)) for tail in (0.025, 0.975))  # x[low - 1] and x[high] enclose it
    return Estimate(
        float(x[math.ceil(q * n) - 1]),
        float(x[low - 1]) if low > 0 else 0.0,
        float(x[high]) if high < n else math.inf,
    )


@dataclass(frozen=True, repr=False)
class Result:
    """What came back within ``seconds`` of load.

    Every request that fell due in that time is in ``codes`` (answers by status) or in ``faults`` (by what went wrong).
    ``latencies`` ``[n]`` are those of the 2xx answers in order of completion, ``starts`` ``[n]`` when those requests
    fell due, counted from the start of the measurement, and ``refusals`` the latencies of all other answers; all in
    seconds. ``offered`` is requests that fell due a second, ``rate`` 2xx answers that arrived a second,
    ``mean_in_flight`` the time average of requests that have no answer yet, and ``busy`` the share of the time that
    the client was computing: near 1, it is the client that was measured.
    """

    load: str
    seconds: float
    offered: float
    rate: float
    codes: Counter[int]
    faults: Counter[str]
    starts: NDArray[np.float64]
    latencies: NDArray[np.float64]
    refusals: NDArray[np.float64]
    mean_in_flight: float
    busy: float

    def latency(self, q: float) -> Estimate:
        """The ``q`` quantile of ``latencies`` with its 95 % interval, see ``quantile``."""
        if len(self.latencies) == 0:
            raise BadInput(f"No request was answered with success, so there is no latency to tell.\n{self}")
        return quantile(self.latencies, q)

    def __repr__(self) -> str:
        lines = [f"{self.load}, {self.seconds:g} s: {self.rate:,.1f} answers/s"]
        if len(self.latencies):
            lines += [f"  p{100 * q:g}  {self.latency(q)}" for q in (0.5, 0.95, 0.99)]
        lines += [f"  status {code}: {count:,}" for code, count in sorted(self.codes.items())]
        lines += [f"  {count:,} × {fault}" for fault, count in self.faults.most_common()]
        lines += ["  The client was busy nearly all the time: ask for less."] if self.busy > 0.9 else []
        return "\n".join(lines)


@dataclass(frozen=True)
class Curve:
    """One ``Result`` for each load: what a service gives, and how late, as more is asked of it."""

    results: list[Result]

    def __str__(self) -> str:
        return "\n".join(map(str, self.results))

    def plot(self) -> None:
        """Draw p50, p95 and p99 of the latency, each with its 95 % interval, against the rate of answers."""
        answered = [result for result in self.results if len(result.latencies)]
        if not answered:
            raise BadInput(f"No request was answered with success, so there is nothing to draw.\n{self}")
        rates = [result.rate for result in answered]
        fig, (ax,) = plotting.panels(1)
        for q, marker in ((0.5, "o"), (0.95, "s"), (0.99, "^")):
            value, low, high = 1000 * np.array([result.latency(q) for result in answered]).T
            upper = np.where(np.isfinite(high), high - value, 0)  # no upper end to draw
            ax.errorbar(rates, value, (value - low, upper), marker=marker, capsize=3, label=f"p{100 * q:g}")
        ax.set(xlabel="answers per second", ylabel="latency (ms)", yscale="log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.legend()
        plotting.show(
            fig,
            "Line chart: median, 95th and 99th percentile of the latency against the rate of answers, "
            "one point for each load.",
        )


def closed(
    request: Request | Sequence[Request],
    *,
    connections: int = 32,
    seconds: float = 3.0,
    warm_up: float = 0.3,
    timeout: float = 10.0,
) -> Result:
    """Ask over ``connections`` at once, each sending its next request when it has its answer; a list is cycled through.

    Requests begun in the first ``warm_up`` seconds are not counted; those without an answer ``timeout`` seconds after
    the end are faults. Raises ``Unavailable`` if nothing answers there, ``BadInput`` for an option that cannot be.
    """
    load = f"Closed loop, {connections:,} connection{'s' * (connections != 1)}"
    return _measure(load, request, None, connections, seconds, warm_up, timeout)


def open(
    request: Request | Sequence[Request],
    *,
    rate: float,
    seconds: float = 3.0,
    seed: int = 0,
    arrivals: Literal["poisson", "even"] = "poisson",
    connections: int = 1024,
    warm_up: float = 0.3,
    timeout: float = 10.0,
) -> Result:
    """Ask ``rate`` times a second on a schedule drawn from ``seed``, whatever comes back; a list is cycled through.

    Connections are opened as needed, up to ``connections``; waiting for one counts as latency. The rest is as in
    ``closed``.
    """
    if not rate > 0 or arrivals not in ("poisson", "even"):
        raise BadInput(f"rate must be above 0 and arrivals 'poisson' or 'even'; got {rate} and {arrivals!r}.")
    total, random = warm_up + seconds, np.random.default_rng(seed)
    if arrivals == "even":
        schedule = np.arange(0, total, 1 / rate)
    else:
        schedule = np.sort(random.uniform(0, total, random.poisson(rate * total)))
    load = f"Open loop, {rate:,g} requests/s"
    return _measure(load, request, schedule, connections, seconds, warm_up, timeout)


def curve(
    request: Request | Sequence[Request],
    *,
    connections: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    rates: Sequence[float] | None = None,
    seconds: float = 2.0,
    **options: Any,
) -> Curve:
    """Measure a closed loop for each of ``connections``, or an open one for each of ``rates``, for ``seconds`` each."""
    results = []
    loads = connections if rates is None else rates
    with progress("Measuring", f"Measured {len(loads)} loads for {seconds:g} s each.", total=len(loads)) as bar:
        for load in loads:
            if rates is None:
                results.append(closed(request, connections=cast(int, load), seconds=seconds, **options))
            else:
                results.append(open(request, rate=load, seconds=seconds, **options))
            bar.advance(f"{results[-1].rate:,.0f} answers/s")
    return Curve(results)


def _measure(
    load: str,
    request: Request | Sequence[Request],
    schedule: NDArray[np.float64] | None,
    connections: int,
    seconds: float,
    warm_up: float,
    timeout: float,
) -> Result:
    requests = [request] if isinstance(request, Request) else list(request)
    places = {(item.host, item.port) for item in requests}
    if len(places) != 1:
        raise BadInput(f"Expected one request or a list of them, all to one host and port; got {len(requests)}.")
    if connections < 1 or not seconds > 0 or warm_up < 0 or timeout < 0:
        raise BadInput("connections and seconds must be above 0, warm_up and timeout not below it.")
    host, port = places.pop()
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            address = connection.getpeername()[:2]
    except OSError as error:
        raise Unavailable(
            f"Nothing answers at {host}:{port} ({error}): start the service, or check the URL."
        ) from error
    plan = Plan(
        address=address,
        requests=[(item.content, item.expect) for item in requests],
        connections=int(connections),  # NumPy's numbers cannot be sent
        schedule=None if schedule is None else schedule.tobytes(),
        seconds=float(seconds),
        warm_up=float(warm_up),
        timeout=float(timeout),
    )
    command = [sys.executable, "-P", load_client.__file__]  # -P: its neighbours must not stand in for Python's modules
    message = msgspec.msgpack.encode(plan)
    run = subprocess.run(command, input=message, capture_output=True, start_new_session=True)  # ends if interrupted
    if run.returncode != 0:
        raise AimaasError(f"The load generator's client failed:\n{run.stderr.decode(errors='replace')}")
    outcome = msgspec.msgpack.decode(run.stdout, type=Outcome)
    codes, faults = Counter(outcome.codes), Counter(outcome.faults)
    return Result(
        load=load,
        seconds=seconds,
        offered=(codes.total() + faults.total()) / seconds,
        rate=outcome.answers / seconds,
        codes=codes,
        faults=faults,
        starts=np.frombuffer(outcome.starts),
        latencies=np.frombuffer(outcome.latencies),
        refusals=np.frombuffer(outcome.refusals),
        mean_in_flight=outcome.mean_in_flight,
        busy=outcome.busy,
    )
