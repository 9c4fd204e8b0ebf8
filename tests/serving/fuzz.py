"""Requests that no client should send, in great numbers: ``python tests/serving/fuzz.py --cases 100000``.

Most are mutations of the examples in the OpenAPI document, sent over raw sockets; one in 50 is schemathesis's. Each
must be answered as documented, or its connection closed, in time; the server must go on answering rightly and must not
grow. A case is made from the seed and its number alone: ``--only NUMBER`` sends it again.
"""

import argparse
import collections
import contextlib
import copy
import gzip
import itertools
import json
import re
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import psutil
import requests

from aimaas_helpers import serving
from aimaas_helpers.serving import codecs
from aimaas_helpers.serving.routing import route

PATIENCE = 10.0  # seconds, twice the server's deadline
LIMITS: dict[str, Any] = {"deadline": 5.0, "body_timeout": 2.0, "max_body": 2**20, "access_log": False}
GROWTH = 64 * 2**20  # bytes that the server may take more after the first tenth of the cases
TYPES = {"FP32": "f", "INT32": "i"}

ODD = [
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**64, 10**40, 0.5, -0.0, 1e-320, 1e308, 1e39),
    *(float("nan"), float("inf"), "", "\0", "é", "\ud800", "b64", "A" * 3000, "-1", "BYTES", "FP32", "INT64"),
    *([], {}, [[]], [None], {"b64": ""}, {"b64": "?"}, {"b64": "AAAA"}, {"b64": "AAAA", "x": 1}, [1, "a"]),
]
TOKENS = [
    *(b"NaN", b"-Infinity", b"1e999", b"-1e-999", b"0x10", b"01", b"1.", b"9" * 400, b"[" * 5000, b'{"":' * 3000),
    *(b"\\", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"', b"}", b"]", b",", b"null", b"\\ud800"),
]
LENGTHS = [b"", b"-1", b"+5", b"0x10", b"5 5", b"5, 5", b"1e3", b"9" * 30, b"\xb2", b"0", b"1", b"999999"]
CHUNKS = [
    b"zz\r\n",
    b"-1\r\n",
    b"f" * 40 + b"\r\n",
    b"5\r\nab\r\n",
    b"0\r\n\r\n",
    b"0;a=b\r\nx: y\r\n\r\n",
    b"3\r\nabc0\r\n",
]
PATHS = ["/", "//", "/v1/models/", "/v1/models/%00:predict", "/v2/models/../infer", "/%ff", "/v1/models/é:predict", "*"]
PATHS += [
    "http://elsewhere/v2",
    "/v1/models/pair/versions/99999999999999999999:predict",
    "/" + "a" * 20_000,
    "/?%",
    "x",
]
METHODS = [
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "CONNECT",
    "post",
    "PROPFIND",
    "A" * 5000,
    "G\0T",
]
HEADERS = [
    *(b"X-Request-Timeout: nan", b"X-Request-Timeout: 1e-9", b"X-Request-Timeout: -1", b"X-Request-Timeout: 1e999"),
    *(b"X-Request-Id: \xff\x01", b"Host: [", b'Host: "><script>', b"Accept: text/html", b"Expect: 100-continue"),
    *(b"Content-Encoding: gzip", b"Authorization: Bearer \xff", b"Connection: upgrade\r\nUpgrade: websocket", b": x"),
    *(b"Content-Type: \xff", b"A" * 20_000 + b": x", b"No colon", b" folded", b"X: " + b"y" * 60_000),
]


