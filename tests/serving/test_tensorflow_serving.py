"""The protocol over a real socket: right answers to right requests, a helpful 4xx to wrong ones."""

import base64
import dataclasses
import http.client
import io
import json
import math
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keras
import numpy as np
import PIL.Image
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.protobuf import saved_model_pb2

from aimaas_helpers import serving
from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving import codecs
from aimaas_helpers.serving.protocols import tensorflow_serving
from aimaas_helpers.serving.repository import Model, Repository
from aimaas_helpers.serving.routing import route
from aimaas_helpers.serving.tensors import Tensor

IMAGES = np.random.default_rng(0).random((3, 28, 28), np.float32)
PAIR = {"signal": [[1.0, 2, 3], [4, 5, 6.5]], "tag": [[0, 1], [4, 2]]}

Post = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="session")
def post(service: serving.Service, http: requests.Session) -> Post:
    """Send a body (JSON unless bytes) to a model's predict; returns status and parsed answer."""

    def send(body: object, path: str = "digits", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = http.post(f"{service.url}/v1/models/{path}:predict", data=data, headers=headers)
        assert reply.headers["content-type"] == "application/json"
        return reply.status_code, reply.json()

    return send


@pytest.fixture(autouse=True)
def still_answers(post: Post, keras_models: dict[str, keras.Model]) -> Iterator[None]:
    """Whatever a test sent, the server lives on and answers correctly."""
    yield
    status, answer = post({"instances": IMAGES.tolist()})
    assert status == 200
    np.testing.assert_allclose(answer["predictions"], keras_models["digits"](IMAGES), rtol=1e-5, atol=1e-6)


def curl(*arguments: str) -> Any:
    run = subprocess.run(["curl", "--silent", "--noproxy", "*", *arguments], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_curl_as_the_rest_guide_writes_it(service: serving.Service, keras_models: dict[str, keras.Model]) -> None:
    answer = curl(
        "-d", json.dumps({"instances": IMAGES.tolist()}), "-X", "POST", f"{service.url}/v1/models/digits:predict"
    )
    assert list(answer) == ["predictions"]
    np.testing.assert_allclose(answer["predictions"], keras_models["digits"](IMAGES), rtol=1e-5, atol=1e-6)
    assert curl(f"{service.url}/v1/models/digits")["model_version_status"] == [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    one, every = (curl(f"{service.url}/v1/models/digits{path}") for path in ("/versions/1", ""))
    assert one["model_version_status"] == every["model_version_status"]


def test_metadata_is_the_saved_model_s(service: serving.Service, models: Path) -> None:
    answer = curl(f"{service.url}/v1/models/pair/versions/1/metadata")
    assert answer == curl(f"{service.url}/v1/models/pair/metadata")
    assert answer["model_spec"] == {"name": "pair", "signature_name": "", "version": "1"}
    assert answer["metadata"]["model_card"]["name"] == "pair"
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["tag"] == {
        "dtype": "DT_INT32",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}], "unknown_rank": False},
        "name": "serving_default_tag:0",
    }
    saved = saved_model_pb2.SavedModel.FromString((models / "pair" / "1" / "saved_model.pb").read_bytes())
    written = saved.meta_graphs[0].signature_def["serving_default"]
    assert signature["method_name"] == written.method_name
    for side in ("inputs", "outputs"):
        tensors = getattr(written, side)
        assert signature[side].keys() == set(tensors)
        for name, info in signature[side].items():
            assert info["name"] == tensors[name].name
            sizes = [str(size.size) for size in tensors[name].tensor_shape.dim]
            assert [size["size"] for size in info["tensor_shape"]["dim"]] == sizes


def test_rows_and_columns_of_one_input(post: Post) -> None:
    images = IMAGES.tolist()
    _, rows = post({"instances": images})
    assert post({"instances": [{"image": image} for image in images]}) == (200, rows)
    for inputs in (images, {"image": images}):
        assert post({"inputs": inputs}) == (200, {"outputs": rows["predictions"]})
    assert post({"instances": images}, "digits/versions/1") == (200, rows)
    assert post({"signature_name": "serving_default", "unknown": [1], "instances": images}) == (200, rows)


