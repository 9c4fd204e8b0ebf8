"""The protocol over a real socket, to its stock clients and to requests that are wrong in every way."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keras
import kserve
import numpy as np
import pytest
import requests
import tritonclient.http as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from aimaas_helpers import serving
from aimaas_helpers.serving import codecs
from aimaas_helpers.serving.app import create_app
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.settings import Settings

IMAGES = np.random.default_rng(0).random((3, 28, 28), np.float32)
SIGNAL = np.float32([[1, 2, 3], [4, 5, 6.5]])
TAG = np.int32([[0, 1], [4, 2]])
TEXTS = ["well met", "", "好"]
TYPES = ["bool", "uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64", "float16", "float32", "float64"]
LENGTH = "Inference-Header-Content-Length"

Post = Callable[..., requests.Response]


def echo_model() -> keras.Model:
    """An input and an output of every type; what comes in goes out, in another shape."""
    inputs = [keras.Input((2,), dtype=kind, name=f"in_{kind}") for kind in TYPES]
    same = [layers.Reshape((2, 1), dtype=i.dtype, name=f"out_{i.dtype}")(i) for i in inputs]
    return keras.Model(inputs, same)


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open inference") / "models"
    for name in ("digits", "pair", "texts"):
        shutil.copytree(models / name, folder / name)
    serving.export(echo_model(), folder / "echo")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[serving.Service]:
    """Loads and unloads when it is told to."""
    with serving.local(folder, poll=0) as service:
        yield service


@pytest.fixture(scope="module")
def client(server: serving.Service) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(urlsplit(server.url).netloc) as client:
        yield client


@pytest.fixture(scope="module")
def post(server: serving.Service, http: requests.Session) -> Post:
    """Send JSON (an object, or bytes), then binary data; ``length`` is the header, which is right unless given."""

    def send(
        head: object, *data: bytes, to: str = "pair", length: str | None = None, **headers: str
    ) -> requests.Response:
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        if data or length is not None:
            headers[LENGTH] = str(len(text)) if length is None else length
        body = b"".join([text, *data])
        return http.post(f"{server.url}/v2/models/{to}/infer", data=body, headers=headers)

    return send


def tensor(name: str, array: np.ndarray, binary: bool = True) -> triton.InferInput:
    kind = np_to_triton_dtype(array.dtype)
    return triton.InferInput(name, list(array.shape), kind).set_data_from_numpy(array, binary_data=binary)


def wanted(*names: str, binary: bool = True) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


@pytest.mark.parametrize("binary_out", [True, False], ids=["binary answer", "JSON answer"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary", "JSON"])
@pytest.mark.parametrize("copies", [1, 100], ids=["small", "large"])
def test_triton_s_client(
    client: triton.InferenceServerClient,
    keras_models: dict[str, keras.Model],
    binary_in: bool,
    binary_out: bool,
    copies: int,
) -> None:
    images = np.concatenate([IMAGES * (i + 1) / copies for i in range(copies)])
    outputs = wanted("probabilities", binary=binary_out)
    answer = client.infer("digits", [tensor("image", images, binary_in)], outputs=outputs)
    assert ("parameters" in answer.get_output("probabilities")) == binary_out
    np.testing.assert_allclose(answer.as_numpy("probabilities"), keras_models["digits"](images), rtol=1e-4, atol=1e-6)


def test_data_at_every_alignment(client: triton.InferenceServerClient) -> None:
    answers = [client.infer("digits", [tensor("image", IMAGES)], request_id="i" * length) for length in range(1, 9)]
    assert [answer.get_response()["id"] for answer in answers] == ["i" * length for length in range(1, 9)]
    assert len({answer.as_numpy("probabilities").tobytes() for answer in answers}) == 1


@pytest.mark.parametrize("binary", [(True, True), (True, False), (False, True), (False, False)])
def test_several_inputs_and_outputs(
    client: triton.InferenceServerClient, keras_models: dict[str, keras.Model], binary: Sequence[bool]
) -> None:
    scores, price = (np.asarray(output) for output in keras_models["pair"]([SIGNAL, TAG]))
    inputs = [tensor("tag", TAG, binary[0]), tensor("signal", SIGNAL, binary[1])]  # in any order
    answer = client.infer("pair", inputs, model_version="1")
    np.testing.assert_allclose(answer.as_numpy("scores"), scores, rtol=1e-5)
    np.testing.assert_allclose(answer.as_numpy("price"), price, rtol=1e-5)
    response = answer.get_response()
    assert (response["model_name"], response["model_version"], "id" in response) == ("pair", "1", False)
    outputs = [*wanted("price", binary=binary[1]), *wanted("scores", binary=binary[0])]
    chosen = client.infer("pair", inputs, outputs=outputs)
    assert [output["name"] for output in chosen.get_response()["outputs"]] == ["price", "scores"]
    np.testing.assert_array_equal(chosen.as_numpy("scores"), answer.as_numpy("scores"))
    np.testing.assert_array_equal(chosen.as_numpy("price"), answer.as_numpy("price"))
    only = client.infer("pair", inputs, outputs=wanted("scores"))
    assert only.as_numpy("price") is None and only.as_numpy("scores").tolist() == answer.as_numpy("scores").tolist()


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(1, 3))
def test_every_type_comes_through_unchanged(
    client: triton.InferenceServerClient, data: st.DataObject, rows: int
) -> None:
    inputs, outputs, arrays = [], [], {}
    for kind in TYPES:
        binary_in, binary_out = (
            (True, True) if kind == "float16" else data.draw(st.tuples(st.booleans(), st.booleans()))
        )
        finite = {"allow_nan": False, "allow_infinity": False} if not (binary_in and binary_out) else {}
        elements = hnp.from_dtype(np.dtype(kind), **finite) if kind.startswith("float") else None
        array = data.draw(hnp.arrays(kind, (rows, 2), elements=elements))
        inputs.append(tensor(f"in_{kind}", array, binary_in))
        outputs += wanted(f"out_{kind}", binary=binary_out)
        arrays[kind] = array
    answer = client.infer("echo", inputs, outputs=outputs)
    for kind, array in arrays.items():
        echoed = answer.as_numpy(f"out_{kind}")
        assert echoed.dtype == array.dtype
        np.testing.assert_array_equal(echoed, array[:, :, np.newaxis])


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_values_of_bytes(
    client: triton.InferenceServerClient, keras_models: dict[str, keras.Model], binary: bool
) -> None:
    values = np.array([text.encode() for text in TEXTS], object)
    answer = client.infer("texts", [tensor("words", values, binary)])
    numbers = codecs.Utf8(8).rows([text.encode() for text in TEXTS])
    np.testing.assert_allclose(answer.as_numpy("topics"), keras_models["texts"](numbers), rtol=1e-5, atol=1e-7)


def test_what_the_server_and_its_models_are(client: triton.InferenceServerClient) -> None:
    server = client.get_server_metadata()
    assert server["name"] == "aimaas" and server["extensions"] == ["binary_tensor_data", "model_repository"]
    assert client.get_model_metadata("pair") == {
        "name": "pair",
        "versions": ["1"],
        "platform": "litert_tflite",
        "inputs": [
            {"name": "signal", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "tag", "datatype": "INT32", "shape": [-1, 2]},
        ],
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "price", "datatype": "FP32", "shape": [-1, 1]},
        ],
    }
    assert client.get_model_metadata("pair", "1") == client.get_model_metadata("pair")
    assert client.get_model_metadata("texts")["inputs"] == [{"name": "words", "datatype": "BYTES", "shape": [-1]}]
    for ask, sentence in [
        (lambda: client.get_model_metadata("nobody"), "There is no model 'nobody'"),
        (lambda: client.get_model_metadata("pair", "7"), "Model 'pair' has no version 7; it has 1."),
        (lambda: client.get_model_config("pair"), "There is nothing at /v2/models/pair/config"),
    ]:
        with pytest.raises(InferenceServerException, match=sentence) as caught:
            ask()
        assert caught.value.status() == "404"


def test_readiness(client: triton.InferenceServerClient, folder: Path) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("pair") and client.is_model_ready("pair", "1")
    assert not client.is_model_ready("pair", "7") and not client.is_model_ready("nobody")
    app = create_app(Repository(folder / "pair"), Settings(access_log=False))
    with TestClient(app) as probe:
        assert probe.get("/v2/health/ready").json() == {"live": True, "ready": True}
        app.state.plane.draining = True
        ready, live = probe.get("/v2/health/ready"), probe.get("/v2/health/live")
    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.json() == {"live": True, "ready": False}


def test_the_repository(client: triton.InferenceServerClient, server: serving.Service, folder: Path) -> None:
    def states() -> list[tuple[str, str, str]]:
        return [(item["name"], item["version"], item["state"]) for item in client.get_model_repository_index()]

    everything = [(name, "1", "READY") for name in ("digits", "echo", "pair", "texts")]
    assert states() == everything
    client.unload_model("pair")
    assert not client.is_model_ready("pair") and ("pair", "1", "READY") not in states()
    client.load_model("pair")
    assert client.is_model_ready("pair") and states() == everything
    with pytest.raises(InferenceServerException, match="send no parameters"):
        client.load_model("pair", config="{}")
    with pytest.raises(InferenceServerException, match="no model 'nobody'"):
        client.load_model("nobody")
    with pytest.raises(InferenceServerException, match="no model 'nobody'"):
        client.unload_model("nobody")
    shutil.copytree(folder / "pair" / "1", folder / "pair" / "2")
    (folder / "pair" / "2" / "model.tflite").write_bytes(b"TFL3, but no more")
    try:
        with pytest.raises(InferenceServerException, match="not the file that was exported") as caught:
            client.load_model("pair")
        assert caught.value.status() == "400"
        (broken,) = (item for item in client.get_model_repository_index() if item["version"] == "2")
        assert broken["state"] == "UNAVAILABLE" and "not the file that was exported" in broken["reason"]
        ready = requests.post(f"{server.url}/v2/repository/index", json={"ready": True}).json()
        assert [(item["name"], item["version"], item["state"]) for item in ready] == everything
        assert (
            client.infer("pair", [tensor("signal", SIGNAL), tensor("tag", TAG)]).get_response()["model_version"] == "1"
        )
    finally:
        shutil.rmtree(folder / "pair" / "2")
    client.load_model("pair")
    assert states() == everything


def test_a_timeout_in_microseconds(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="deadline") as caught:
        client.infer("digits", [tensor("image", IMAGES)], timeout=1)
    assert caught.value.status() == "504"
    assert client.infer("digits", [tensor("image", IMAGES)], timeout=10_000_000, priority=1, parameters={"mine": 1.5})


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_refused(client: triton.InferenceServerClient, algorithm: str) -> None:
    with pytest.raises(InferenceServerException, match="Compressed requests are not read here") as caught:
        client.infer("digits", [tensor("image", IMAGES)], request_compression_algorithm=algorithm)
    assert caught.value.status() == "415"
    assert client.infer("digits", [tensor("image", IMAGES)], response_compression_algorithm=algorithm)


def test_kserve_s_client(
    server: serving.Service, keras_models: dict[str, keras.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    scores, price = (np.asarray(output) for output in keras_models["pair"]([SIGNAL, TAG]))

    async def converse() -> None:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as client:
            assert await client.is_server_live(server.url) is True
            assert await client.is_server_ready(server.url) is True
            assert await client.is_model_ready(server.url, "pair") is True
            assert await client.is_model_ready(server.url, "nobody") is False
            for binary in (True, False):
                inputs = []
                for name, kind, array in (("signal", "FP32", SIGNAL), ("tag", "INT32", TAG)):
                    inputs.append(kserve.InferInput(name, list(array.shape), kind))
                    inputs[-1].set_data_from_numpy(array, binary_data=binary)
                request = kserve.InferRequest("pair", inputs, "an id", parameters={"binary_data_output": binary})
                answer = await client.infer(server.url, request, model_name="pair")
                assert (answer.id, answer.model_name) == ("an id", "pair")
                np.testing.assert_allclose(answer.get_output_by_name("scores").as_numpy(), scores, rtol=1e-5)
                np.testing.assert_allclose(answer.get_output_by_name("price").as_numpy(), price, rtol=1e-5)
            with pytest.raises(Exception, match="There is no model 'nobody'"):
                await client.infer(server.url, request, model_name="nobody")

    asyncio.run(converse())


def signal_input(**changes: Any) -> dict[str, Any]:
    return {"name": "signal", "shape": [2, 3], "datatype": "FP32", "data": SIGNAL.tolist(), **changes}


def tag_input(**changes: Any) -> dict[str, Any]:
    return {"name": "tag", "shape": [2, 2], "datatype": "INT32", "data": TAG.ravel().tolist(), **changes}


def binary_tag(size: int = 16, **changes: Any) -> dict[str, Any]:
    return {"name": "tag", "shape": [2, 2], "datatype": "INT32", "parameters": {"binary_data_size": size}, **changes}


def with_inputs(*inputs: object, **others: object) -> dict[str, Any]:
    return {"inputs": [signal_input(), *inputs], **others}


def test_answers_and_their_headers(post: Post) -> None:
    plain = post(with_inputs(tag_input(), id=""))
    assert plain.headers["Content-Type"] == "application/json" and LENGTH not in plain.headers
    answer = plain.json()
    assert answer["id"] == "" and [len(output["data"]) for output in answer["outputs"]] == [4, 2]
    binary = post(with_inputs(tag_input(), parameters={"binary_data_output": True}))
    assert binary.headers["Content-Type"] == "application/octet-stream"
    head = json.loads(binary.content[: int(binary.headers[LENGTH])])
    assert [output["parameters"]["binary_data_size"] for output in head["outputs"]] == [16, 8]
    assert len(binary.content) == int(binary.headers[LENGTH]) + 24
    mixed = {
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "scores", "parameters": {"binary_data": False}}],
    }
    assert post(with_inputs(tag_input(), **mixed)).json()["outputs"] == [answer["outputs"][0]]


def test_fields_that_are_null_or_unknown(post: Post) -> None:
    _, *expected = post(with_inputs(tag_input())).json().values()
    inputs = [signal_input(parameters=None), binary_tag(data=None, more={})]
    reply = post({"id": None, "parameters": None, "outputs": None, "inputs": inputs, "new": [1]}, TAG.tobytes())
    assert reply.status_code == 200 and list(reply.json().values())[1:] == expected


def test_binary_tensors_may_hold_what_json_may_not(post: Post) -> None:
    image = np.full((1, 28, 28), np.nan, np.float32)
    head: dict[str, Any] = {
        "inputs": [
            {"name": "image", "shape": [1, 28, 28], "datatype": "FP32", "parameters": {"binary_data_size": 3136}}
        ]
    }
    reply = post(head, image.tobytes(), to="digits")
    assert reply.status_code == 400 and "not finite, which JSON cannot carry; ask for binary" in reply.json()["error"]
    reply = post(head | {"parameters": {"binary_data_output": True}}, image.tobytes(), to="digits")
    assert np.isnan(np.frombuffer(reply.content[int(reply.headers[LENGTH]) :], np.float32)).all()


DATA = TAG.tobytes()
BAD: dict[str, tuple[str, Any]] = {
    "no body": ("it is empty", [b""]),
    "not JSON": ("JSON is malformed", [b"{'inputs'}"]),
    "not UTF-8": ("cannot be read", [b'{"id": "\xff", "inputs": []}']),
    "too deep": ("recursion", [b'{"x": ' + b"[" * 100_000]),
    "a list": ("Expected `object`, got `array`", [[1]]),
    "no inputs": ("missing required field `inputs`", [{}]),
    "empty inputs": ("has the inputs 'signal' and 'tag'; this request sent none", [{"inputs": []}]),
    "one input": ("this request sent 'signal'", [with_inputs()]),
    "unknown input": ("this request sent 'other' and 'signal'", [with_inputs(tag_input(name="other"))]),
    "input twice": ("named twice", [with_inputs(tag_input(), tag_input())]),
    "unknown output": (
        "has the outputs 'scores' and 'price', and no",
        [with_inputs(tag_input(), outputs=[{"name": "x"}])],
    ),
    "output twice": ("named twice", [with_inputs(tag_input(), outputs=[{"name": "price"}] * 2)]),
    "id": ("Expected `str | null`, got `int` - at `$.id`", [with_inputs(tag_input(), id=1)]),
    "timeout": ("Expected `int` >= 0", [with_inputs(tag_input(), parameters={"timeout": -1})]),
    "infinite timeout": ("`$.parameters.timeout`", [with_inputs(tag_input(), parameters={"timeout": 2**70})]),
    "datatype": ("has the datatype INT32; this request sent 'FP32'", [with_inputs(tag_input(datatype="FP32"))]),
    "no datatype": ("this request sent 'int32'", [with_inputs(tag_input(datatype="int32"))]),
    "negative size": ("Expected `int` >= 0 - at `$.inputs[1].shape[0]`", [with_inputs(tag_input(shape=[-1, 2]))]),
    "size of 2^63": ("Expected `int` <= 9223372036854775807", [with_inputs(tag_input(shape=[2**63, 2]))]),
    "rank": ("has shape (batch, 2); this request sent (4,)", [with_inputs(tag_input(shape=[4]))]),
    "many dimensions": ("Expected `array` of length <= 32", [with_inputs(tag_input(shape=[1] * 33))]),
    "no rows": ("this request sent (0, 2)", [with_inputs(tag_input(shape=[0, 2], data=[]))]),
    "no shape": ("missing required field `shape`", [with_inputs({"name": "tag", "datatype": "INT32", "data": []})]),
    "rows differ": ("equally many rows", [with_inputs(tag_input(shape=[1, 2], data=[1, 2]))]),
    "neither": ("one of them, not both", [with_inputs(tag_input(data=None))]),
    "both": ("one of them, not both", [with_inputs(binary_tag(data=[1])), DATA]),
    "shared memory": ("one of them", [with_inputs(binary_tag(parameters={"shared_memory_region": "x"}))]),
    "too few": ("is declared as (2, 2); its data are (3,)", [with_inputs(tag_input(data=[1, 2, 3]))]),
    "nested otherwise": ("is declared as (2, 2); its data are (1, 4)", [with_inputs(tag_input(data=[[1, 2, 3, 4]]))]),
    "ragged": ("where others before it have lists of 2", [with_inputs(tag_input(data=[[1, 2], [3]]))]),
    "absurd shape in JSON": ("its data are (4,)", [with_inputs(tag_input(shape=[2**62, 2]))]),
    "not whole": ("the number 1.5 at row 1", [with_inputs(tag_input(data=[1, 1.5, 1, 1]))]),
    "too large a number": ("the number 2147483648", [with_inputs(tag_input(data=[1, 2**31, 1, 1]))]),
    "outside the vocabulary": ("cannot compute with these values", [with_inputs(tag_input(data=[1, 99, 1, 1]))]),
    "NaN": ("JSON is malformed", [with_inputs(tag_input(), id="", x=float("nan"))]),
    "an object": ("which is for binary inputs", [with_inputs(tag_input(data={"b64": "aGk="}))]),
    "too few bytes": ("(2, 2) of INT32, 16 bytes; its binary data have 12", [with_inputs(binary_tag(12)), DATA[:12]]),
    "absurd shape": (f"{2**65} bytes; its binary", [with_inputs(binary_tag(shape=[2**62, 2])), DATA]),
    "negative binary size": ("Expected `int` >= 0", [with_inputs(binary_tag(-16)), DATA]),
    "absurd binary size": ("its binary data have 16", [with_inputs(binary_tag(2**62, shape=[2**59, 2])), DATA]),
    "cut short": ("its binary data have 15", [with_inputs(binary_tag()), DATA[:15]]),
    "bytes too many": ("add up to", [with_inputs(binary_tag()), DATA + b"\0"]),
    "bytes unannounced": ("add up to", [with_inputs(tag_input()), DATA]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_get_400_and_a_sentence(post: Post, case: str) -> None:
    sentence, parts = BAD[case]
    reply = post(*parts)
    assert (reply.status_code, list(reply.json())) == (400, ["error"])
    assert sentence in reply.json()["error"]


@pytest.mark.parametrize("length", ["-1", "1e3", "", "0x10", "9" * 30, "²", "1000000"])
def test_a_length_that_cannot_be(post: Post, length: str) -> None:
    reply = post(with_inputs(binary_tag()), DATA, length=length.encode())
    assert reply.status_code == 400
    assert "bytes are JSON, not" in reply.json()["error"]


@pytest.mark.parametrize("shift", [None, -1000, -1, 1], ids=["none", "zero", "too short", "too long"])
def test_a_length_that_is_wrong(post: Post, shift: int | None) -> None:
    head = json.dumps(with_inputs(binary_tag())).encode()
    reply = post(head + DATA, length=None if shift is None else str(max(0, len(head) + shift)))
    assert reply.status_code == 400 and "The request cannot be read" in reply.json()["error"]
    assert f"its length in the header {LENGTH} if binary data follow" in reply.json()["error"]


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (b"", [1]),
        (b"\1\0\0", [1]),
        (b"\2\0\0\0a", [1]),
        (b"\1\0\0\0ab", [1]),
        (b"\1\0\0\0a", [2]),
        (b"\1\0\0\0a\1\0\0\0b", [1]),
        (b"\xff\xff\xff\xffa", [1]),
        (b"\1\0\0\0a", [2**62]),
    ],
)
def test_bytes_that_are_no_values(post: Post, content: bytes, shape: list[int]) -> None:
    parameters = {"binary_data_size": len(content)}
    head = {"inputs": [{"name": "words", "shape": shape, "datatype": "BYTES", "parameters": parameters}]}
    reply = post(head, content, to="texts")
    assert reply.status_code == 400
    assert "values of BYTES, each after its length in four bytes" in reply.json()["error"]


def test_types_that_have_rules(post: Post) -> None:
    def inputs(**data: Any) -> list[dict[str, Any]]:
        found = []
        for kind in TYPES:
            array = np.zeros((1, 2), kind)
            about = {"name": f"in_{kind}", "shape": [1, 2], "datatype": np_to_triton_dtype(array.dtype)}
            how = {"parameters": {"binary_data_size": array.nbytes}} if kind not in data else {"data": data[kind]}
            found.append(about | how)
        return found

    def zeros(*without: str) -> bytes:
        return b"".join([np.zeros(2, kind).tobytes() for kind in TYPES if kind not in without])

    names = [{"name": "out_bool"}]
    no_rows = [{**inputs()[0], "shape": [0, 2], "parameters": {"binary_data_size": 0}}, *inputs()[1:]]
    assert post({"inputs": inputs(), "outputs": names}, zeros(), to="echo").json()["outputs"][0]["data"] == [False] * 2
    for sentence, reply in [
        (
            "is BOOL, of bytes that are 0 or 1",
            post({"inputs": inputs(), "outputs": names}, b"\2\0" + zeros("bool"), to="echo"),
        ),
        ("this request sent (0, 2)", post({"inputs": no_rows, "outputs": names}, zeros("bool"), to="echo")),
        ("FP16, which this protocol sends", post({"inputs": inputs(float16=[0, 0])}, zeros("float16"), to="echo")),
        ("'out_float16' of model 'echo' is FP16", post({"inputs": inputs()}, zeros(), to="echo")),
        ("the number 0 at row 0", post({"inputs": inputs(bool=[0, 1])}, zeros("bool"), to="echo")),
        ("the number 256 at", post({"inputs": inputs(uint8=[0, 256])}, zeros("uint8"), to="echo")),
        ("the number 1e+39 at", post({"inputs": inputs(float32=[0, 1e39])}, zeros("float32"), to="echo")),
    ]:
        assert reply.status_code == 400 and sentence in reply.json()["error"]


@pytest.mark.parametrize("path", ["index", "models/pair/load"])
def test_repository_requests_that_cannot_be_read(server: serving.Service, http: requests.Session, path: str) -> None:
    for body in (b"[]", b"{", b'{"ready": 1}', b"{" + b'"a":[' * 100_000):
        reply = http.post(f"{server.url}/v2/repository/{path}", data=body)
        assert reply.status_code == 400 and "The request cannot be read" in reply.json()["error"]


numbers = st.integers(-2, 40) | st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64])
parameters = st.fixed_dictionaries({}, optional={"binary_data_size": numbers | st.sampled_from([8, 12, 16])})
contents = st.lists(st.integers(0, 5) | st.floats() | st.text(max_size=3), max_size=6)
right = {
    "signal": {"datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]},
    "tag": {"datatype": "INT32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
    "words": {"datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 12}},
}
changes = st.fixed_dictionaries(
    {},
    optional={
        "shape": st.lists(numbers, max_size=3),
        "datatype": st.sampled_from(["INT32", "FP32", "BYTES", "BOOL", ""]),
        "parameters": parameters,
        "data": contents,
    },
)


@settings(max_examples=300, deadline=None)
@given(
    model=st.sampled_from([("signal", "tag"), ("words",)]),
    change=changes,
    data=st.binary(max_size=48) | st.sampled_from([bytes(8), b"\1\0\0\0a\3\0\0\0abc"]),
    shift=st.sampled_from([0] * 8 + [-1, 1, 10]),
)
def test_no_binary_request_makes_the_server_fail(
    post: Post, model: tuple[str, ...], change: Any, data: bytes, shift: int
) -> None:
    tensors = [{"name": name, **right[name], **(change if name == model[-1] else {})} for name in model]
    head = json.dumps({"inputs": tensors}).encode()
    reply = post(head, data, to="texts" if model == ("words",) else "pair", length=str(len(head) + shift))
    assert reply.status_code == 200 or (reply.status_code == 400 and reply.json()["error"].endswith("."))


@settings(max_examples=150, deadline=None)
@given(
    signal=hnp.arrays(np.float32, st.tuples(st.integers(0, 3), st.just(3)), elements=st.floats(-100, 100, width=32)),
    tag=hnp.arrays(np.int32, st.tuples(st.integers(0, 3), st.just(2)), elements=st.integers(0, 4)),
    more=st.sampled_from([(0, 0)] * 3 + [(1, 0), (-1, 0), (-1, 1), (12, -12), (-4, 4), (0, -8), (0, 8)]),
)
def test_only_exact_sizes_are_accepted(
    post: Post, signal: np.ndarray, tag: np.ndarray, more: tuple[int, int], keras_models: dict[str, keras.Model]
) -> None:
    def about(name: str, array: np.ndarray, more: int) -> dict[str, Any]:
        kind = np_to_triton_dtype(array.dtype)
        return {
            "name": name,
            "shape": array.shape,
            "datatype": kind,
            "parameters": {"binary_data_size": array.nbytes + more},
        }

    inputs = [about("signal", signal, more[0]), about("tag", tag, more[1])]
    reply = post({"inputs": inputs, "parameters": {"binary_data_output": True}}, signal.tobytes(), tag.tobytes())
    if any(more) or len(signal) != len(tag) or not len(tag):
        assert reply.status_code == 400
        return
    assert reply.status_code == 200
    content = reply.content[int(reply.headers[LENGTH]) :]
    expected = [np.asarray(output).ravel() for output in keras_models["pair"]([signal, tag])]
    np.testing.assert_allclose(np.frombuffer(content, np.float32), np.concatenate(expected), rtol=1e-4, atol=1e-4)


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=60), length=st.none() | st.integers(0, 70))
def test_no_bytes_make_the_server_fail(post: Post, body: bytes, length: int | None) -> None:
    reply = post(body, length=None if length is None else str(length))
    assert reply.status_code == 400 and reply.json()["error"].endswith(".")