def prepare(models: Path, folder: Path) -> Path:
    """Models of every kind, from exports of four: with text, labels, a canary and a refused version."""
    import keras
    from keras import layers

    for name in ("pair", "pictures", "texts", "words"):
        shutil.copytree(models / name, folder / name)
    describe(folder / "texts" / "1", capabilities=["embeddings"])
    describe(folder / "pair" / "1", notes='<script>alert("notes")</script>', task="<b>two</b> & more")
    for version in ("2", "3"):
        shutil.copytree(folder / "pair" / "1", folder / "pair" / version)
    (folder / "pair" / "3" / "model_card.json").write_text("{")
    route(folder / "pair", version=1, canary=2, weight=0.25, labels={"stable": 1, "next": 2})
    text = keras.Input((8,), dtype="int32", name="text")
    scores = layers.Dense(256, name="scores")(layers.Flatten()(layers.Embedding(256, 4)(text)))
    letters, utf8 = keras.Model(text, scores), codecs.Utf8(8)
    serving.export(letters, folder / "letters", codecs={"text": utf8}, capabilities=("completions", "chat"))
    return folder


def describe(version: Path, **fields: object) -> None:
    """Change a model card."""
    file = version / "model_card.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | fields))


@dataclass(frozen=True)
class Example:
    """A request that works, from the OpenAPI document, and how it may be answered."""

    path: str
    body: Any
    answers: dict[int, jsonschema_rs.Validator | None]  # by status


@dataclass(frozen=True)
class Case:
    """One request; ``answers`` if it is one that the document knows, ``body`` if it may be made smaller."""

    kind: str
    head: bytes
    body: bytes = b""
    answers: dict[int, jsonschema_rs.Validator | None] | None = None
    count: int = 1  # of answers to expect

    @property
    def payload(self) -> bytes:
        return self.head.replace(b"LENGTH", b"%d" % len(self.body)) + self.body


def examples(document: dict[str, Any]) -> list[Example]:
    """Every body that the document gives as an example, at every version and label."""
    found = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            schema = operation["responses"]["200"]["content"].get("application/json", {}).get("schema", {})
            valid = jsonschema_rs.validator_for({**schema, "components": document["components"]})
            answers = {int(code): valid if code == "200" else None for code in operation["responses"]}
            places = {p["name"]: p["schema"]["enum"] for p in operation["parameters"] if p["in"] == "path"}
            for values in itertools.product(*places.values()):
                filled = path.format(**dict(zip(places, values, strict=True)))
                for example in content.get("examples", {}).values():
                    brief = {"max_tokens": 2, "temperature": 0} if "completions" in path else {}
                    found.append(Example(filled, {**example["value"], **brief}, answers))
    return found


class Cases:
    """Case after case; the same number is always the same request."""

    def __init__(self, examples: list[Example], seed: int) -> None:
        self._examples = examples
        self._infer = [example for example in examples if example.path.endswith("/infer")]
        self._seed = seed

    def __getitem__(self, number: int) -> Case:
        random = Random(f"{self._seed}-{number}")
        kinds = [self._tree, self._text, self._binary, self._message]
        (make,) = random.choices(kinds, weights=[45, 20, 20, 15])
        return make(random)

    def _tree(self, random: Random) -> Case:
        example = random.choice(self._examples)
        text = json.dumps(mutate(example.body, random), ensure_ascii=random.random() < 0.9)
        return post("json", example, text.encode(errors="surrogatepass"))

    def _text(self, random: Random) -> Case:
        example = random.choice(self._examples)
        return post("text", example, mangle(json.dumps(example.body).encode(), random), *odd_headers(random))

    def _binary(self, random: Random) -> Case:
        example = random.choice(self._infer)
        question, data = to_binary(example.body)
        if random.random() < 0.5:
            question = mutate(question, random)
        if random.random() < 0.5:
            data = mangle(data, random)
        text = json.dumps(question).encode()
        length: object = len(text)
        if random.random() < 0.3:
            length = random.choice([0, len(text) - 1, len(text) + 1, len(text) + len(data) + 1, -1, "abc", 10**20, ""])
        return post("binary", example, text + data, f"Inference-Header-Content-Length: {length}".encode())

    def _message(self, random: Random) -> Case:
        """HTTP itself."""
        example = random.choice(self._examples)
        body = json.dumps(example.body).encode()
        whole = post("http", example, body).payload
        choice = random.randrange(7)
        if choice == 0:
            lengths = [
                b"Content-Length: " + random.choice([*LENGTHS, b"%d" % len(body)]) for _ in range(random.choice([1, 2]))
            ]
            return Case("http", head("POST", example.path, *lengths), body)
        if choice == 1:
            lines = [
                b"Transfer-Encoding: " + random.choice([b"chunked", b"chunked", b"gzip, chunked", b"x", b"\x0bchunked"])
            ]
            lines += [b"Content-Length: 5"] * (random.random() < 0.3)
            parts = [b"%x\r\n%s\r\n" % (len(body), body), *random.choices(CHUNKS, k=random.randrange(4))]
            return Case("http", head("POST", example.path, *lines), b"".join(random.sample(parts, len(parts))))
        if choice == 2:
            count = random.randrange(2, 6)
            return Case("http", whole * count, answers=example.answers, count=count)
        if choice == 3:
            return Case("http", whole[: random.randrange(1, len(whole))])
        if choice == 4:
            path = random.choice([*PATHS, example.path, example.path + "?" + "a" * random.choice([1, 9000])])
            return Case("http", head(random.choice([*METHODS, "POST"]), path, b"Content-Length: LENGTH"), body)
        if choice == 5:
            lines = random.choices(HEADERS, k=random.choice([1, 2, 300]))
            return Case("http", head("POST", example.path, *lines, b"Content-Length: LENGTH"), body)
        return Case("http", mangle(whole, random))