def test_rows_and_columns_of_two_inputs(post: Post, keras_models: dict[str, keras.Model]) -> None:
    signal, tag = np.float32(PAIR["signal"]), np.int32(PAIR["tag"])
    scores, price = (np.asarray(output) for output in keras_models["pair"]([signal, tag]))
    status, columns = post({"inputs": PAIR}, "pair")
    assert status == 200 and columns["outputs"].keys() == {"scores", "price"}
    np.testing.assert_allclose(columns["outputs"]["scores"], scores, rtol=1e-5)
    np.testing.assert_allclose(columns["outputs"]["price"], price, rtol=1e-5)
    rows = [{"signal": s, "tag": t} for s, t in zip(PAIR["signal"], PAIR["tag"], strict=True)]
    _, answer = post({"instances": rows}, "pair")
    assert answer["predictions"] == [
        {"scores": s, "price": p}
        for s, p in zip(columns["outputs"]["scores"], columns["outputs"]["price"], strict=True)
    ]


def image(shape: tuple[int, ...] = (28, 28), **changes: Any) -> list[Any]:
    """A blank image; ``r3c5="x"`` puts something in row 3, column 5."""
    pixels: list[Any] = np.zeros(shape).tolist()
    for place, value in changes.items():
        row, column = map(int, place[1:].split("c"))
        pixels[row][column] = value
    return pixels