def head(method: str, path: str, *lines: bytes) -> bytes:
    start = f"{method} {path} HTTP/1.1".encode()
    return b"\r\n".join([start, b"Host: fuzz", *lines, b"", b""])


def post(kind: str, example: Example, body: bytes, *lines: bytes) -> Case:
    return Case(kind, head("POST", example.path, b"Content-Length: LENGTH", *lines), body, example.answers)


def odd_headers(random: Random) -> list[bytes]:
    if random.random() < 0.9:
        return []
    return [random.choice([line for line in HEADERS[:5] if b"\xff" not in line] + [b"Content-Type: text/xml"])]


def to_binary(body: Any) -> tuple[Any, bytes]:
    """An inference request with its data behind its JSON."""
    inputs, data = [], b""
    for item in body["inputs"]:
        if item["datatype"] == "BYTES":
            values = [value.encode() if isinstance(value, str) else b"\x89PNG" for value in item["data"]]
            part = b"".join(struct.pack("<I", len(value)) + value for value in values)
        else:
            part = struct.pack(f"<{len(item['data'])}{TYPES[item['datatype']]}", *item["data"])
        data += part
        kept = {key: value for key, value in item.items() if key != "data"}
        inputs.append({**kept, "parameters": {"binary_data_size": len(part)}})
    return {"inputs": inputs, "parameters": {"binary_data_output": True}}, data


def mutate(value: Any, random: Random) -> Any:
    """A copy with one to three things wrong, or odd."""
    value = copy.deepcopy(value)
    for _ in range(random.choice([1, 1, 2, 3])):
        places: list[tuple[Any, Any]] = [([value], 0)]
        for holder, key in places:  # which grows meanwhile
            inner = holder[key]
            if isinstance(inner, dict | list) and len(places) < 300:
                places += [(inner, k) for k in (inner if isinstance(inner, dict) else range(len(inner)))]
        holder, key = random.choice(places)
        choice = random.randrange(7)
        if choice == 0 and len(places) > 1 and holder is not places[0][0]:
            del holder[key]
        elif choice == 1:
            for _ in range(random.choice([1, 2, 3, 30, 100])):
                holder[key] = [holder[key]]
        elif choice == 2 and isinstance(holder, list):
            holder += [holder[key]] * random.choice([1, 2, 100, 1000])
        elif choice == 3 and isinstance(holder, dict):
            holder[random.choice(["", key + "x", "b64", "inputs", "instances", "parameters", "\0"])] = holder.pop(key)
        elif choice == 4:
            other, where = random.choice(places)
            holder[key] = copy.deepcopy(other[where])
        else:
            holder[key] = copy.deepcopy(random.choice(ODD))
        value = places[0][0][0]
    return value


def mangle(data: bytes, random: Random) -> bytes:
    """Bytes with one to three things wrong."""
    for _ in range(random.choice([1, 1, 2, 3])):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice([1, 2, 10, 100]))
        choice = random.randrange(9)
        if choice == 0:
            data = data[:at]
        elif choice == 1:
            data = data[:at] + data[end:]
        elif choice == 2:
            data = data[:end] + data[at:]
        elif choice == 3:
            data = data[:at] + random.choice(TOKENS) + data[at:]
        elif choice == 4:
            data = data[:at] + random.choice(TOKENS) + data[end:]
        elif choice == 5:
            data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        elif choice == 6:
            data = random.choice([data.decode("latin-1").encode("utf-16"), gzip.compress(data), data + data, b""])
        elif choice == 7:
            data = data.replace(b"[", b"[" * random.choice([2, 40, 3000]), 1)
        else:
            data = data[:1] + b'"instances":[],"inputs":{},"model":1,' + data[1:]
    return data


class Failure(Exception):
    """The server did what it should not."""


class Wire:
    """One connection, kept as long as both sides like."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._address = (place.hostname, place.port)
        self._socket: socket.socket | None = None
        self._buffer = b""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def send(self, payload: bytes) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionError):  # closed while we were sending: there may be an answer all the same
            self._socket.sendall(payload)

    def answer(self) -> tuple[int, bytes, bytes] | None:
        """Status, head and body of the next answer; ``None`` if the connection is closed before. Raises ``Failure``."""
        try:
            while (end := self._buffer.find(b"\r\n\r\n")) < 0:
                if not self._more():
                    return None
            top, self._buffer = self._buffer[:end].lower(), self._buffer[end + 4 :]
            status = int(top[9:12])
            if status == 100:
                return self.answer()
            if length := re.search(rb"\r\ncontent-length: (\d+)", top):
                body = self._take(int(length[1]))
            elif b"transfer-encoding: chunked" in top:
                body = b"".join(iter(self._chunk, b""))
            else:
                while self._more():
                    pass
                body = self._buffer
        except TimeoutError:
            raise Failure(f"no answer and no end within {PATIENCE:g} seconds") from None
        except (EOFError, ConnectionError):
            return None
        if b"connection: close" in top:
            self.close()
        return status, top, body

    def reply(self, payload: bytes) -> tuple[int, bytes, bytes] | None:
        """The answer to a whole request; it is sent again if the connection had been closed while it was idle."""
        fresh = self._socket is None
        self.send(payload)
        found = self.answer()
        if found is None and not fresh:
            self.close()
            self.send(payload)
            found = self.answer()
        return found

    def first(self, payload: bytes) -> int | None:
        """The status that is answered to what may be no whole request, after which nothing more is sent."""
        self.close()
        self.send(payload)
        assert self._socket is not None
        try:
            self._socket.settimeout(0.01)
            while b"\r\n" not in self._buffer and self._more():
                pass
        except TimeoutError:
            self._socket.settimeout(PATIENCE)
            try:
                self._socket.shutdown(socket.SHUT_WR)
                while b"\r\n" not in self._buffer and self._more():
                    pass
            except TimeoutError:
                raise Failure(f"no answer and no end within {PATIENCE:g} seconds") from None
            except OSError:
                pass
        except OSError:
            pass
        found = re.match(rb"HTTP/1.1 (\d{3}) ", self._buffer)
        self.close()
        return int(found[1]) if found else None

    def _more(self) -> bool:
        assert self._socket is not None
        got = self._socket.recv(1 << 16)
        self._buffer += got
        if not got:
            self._socket.close()
            self._socket = None
        return bool(got)

    def _take(self, size: int) -> bytes:
        parts, missing = [self._buffer], size - len(self._buffer)
        while missing > 0:
            if self._socket is None or not (part := self._socket.recv(1 << 20)):
                raise EOFError
            parts.append(part)
            missing -= len(part)
        whole = b"".join(parts)
        self._buffer = whole[size:]
        return whole[:size]

    def _chunk(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not self._more():
                raise EOFError
        size, _, self._buffer = self._buffer.partition(b"\r\n")
        return self._take(int(size, 16) + 2)[:-2]


def check(wire: Wire, case: Case) -> int | None:
    """Send it; the status, or ``None`` if the connection was closed. Raises ``Failure``."""
    if case.answers is None:
        status = wire.first(case.payload)
        if status is not None and status >= 500 and status not in (503, 504):
            raise Failure(f"status {status}")
        return status
    for number in range(case.count):
        found = wire.reply(case.payload) if number == 0 else wire.answer()
        if found is None:
            raise Failure(f"answer {number + 1} of {case.count} did not come")
        status, top, body = found
        if status not in case.answers:
            raise Failure(f"status {status} is not documented: {body[:300]!r}")
        if case.count > 1 and status != 200:
            raise Failure(f"status {status} to a right request in a pipeline: {body[:300]!r}")
        _check_content(case.answers[status], status, top, body)
    return status


def _check_content(valid: jsonschema_rs.Validator | None, status: int, top: bytes, body: bytes) -> None:
    kind = re.search(rb"\r\ncontent-type: ([\w/-]+)", top)
    if kind is None or kind[1] not in (b"application/json", b"application/octet-stream", b"text/event-stream"):
        raise Failure(f"status {status} with content type {kind and kind[1]!r}")
    if kind[1] != b"application/json":
        if status != 200:
            raise Failure(f"status {status} with content type {kind[1]!r}")
        return
    if len(body) > 2**20:  # to look at it takes longer than to compute it
        return
    try:
        content = json.loads(body)
    except ValueError as error:
        raise Failure(f"status {status} and no JSON ({error}): {body[:300]!r}") from None
    if status != 200:
        error = content.get("error")
        if not (error["message"] if isinstance(error, dict) else error):
            raise Failure(f"status {status} and no reason: {body[:300]!r}")
    elif valid is not None and not valid.is_valid(content):
        raise Failure(f"an answer that is not as documented: {next(valid.iter_errors(content)).message[:300]}")


def shrink(wire: Wire, case: Case) -> Case:
    """The same failure from a smaller body, as far as leaving parts out leads."""
    size = len(case.body) // 2
    tries = 0
    while size and tries < 300:
        at = 0
        while at < len(case.body) and tries < 300:
            smaller = Case(case.kind, case.head, case.body[:at] + case.body[at + size :], case.answers, case.count)
            tries += 1
            try:
                check(wire, smaller)
                at += size
            except Failure:
                wire.close()
                case = smaller
        size //= 2
    return case


@dataclass
class Report:
    statuses: collections.Counter[tuple[str, int | None]] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    seconds: float = 0.0
    grown: int = 0


def run(url: str, process: psutil.Process, numbers: range, seed: int) -> Report:
    """Send these cases; every 1,000 the right requests must still have the answers that they had at first."""
    document = get(f"{url}/openapi.json")
    known = examples(document)
    cases, wire, report = Cases(known, seed), Wire(url), Report()
    certain = [e for e in known if re.search(r"/versions/\d+(:predict|/infer)$|embeddings$", e.path)]
    rights = [post("right", example, json.dumps(example.body).encode()) for example in certain]

    def answers() -> list[Any]:
        return [(wire.reply(right.payload) or (0, b"", b""))[::2] for right in rights]

    expected = answers()
    assert {status for status, _ in expected} == {200}, expected
    start, memory = time.monotonic(), 0
    for done, number in enumerate(numbers, 1):
        case, begun = cases[number], time.monotonic()
        try:
            report.statuses[case.kind, check(wire, case)] += 1
        except Failure as failure:
            wire.close()
            small = shrink(wire, case)
            report.failures.append(f"case {number} ({case.kind}): {failure}\n    {small.payload[:1500]!r}")
        report.slowest = max(report.slowest, time.monotonic() - begun)
        if done == max(1, len(numbers) // 10):
            memory = process.memory_info().rss
        if (done % 1000 == 0 or done == len(numbers)) and answers() != expected:
            report.failures.append(f"after case {number}: a right request has another answer than at first")
            break
        if done % 10_000 == 0:
            print(f"{done:,} of {len(numbers):,} cases, {len(report.failures)} failures", file=sys.stderr)
        if len(report.failures) >= 20:
            break
    report.grown = process.memory_info().rss - memory
    if report.grown > GROWTH:
        report.failures.append(f"the server took {report.grown / 2**20:.0f} MiB more")
    report.seconds = time.monotonic() - start
    wire.close()
    return report


def conform(url: str, cases: int, seed: int) -> Report:
    """About so many of schemathesis's requests, as many that fit the document as that do not."""
    import hypothesis
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    rules = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
    operations = [
        result.ok() for result in schemathesis.openapi.from_dict(get(f"{url}/openapi.json")).get_all_operations()
    ]
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    report, start = Report(), time.monotonic()
    with requests.Session() as session:
        session.trust_env = False
        for operation, mode in itertools.product(operations, modes):

            def send(case: Any) -> None:
                response = case.call(base_url=url, session=session, timeout=PATIENCE)
                report.statuses["schemathesis", response.status_code] += 1
                busy = response.status_code in (503, 504)
                case.validate_response(response, checks=rules if busy else [not_a_server_error, *rules])

            settings = hypothesis.settings(
                max_examples=max(1, cases // (len(modes) * len(operations))),
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            test: Callable[[], None] = hypothesis.given(operation.as_strategy(generation_mode=mode))(send)
            try:
                hypothesis.seed(seed)(settings(test))()
            except hypothesis.errors.Unsatisfiable:
                continue
            except (Exception, BaseExceptionGroup) as error:  # whatever schemathesis found
                report.failures.append(f"{operation.label}, {mode.value}: {error}"[:3000])
    report.seconds = time.monotonic() - start
    return report


def get(url: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=PATIENCE).json()


def server_of(service: serving.Service) -> psutil.Process:
    """The process behind a service, which is a child of this one."""
    return next(child for child in psutil.Process().children() if str(service.path) in child.cmdline())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--openapi-cases", type=int, help="of these, schemathesis's (default: one in 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of the one case to send")
    options = parser.parse_args()
    share = options.cases // 50 if options.openapi_cases is None else options.openapi_cases
    numbers = range(options.cases - share) if options.only is None else range(options.only, options.only + 1)
    sys.path.insert(0, str(Path(__file__).parent))
    import conftest

    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "exported"
        made = {"pair": conftest.pair_model(), "pictures": conftest.digits_model()}
        made |= {"texts": conftest.words_model(8, 256), "words": conftest.words_model(None, 50)}
        for name, model in made.items():
            serving.export(model, exported / name, codecs=conftest.CODECS.get(name))
        with serving.local(prepare(exported, Path(scratch) / "models"), **LIMITS) as service:
            reports = {"raw": run(service.url, server_of(service), numbers, options.seed)}
            if options.only is None:
                reports["schemathesis"] = conform(service.url, share, options.seed)
            alive = service.running
    for name, report in reports.items():
        count = sum(report.statuses.values()) + len(report.failures)
        print(f"{name}: {count:,} cases, seed {options.seed}, {count / report.seconds:,.0f} a second, ", end="")
        print(
            f"slowest {report.slowest:.2f} s, memory +{report.grown / 2**20:.1f} MiB, {len(report.failures)} failures"
        )
        for (kind, status), number in sorted(report.statuses.items(), key=str):
            print(f"  {kind:12} {status or 'closed'}  {number:>9,}")
        for failure in report.failures:
            print(f"  {failure}")
    return 0 if alive and not any(report.failures for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