BAD = {
    "no body": (b"", "its body is empty); expected an object with"),
    "not JSON": (b"{'instances'}", "cannot be read (JSON is malformed"),
    "not UTF-8": (b'{"instances": ["\xff"]}', "cannot be read"),
    "not an object": ([1], "Expected `object`, got `array`); expected an object"),
    "neither": ({}, 'The request has neither "instances" nor "inputs"'),
    "both": ({"instances": [1], "inputs": [1]}, 'The request has both "instances" and "inputs"'),
    "signature": ({"signature_name": "other", "instances": [1]}, "has the signature 'serving_default', not 'other'"),
    "signature type": (
        {"signature_name": None, "instances": [1]},
        "Expected `str`, got `null` - at `$.signature_name`",
    ),
    "instances no list": ({"instances": 1.0}, "must be a list of rows"),
    "no rows": ({"instances": []}, "expected at least one row"),
    "no rows in columns": ({"inputs": []}, "has shape (batch, 28, 28); this request sent (0,)"),
    "shape": (
        {"instances": [image((27, 28))] * 2},
        "The input 'image' of model 'digits' has shape (batch, 28, 28); this request sent (2, 27, 28).",
    ),
    "rank": ({"instances": [[0.0] * 784]}, "has shape (batch, 28, 28); this request sent (1, 784)."),
    "a number": ({"inputs": 1.0}, "has shape (batch, 28, 28); this request sent ()."),
    "text": (
        {"instances": [image(), image(r3c5="7")]},
        "has the text '7' at row 1, position [1][3][5]; expected numbers",
    ),
    "null": ({"instances": [image(r27c27=None)]}, "has null at row 0, position [0][27][27]"),
    "boolean": ({"instances": [image(r0c1=True)]}, "has true at row 0, position [0][0][1]"),
    "object": ({"instances": [image(r0c1={})]}, "has an object at row 0, position [0][0][1]"),
    "NaN": ({"instances": [image(r0c0=math.nan)]}, "where every number is finite"),
    "infinity": ({"instances": [image(r0c0=math.inf)]}, "where every number is finite"),
    "huge number": ({"instances": [image(r2c0=1e39)]}, "the number 1e+39 at row 0, position [0][2][0]"),
    "huge integer": ({"instances": [image(r2c0=10**400)]}, "the number 1000"),
    "1e999": (json.dumps({"instances": [image(r2c0=0.5)]}).encode().replace(b"0.5", b"1e999"), "Number out of range"),
    "answer not finite": (
        {"instances": [image(), np.full((28, 28), 3e38).tolist()]},
        "computed an output 'probabilities' that is not finite for row 1",
    ),
    "ragged rows": (
        {"instances": [image(), image((27, 28))]},
        "a list of 27 where others before it have lists of 28 at row 1",
    ),
    "ragged inside": ({"instances": [[[0.0] * 28] * 27 + [[0.0]]]}, "lists of 28 at row 0, position [0][27]"),
    "deeper": ({"instances": [image(r0c1=[1])]}, "a list of 1 where others before it have single values"),
    "shallower": ({"instances": [[[0.0] * 28] * 27 + [0.0]]}, "the number 0.0 where others before it have lists of 28"),
    "b64 row": ({"instances": [{"b64": "aGk="}]}, "which is for binary inputs"),
    "b64 column": ({"inputs": {"b64": "aGk="}}, "which is for binary inputs"),
    "unknown input": ({"inputs": {"picture": [image()]}}, "has the inputs 'image'; this request sent 'picture'"),
    "unknown in row": ({"instances": [{"image": image()}, {"x": 1}]}, 'Row 1 of "instances" does not fit'),
    "mixed rows": ({"instances": [{"image": image()}, image()]}, "must be an object, as the first is"),
    "deep": (b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "deep, never closed": (b'{"x": ' + b'{"a":' * 100_000, "nested too deeply"),
    "200 deep": (b'{"instances": ' + b"[" * 200 + b"]" * 200 + b"}", "nested 200 lists deep"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_get_400_and_a_sentence(post: Post, case: str) -> None:
    body, sentence = BAD[case]
    status, answer = post(body)
    assert (status, list(answer)) == (400, ["error"])
    assert sentence in answer["error"]


PAIR_BAD = {
    "fraction": (
        {"inputs": PAIR | {"tag": [[0, 1], [4, 2.5]]}},
        "the number 2.5 at row 1, position [1][1]; expected whole",
    ),
    "too large": ({"inputs": PAIR | {"tag": [[0, 1], [4, 2**31]]}}, "the number 2147483648 at row 1"),
    "outside the vocabulary": ({"inputs": PAIR | {"tag": [[0, 1], [4, 99]]}}, "cannot compute with these values"),
    "rows differ": ({"inputs": PAIR | {"tag": [[0, 1]]}}, "equally many rows; this request sent 'signal' 2, 'tag' 1"),
    "missing": ({"inputs": {"tag": [[0, 1]]}}, "has the inputs 'signal' and 'tag'; this request sent 'tag'"),
    "plain rows": ({"instances": [[1, 2, 3]]}, "must be an object with 'signal' and 'tag'"),
    "plain column": ({"inputs": [[1, 2, 3]]}, "must be an object with 'signal' and 'tag'"),
}


@pytest.mark.parametrize("case", PAIR_BAD)
def test_bad_requests_to_two_inputs(post: Post, case: str) -> None:
    body, sentence = PAIR_BAD[case]
    status, answer = post(body, "pair")
    assert (status, list(answer)) == (400, ["error"])
    assert sentence in answer["error"]
    assert post({"inputs": PAIR}, "pair")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        (
            "POST",
            "/v1/models/nobody:predict",
            404,
            "There is no model 'nobody'; served here: 'digits', 'pair', 'pictures', 'slow', 'texts' and 'words'.",
        ),
        ("GET", "/v1/models/nobody", 404, "There is no model 'nobody'"),
        ("GET", "/v1/models/nobody/metadata", 404, "There is no model 'nobody'"),
        ("POST", "/v1/models/digits/versions/7:predict", 404, "Model 'digits' has no version 7; it has 1."),
        ("GET", "/v1/models/digits/versions/7", 404, "Model 'digits' has no version 7; it has 1."),
        ("GET", f"/v1/models/digits/versions/{'9' * 5000}", 404, "There is nothing at"),
        ("GET", "/v1/models/digits/versions/one", 404, "There is nothing at"),
        ("POST", "/v1/models/digits:regress", 404, "There is nothing at /v1/models/digits:regress"),
        ("GET", "/v1/models/digits/", 404, "There is nothing at"),
        ("GET", "/v1/models/digits:predict", 405, "/v1/models/digits:predict does not take GET; it takes POST."),
        ("POST", "/v1/models/digits", 405, "does not take POST"),
        ("DELETE", "/", 405, "does not take DELETE"),
    ],
)
def test_wrong_addresses(
    service: serving.Service, http: requests.Session, method: str, path: str, status: int, sentence: str
) -> None:
    reply = http.request(method, service.url + path, data=b"{}")
    assert reply.status_code == status
    assert sentence in reply.json()["error"]


def test_health_and_the_front_page(service: serving.Service, http: requests.Session) -> None:
    for probe in ("live", "ready"):
        assert http.get(f"{service.url}/v2/health/{probe}").json() == {"live": True, "ready": True}
    front = http.get(service.url).json()
    assert front["models"]["digits"]["versions"] == [1] and list(front["models"]) == sorted(front["models"])


@pytest.mark.parametrize("chunked", [False, True], ids=["announced length", "chunked"])
@pytest.mark.parametrize("size", [17, 33], ids=["a little too large", "twice too large"])
def test_a_body_too_large_gets_413(service: serving.Service, chunked: bool, size: int) -> None:
    piece = b" " * 2**20
    body: Any = (piece for _ in range(size)) if chunked else piece * size
    reply = requests.post(f"{service.url}/v1/models/digits:predict", data=body)
    assert reply.status_code == 413
    assert "larger than 16 MiB" in reply.json()["error"]


def test_a_body_just_small_enough_is_read(post: Post) -> None:
    body = json.dumps({"instances": IMAGES.tolist()}).encode()
    assert post(body.ljust(16 * 2**20))[0] == 200


def test_a_client_that_leaves_midway_harms_nobody(service: serving.Service) -> None:
    address = urlsplit(service.url)
    for _ in range(20):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    time.sleep(0.5)  # nothing tells when the server has noticed
    assert "Traceback" not in service.log(500)


def test_health_answers_while_a_model_computes(service: serving.Service, post: Post) -> None:
    finished = threading.Event()
    outcome: list[float] = []

    def compute() -> None:
        begun = time.perf_counter()
        reply = requests.post(
            f"{service.url}/v1/models/slow:predict", json={"instances": np.zeros((3, 8, 8, 1)).tolist()}
        )
        outcome.extend([reply.status_code, time.perf_counter() - begun])
        finished.set()

    worker = threading.Thread(target=compute)
    worker.start()
    waits = []
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc)
    while not finished.is_set():
        begun = time.perf_counter()
        connection.request("GET", "/v2/health/live")
        connection.getresponse().read()
        waits.append(time.perf_counter() - begun)
        time.sleep(0.01)
    worker.join()
    connection.close()
    status, seconds = outcome
    assert status == 200 and seconds > 0.3, "the slow model is not slow"
    assert max(waits) < seconds / 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["signal", "tag", "b64", "instances"]) | st.text(max_size=3), inner, max_size=3
        )
    ),
    max_leaves=12,
)
json_requests = json_values | st.fixed_dictionaries(
    {}, optional={"instances": json_values, "inputs": json_values, "signature_name": json_values}
)


@settings(max_examples=300, deadline=None)
@given(body=json_requests, model=st.sampled_from(["digits", "pair"]))
def test_no_json_makes_the_server_fail(service: serving.Service, http: requests.Session, body: Any, model: str) -> None:
    reply = http.post(f"{service.url}/v1/models/{model}:predict", data=json.dumps(body).encode())
    assert reply.status_code == 400
    assert reply.json()["error"].endswith(".")


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=60))
def test_no_bytes_make_the_server_fail(service: serving.Service, http: requests.Session, body: bytes) -> None:
    reply = http.post(f"{service.url}/v1/models/digits:predict", data=body)
    assert reply.status_code == 400
    assert reply.json()["error"].endswith(".")


rows = st.fixed_dictionaries(
    {
        "signal": st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3),
        "tag": st.lists(st.integers(0, 4), min_size=2, max_size=2),
    }
)


@settings(max_examples=50, deadline=None)
@given(batch=st.lists(rows, min_size=1, max_size=6))
def test_rows_agree_with_columns_and_with_each_row_alone(post: Post, batch: list[dict[str, Any]]) -> None:
    _, together = post({"instances": batch}, "pair")
    columns = {name: [row[name] for row in batch] for name in ("signal", "tag")}
    _, by_column = post({"inputs": columns}, "pair")
    alone = [post({"instances": [row]}, "pair")[1]["predictions"][0] for row in batch]
    for name in ("scores", "price"):
        values = [row[name] for row in together["predictions"]]
        assert values == by_column["outputs"][name]
        np.testing.assert_allclose(values, [row[name] for row in alone], rtol=1e-4, atol=1e-4)


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray((pixels * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_pictures_as_b64(post: Post, keras_models: dict[str, keras.Model]) -> None:
    files = [png(image) for image in IMAGES]
    values = [b64(file) for file in files]
    expected = keras_models["pictures"](codecs.Image(28, 28).rows(files))
    status, answer = post({"instances": values}, "pictures")
    assert status == 200
    np.testing.assert_allclose(answer["predictions"], expected, rtol=1e-5, atol=1e-6)
    assert post({"instances": [{"image": value} for value in values]}, "pictures") == (200, answer)
    for inputs in (values, {"image": values}):
        assert post({"inputs": inputs}, "pictures") == (200, {"outputs": answer["predictions"]})
    for inputs in (values[0], {"image": values[0]}):
        _, one = post({"inputs": inputs}, "pictures")
        np.testing.assert_allclose(one["outputs"], expected[:1], rtol=1e-5, atol=1e-6)


def test_texts_and_their_bytes(post: Post, keras_models: dict[str, keras.Model]) -> None:
    texts = ["now", "héllo wörld 你好", "", 'a "quoted" text']
    expected = keras_models["texts"](codecs.Utf8(8).rows([text.encode() for text in texts]))
    status, answer = post({"instances": texts}, "texts")
    assert status == 200
    np.testing.assert_allclose(answer["predictions"], expected, rtol=1e-4, atol=1e-5)
    assert post({"instances": [b64(text.encode()) for text in texts]}, "texts") == (200, answer)
    assert post({"instances": [{"words": text} for text in texts]}, "texts") == (200, answer)
    assert post({"inputs": {"words": texts}}, "texts") == (200, {"outputs": answer["predictions"]})
    assert len(post({"inputs": "now"}, "texts")[1]["outputs"]) == 1


CODEC_BAD = {
    "no picture": ({"instances": [b64(png(IMAGES[0])), b64(b"hello")]}, "Row 1 is not a picture"),
    "cut short": ({"instances": [b64(png(IMAGES[0])[:-40])]}, "Row 0 is damaged or cut short"),
    "a text for a picture": ({"instances": ["hello"]}, "Row 0 is not a picture"),
    "base64": ({"instances": [{"b64": "?"}]}, "cannot be read (Invalid base64 encoded string"),
    "beside b64": ({"instances": [{"b64": "aGk=", "x": 1}]}, "unknown field `x`"),
    "a number": ({"instances": ["a", 1]}, "has the number 1 in row 1; expected texts"),
    "null": ({"inputs": None}, "has null in row 0"),
    "pixels": ({"instances": IMAGES.tolist()}, "has a list in row 0"),
    "no rows": ({"instances": []}, "expected at least one row"),
    "no rows in columns": ({"inputs": {"image": []}}, "has shape (batch,); this request sent (0,)"),
    "deep": (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
}


@pytest.mark.parametrize("case", CODEC_BAD)
def test_bad_requests_to_a_model_that_takes_bytes(post: Post, case: str) -> None:
    body, sentence = CODEC_BAD[case]
    status, answer = post(body, "pictures")
    assert (status, list(answer)) == (400, ["error"])
    assert sentence in answer["error"]


def test_metadata_of_bytes(service: serving.Service) -> None:
    answer = curl(f"{service.url}/v1/models/pictures/metadata")["metadata"]
    image = answer["signature_def"]["signature_def"]["serving_default"]["inputs"]["image"]
    assert image["dtype"] == "DT_STRING" and image["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    assert answer["model_card"]["codecs"]["image"]["type"] == "image"


@pytest.fixture(scope="module")
def versions(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A served model that gives 10 numbers in version 1, 3 in version 2, and is broken in version 3."""
    folder = tmp_path_factory.mktemp("versions") / "model"
    for version, model in enumerate(("digits", "texts", "digits"), 1):
        shutil.copytree(models / model / "1", folder / str(version))
    (folder / "3" / "model.tflite").write_bytes(b"")
    route(folder, labels={"stable": 1, "broken": 3})
    with serving.local(folder, poll=0.05) as service:
        yield folder, f"{service.url}/v1/models/model"


def test_versions_labels_and_why_one_is_refused(versions: tuple[Path, str], http: requests.Session) -> None:
    _, url = versions

    def width(path: str) -> Any:
        body = {"instances": IMAGES[:1].tolist()} if "1" in path or "stable" in path else {"instances": ["now"]}
        reply = http.post(f"{url}{path}:predict", json=body)
        return len(reply.json()["predictions"][0]) if reply.ok else (reply.status_code, reply.json()["error"])

    assert width("") == width("/versions/2") == 3
    assert width("/versions/1") == width("/labels/stable") == 10
    for path in ("/versions/3", "/labels/broken"):
        status, sentence = width(path)
        assert status == 404 and "Version 3 of model 'model' is not served: " in sentence and "cut short" in sentence
    assert width("/labels/none") == (404, "Model 'model' has no label 'none'; it has 'broken' and 'stable'.")
    refused, second, first = http.get(url).json()["model_version_status"]
    assert (refused["version"], refused["state"], refused["status"]["error_code"]) == ("3", "END", "DATA_LOSS")
    assert "changed or cut short" in refused["status"]["error_message"]
    for found, version in ((second, "2"), (first, "1")):
        ok = {"error_code": "OK", "error_message": ""}
        assert found == {"version": version, "state": "AVAILABLE", "status": ok}
    assert http.get(f"{url}/versions/3").json()["model_version_status"] == [refused]
    assert http.get(f"{url}/labels/stable").json()["model_version_status"] == [first]
    for path, version in (("", "2"), ("/versions/1", "1"), ("/labels/stable", "1")):
        assert http.get(f"{url}{path}/metadata").json()["model_spec"]["version"] == version
    assert http.get(f"{url}/labels/broken/metadata").status_code == 404


def test_a_rule_is_followed_while_serving(versions: tuple[Path, str], http: requests.Session) -> None:
    folder, url = versions

    def standing(version: str) -> None:
        until = time.monotonic() + 20
        while http.get(f"{url}/metadata").json()["model_spec"]["version"] != version:
            assert time.monotonic() < until

    route(folder, version=1, canary=2, weight=0.1)
    standing("1")
    replies = [http.post(f"{url}:predict", json={"instances": IMAGES[:1].tolist()}).status_code for _ in range(100)]
    assert replies == ([200] * 9 + [400]) * 10  # version 2 wants texts
    assert http.get(f"{url}/labels/stable").status_code == 404
    route(folder, labels={"stable": 1, "broken": 3})
    standing("2")


DTYPES = [
    "float16",
    "float32",
    "float64",
    "bool",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
]
leaves = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "-0",
        "-0.0",
        "1.0",
        "1.5",
        "1e2",
        "0.1",
        "5e-324",
        "3.4028235e38",
        "1E39",
        "1e999",
        "65504",
        "65520",
    ]
    + [str(2**bits - less) for bits in (7, 8, 15, 16, 31, 32, 63, 64) for less in (0, 1)]
    + ["-129", "-2147483649", "1" + "0" * 40, "1" + "0" * 400, "01", "NaN", "Infinity"]
    + ["true", "false", "null", '"1"', "{}", "[]", '{"b64": "AA=="}']
)


@st.composite
def nested(draw: st.DrawFn) -> str:
    """Lists, mostly regular, of mostly one kind of value."""
    usual = draw(leaves)
    shape = draw(st.lists(st.integers(0, 3), max_size=4))

    def text(sizes: list[int]) -> str:
        if draw(st.integers(0, 15)) == 0:
            return draw(leaves)
        if not sizes:
            return draw(leaves) if draw(st.integers(0, 5)) == 0 else usual
        return "[" + draw(st.sampled_from([",", " ,\n"])).join(text(sizes[1:]) for _ in range(sizes[0])) + "]"

    return text(shape)


bodies = st.one_of(
    st.tuples(nested()).map(lambda v: f'{{"instances":{v[0]}}}'),
    st.tuples(nested()).map(lambda v: f' {{ "instances" : {v[0]} }} '),
    st.tuples(nested(), nested()).map(lambda v: f'{{"instances":{v[0]},"instances":{v[1]}}}'),
    st.tuples(nested(), nested()).map(lambda v: f'{{"instances":{v[0]},"inputs":{v[1]}}}'),
    st.tuples(nested(), nested()).map(lambda v: f'{{"instances":{v[0]},"other":{v[1]}}}'),
    st.tuples(nested(), leaves).map(lambda v: f'{{"instances":{v[0]}}}{v[1]}'),
    st.tuples(nested(), leaves).map(lambda v: f'{{"signature_name":{v[1]},"instances":{v[0]}}}'),
)


@pytest.fixture(scope="module")
def model(models: Path) -> Model:
    return Repository(models / "digits").model("digits")


@settings(max_examples=500, deadline=None)
@given(body=bodies, dtype=st.sampled_from(DTYPES), rank=st.integers(1, 3))
def test_the_quick_way_reads_what_the_careful_way_reads(model: Model, body: str, dtype: str, rank: int) -> None:
    model = dataclasses.replace(model, inputs={"x": Tensor("x", dtype, (None,) * rank)})

    def outcome(read: Callable[[Model, bytes], Any]) -> Any:
        try:
            question = read(model, body.encode())
        except BadInput as error:
            return str(error)
        array = question.inputs["x"]
        assert array.dtype == dtype and np.isfinite(array).all()
        return question.by_row, array.shape, array.tobytes()

    quick = outcome(tensorflow_serving.decode)
    assert quick == outcome(tensorflow_serving._decode_carefully)
    if not isinstance(quick, str) and body.count("instances") == 1:
        sent = np.array(json.loads(body)["instances"], dtype)
        assert sent.shape == quick[1]
        if sent.ndim == rank:
            assert sent.tobytes() == quick[2]


@settings(max_examples=200, deadline=None)
@given(
    sent=st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(max_dims=3, max_side=4),
            elements=arrays.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False),
        )
    )
)
def test_every_number_is_read_exactly(model: Model, sent: np.ndarray[Any, Any]) -> None:
    model = dataclasses.replace(model, inputs={"x": Tensor("x", sent.dtype.name, (None,) * sent.ndim)})
    body = json.dumps({"instances": sent.tolist()}).encode()
    for read in (tensorflow_serving.decode, tensorflow_serving._decode_carefully):
        array = read(model, body).inputs["x"]
        assert array.dtype == sent.dtype and array.shape == sent.shape and array.tobytes() == sent.tobytes()


@pytest.mark.parametrize(("dtype", "number"), [("float16", "65520"), ("float32", "1e39"), ("float64", "1e999")])
@pytest.mark.parametrize("read", [tensorflow_serving.decode, tensorflow_serving._decode_carefully])
def test_no_number_becomes_infinite(model: Model, dtype: str, number: str, read: Callable[..., Any]) -> None:
    model = dataclasses.replace(model, inputs={"x": Tensor("x", dtype, (None,))})
    with pytest.raises(BadInput):
        read(model, f'{{"instances": [0, {number}]}}'.encode())
