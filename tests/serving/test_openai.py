"""The protocol as the ``openai`` client speaks it, and the bytes on the wire where the client hides them."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keras
import numpy as np
import openai
import pytest
import requests
from keras import layers
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

from aimaas_helpers import serving
from aimaas_helpers.serving import codecs

from .text_models import ANSWERS, LYRICS, SENTENCE, TEXT, export_all

HELLO: Any = [{"role": "user", "content": "hello"}]
REST = SENTENCE.removeprefix("Café")


@pytest.fixture(scope="module")
def text_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, keras.Model]]:
    folder = tmp_path_factory.mktemp("text") / "models"
    return folder, export_all(folder)


@pytest.fixture(scope="module")
def service(text_models: tuple[Path, dict[str, keras.Model]]) -> Iterator[serving.Service]:
    with serving.local(text_models[0]) as service:
        yield service


def asking(service: serving.Service) -> openai.OpenAI:
    http = DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0, http_client=http)


@pytest.fixture(scope="module")
def client(service: serving.Service) -> Iterator[openai.OpenAI]:
    with asking(service) as client:
        yield client


def asynchronous(service: serving.Service) -> openai.AsyncOpenAI:
    http = DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0, http_client=http)


@pytest.fixture
def metric(service: serving.Service, http: requests.Session) -> Callable[[str], float]:
    def value(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", http.get(f"{service.url}/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    return value


STEPS = 'aimaas_batch_rows_count{model="parrot",version="1"}'
STEPS_OF_ONE = 'aimaas_batch_rows_bucket{le="1.0",model="parrot",version="1"}'


def wait_until(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_models_are_listed(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {name: model.model_dump()["capabilities"] for name, model in models.items()} == {
        "letters": ["embeddings"],
        "parrot": ["completions", "chat"],
    }
    assert all(abs(model.created - time.time()) < 3600 and model.object == "model" for model in models.values())


def test_a_completion_is_what_the_model_learnt(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="parrot", prompt="Café", max_tokens=100, temperature=0)
    assert answer.object == "text_completion" and answer.model == "parrot" and answer.system_fingerprint == "parrot:1"
    (choice,) = answer.choices
    assert (choice.index, choice.text, choice.finish_reason) == (0, REST, "stop")
    assert answer.usage is not None
    assert answer.usage.model_dump(include={"prompt_tokens", "completion_tokens", "total_tokens"}) == {
        "prompt_tokens": 5,
        "completion_tokens": len(REST.encode()),
        "total_tokens": len(SENTENCE.encode()),
    }


def test_what_a_model_wrote_is_labelled(client: openai.OpenAI) -> None:
    label = {"ai_generated": "true", "generator": "parrot, version 1"}
    whole = client.chat.completions.create(model="parrot", messages=HELLO)
    chunks = client.chat.completions.create(model="parrot", messages=HELLO, stream=True)
    assert [answer.model_dump()["metadata"] for answer in [whole, *chunks]] == [label] * (1 + len(ANSWERS["hello"]) + 1)


@pytest.mark.parametrize("stream", [False, True])
def test_probabilities_of_tokens(client: openai.OpenAI, stream: bool) -> None:
    how: Any = {"model": "parrot", "temperature": 0, "max_tokens": 3, "stream": stream}
    answer: Any = client.chat.completions.create(messages=HELLO, logprobs=True, top_logprobs=2, **how)
    parts = [chunk.choices[0].logprobs for chunk in answer] if stream else [answer.choices[0].logprobs]
    told = [token for part in parts if part for token in part.content]
    assert [token.token for token in told] == list(ANSWERS["hello"][:3])
    assert all(token.bytes == list(token.token.encode()) and -1 < token.logprob < 0 for token in told)
    assert all([token.top_logprobs[0].token for token in told][i] == told[i].token for i in range(3))
    assert all(len(token.top_logprobs) == 2 for token in told)
    answer = client.completions.create(prompt="Café", logprobs=1, **how)
    parts = [chunk.choices[0].logprobs for chunk in answer] if stream else [answer.choices[0].logprobs]
    assert [token for part in parts if part for token in part.tokens] == [" ", "\ufffd", "\ufffd"]  # bytes of 北
    answer = client.completions.create(prompt="Café", **how)
    assert all(chunk.choices[0].logprobs is None for chunk in (answer if stream else [answer]))


def test_a_stream_comes_character_by_character(client: openai.OpenAI) -> None:
    stream = client.completions.create(model="parrot", prompt="Café", max_tokens=100, temperature=0, stream=True)
    chunks = list(stream)
    assert [chunk.choices[0].text for chunk in chunks if chunk.choices[0].text] == list(REST)
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert {chunk.id for chunk in chunks} == {chunks[0].id} and all(chunk.usage is None for chunk in chunks)


def test_the_bytes_of_a_stream(service: serving.Service, http: requests.Session) -> None:
    body = {"model": "parrot", "messages": HELLO, "max_completion_tokens": 2, "temperature": 0, "stream": True}
    reply = http.post(f"{service.url}/v1/chat/completions", json=body | {"stream_options": {"include_usage": True}})
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, done, end = reply.content.split(b"\n\n")
    assert (done, end) == (b"data: [DONE]", b"")
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
    assert [chunk["choices"] for chunk in chunks] == [
        [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        for delta, finish in [
            ({"role": "assistant", "content": "G"}, None),
            ({"content": "o"}, None),
            ({"content": ""}, "length"),
        ]
    ] + [[]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    prompt = len("user: hello\nassistant: ")
    usage = {"prompt_tokens": prompt, "completion_tokens": 2, "total_tokens": prompt + 2}
    assert [chunk["usage"] for chunk in chunks] == [None, None, None, usage]


@pytest.mark.parametrize("question", ANSWERS)
def test_a_chat(client: openai.OpenAI, question: str) -> None:
    said: Any = [
        {"role": "system", "content": "Be kind.\nBe short."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": ANSWERS["hello"]},
        {"role": "user", "content": [{"type": "text", "text": question[:3]}, {"type": "text", "text": question[3:]}]},
    ]
    answer = client.chat.completions.create(model="parrot", messages=said, temperature=0)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", ANSWERS[question])
    assert choice.finish_reason == "stop" and answer.object == "chat.completion"
    template = f"system: Be kind. Be short.\nuser: hello\nassistant: {ANSWERS['hello']}\nuser: {question}\nassistant: "
    assert answer.usage is not None and answer.usage.prompt_tokens == len(template.encode())
    with client.chat.completions.stream(model="parrot", messages=said, temperature=0) as stream:
        assert stream.get_final_completion().choices[0].message.content == ANSWERS[question]


def test_many_users_each_get_their_own(service: serving.Service) -> None:
    async def talk(client: openai.AsyncOpenAI, question: str) -> str:
        messages: Any = [{"role": "user", "content": question}]
        stream = await client.chat.completions.create(model="parrot", messages=messages, temperature=0, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def talk_all() -> list[str]:
        async with asynchronous(service) as client:
            return await asyncio.gather(*[talk(client, question) for question in questions])

    questions = [*ANSWERS] * 12
    assert asyncio.run(talk_all()) == [ANSWERS[question] for question in questions]


def test_texts_written_together_share_calls_of_the_model(client: openai.OpenAI, metric: Callable[[str], float]) -> None:
    before, alone = metric(STEPS), metric(STEPS_OF_ONE)
    prompts = ["Café", LYRICS] * 4
    answer = client.completions.create(model="parrot", prompt=prompts, n=2, max_tokens=20, temperature=0)
    expected = {"Café": REST.encode()[:20].decode(errors="replace"), LYRICS: LYRICS[:20]}
    assert [choice.text for choice in answer.choices] == [expected[prompt] for prompt in prompts for _ in range(2)]
    assert metric(STEPS) - before == 20 and metric(STEPS_OF_ONE) == alone


def test_a_seed_repeats_itself_and_choices_differ(client: openai.OpenAI) -> None:
    def texts(seed: int) -> list[str]:
        answer = client.completions.create(model="parrot", prompt="", n=4, seed=seed, temperature=2, max_tokens=24)
        return [choice.text for choice in answer.choices]

    assert texts(7) == texts(7) and len({*texts(7), *texts(-8)}) == 8
    assert texts(8)[:3] == texts(7)[1:]


@pytest.mark.parametrize("stop", ["learn", ["heart", "learn", "zzz"], ["els lea", "models learn by"]])
def test_a_text_ends_before_a_stop_text(client: openai.OpenAI, stop: str | list[str]) -> None:
    stops = [stop] if isinstance(stop, str) else stop
    expected = REST[: min(REST.find(item) for item in stops if item in REST)]
    if stops[0] == "els lea":  # complete before the one that begins earlier
        expected = REST[: REST.find("els lea")]
    for stream in (False, True):
        answer: Any = client.completions.create(
            model="parrot", prompt="Café", max_tokens=100, temperature=0, stop=stop, stream=stream
        )
        choices = [chunk.choices[0] for chunk in answer] if stream else [answer.choices[0]]
        assert "".join(choice.text for choice in choices) == expected
        assert choices[-1].finish_reason == "stop"


def test_a_text_ends_with_its_last_token(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="parrot", prompt="Café", max_tokens=2, temperature=0, stop=" 北京: x")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (" \ufffd", "length")
    answer = client.completions.create(model="parrot", prompt=LYRICS)
    assert answer.usage is not None and answer.usage.completion_tokens == 16


def test_embeddings_are_the_model_s(client: openai.OpenAI, text_models: tuple[Path, dict[str, keras.Model]]) -> None:
    texts = ["naïve", "evian", "北京", "x" * 70]
    expected = np.asarray(text_models[1]["letters"](TEXT.rows([text.encode() for text in texts])))
    answer = client.embeddings.create(model="letters", input=texts)
    assert [item.index for item in answer.data] == [0, 1, 2, 3] and answer.model == "letters"
    np.testing.assert_allclose([item.embedding for item in answer.data], expected, atol=1e-6)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == len("".join(texts).encode())
    plain = client.embeddings.create(model="letters", input=texts, encoding_format="float")
    assert [item.embedding for item in plain.data] == [item.embedding for item in answer.data]
    one = client.embeddings.create(model="letters:1", input=texts[0])
    np.testing.assert_allclose(one.data[0].embedding, expected[0], atol=1e-6)


def test_pieces_of_words_are_embedded_and_counted(tmp_path: Path) -> None:
    codec = codecs.WordPieces(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "##ness", "film"), length=32)
    text = keras.Input((None,), dtype="int32", name="text")
    vectors = layers.Embedding(len(codec.vocabulary), 8, mask_zero=True)(text)
    model = keras.Model(text, layers.UnitNormalization(name="embedding")(layers.GlobalAveragePooling1D()(vectors)))
    serving.export(model, tmp_path / "pieces", codecs={"text": codec}, capabilities=("embeddings",))
    texts = ["Good", "goodness " * 40, "no film"]  # 3, 82 and 4 numbers; the second is cut
    with serving.local(tmp_path) as service, asking(service) as client:
        answer = client.embeddings.create(model="pieces", input=texts)
        alone = [client.embeddings.create(model="pieces", input=text).data[0].embedding for text in texts]
        with pytest.raises(openai.BadRequestError, match="Row 1 has no word in it; expected a text"):
            client.embeddings.create(model="pieces", input=["good", " "])
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 89
    embeddings = [item.embedding for item in answer.data]
    np.testing.assert_allclose(embeddings, np.asarray(model(codec.rows([t.encode() for t in texts]))), atol=1e-6)
    np.testing.assert_allclose(embeddings, alone, atol=1e-6)  # in rows of other lengths


def test_base64_is_what_the_client_asks_for(service: serving.Service, http: requests.Session) -> None:
    body = {"model": "letters", "input": "a", "encoding_format": "base64"}
    reply = http.post(f"{service.url}/v1/embeddings", json=body).json()
    assert isinstance(reply["data"][0]["embedding"], str) and len(reply["data"][0]["embedding"]) == 44


CHAT = {"model": "parrot", "messages": HELLO}
TEXTS = {"model": "parrot", "prompt": "x"}
WORDS = {"model": "letters", "input": "x"}


@pytest.mark.parametrize(
    "path, body, status, param, message",
    [
        ("completions", b"", 400, None, "its body is empty"),
        ("completions", b"{", 400, None, "truncated"),
        ("completions", b"[" * 5000, 400, None, "does not fit"),
        ("completions", b'"\xff"', 400, None, "does not fit"),
        ("completions", [], 400, None, "Expected `object`, got `array`"),
        ("completions", {"model": "parrot"}, 400, "prompt", "missing required field `prompt`"),
        ("completions", TEXTS | {"prompt": [1, 2]}, 400, "prompt", "not token numbers"),
        ("completions", TEXTS | {"prompt": []}, 400, "prompt", "length >= 1"),
        ("completions", TEXTS | {"max_tokens": 0}, 400, "max_tokens", ">= 1"),
        ("completions", TEXTS | {"temperature": 2.5}, 400, "temperature", "<= 2"),
        ("completions", TEXTS | {"top_p": -1}, 400, "top_p", ">= 0"),
        ("completions", TEXTS | {"stop": ["a"] * 5}, 400, "stop", "length <= 4"),
        ("completions", TEXTS | {"prompt": ["a"] * 13, "n": 5}, 400, "n", "asks for 65 texts; 64 is the most"),
        ("completions", TEXTS | {"echo": True}, 400, "echo", "'echo' asks for something"),
        ("completions", TEXTS | {"logprobs": 6}, 400, "logprobs", "<= 5"),
        ("completions", TEXTS | {"repetition_penalty": 0}, 400, "repetition_penalty", "> 0"),
        ("completions", TEXTS | {"top_k": -1}, 400, "top_k", ">= 0"),
        ("chat/completions", CHAT | {"top_logprobs": 21}, 400, "top_logprobs", "<= 20"),
        ("completions", TEXTS | {"model": "nobody"}, 404, None, "There is no model 'nobody'"),
        ("completions", TEXTS | {"model": "parrot:2"}, 404, None, "Model 'parrot' has no version 2; it has 1."),
        ("completions", TEXTS | {"model": "parrot:old"}, 404, None, "has no label 'old'"),
        ("completions", TEXTS | {"model": "letters"}, 400, "model", "served here for that: 'parrot'"),
        ("chat/completions", CHAT | {"messages": []}, 400, "messages", "length >= 1"),
        ("chat/completions", CHAT | {"messages": [{"role": "cat", "content": "m"}]}, 400, "messages", "'cat'"),
        (
            "chat/completions",
            CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            400,
            "messages",
            "image_url",
        ),
        ("chat/completions", CHAT | {"tools": [{"type": "function"}]}, 400, "tools", "leave it out"),
        ("chat/completions", CHAT | {"response_format": {"type": "json_object"}}, 400, "response_format", "leave it"),
        ("chat/completions", CHAT | {"model": "letters"}, 400, "model", "Model 'letters' is not one for chat"),
        ("embeddings", WORDS | {"input": [1, 2]}, 400, "input", "not token numbers"),
        ("embeddings", WORDS | {"input": [[1, 2]]}, 400, "input", "not token numbers"),
        ("embeddings", WORDS | {"input": ""}, 400, "input", "length >= 1"),
        ("embeddings", WORDS | {"input": ["x", ""]}, 400, "input", "length >= 1"),
        ("embeddings", WORDS | {"input": ["x"] * 2049}, 400, "input", "length <= 2048"),
        ("embeddings", WORDS | {"dimensions": 4}, 400, "dimensions", "leave it out"),
        ("embeddings", WORDS | {"encoding_format": "hex"}, 400, "encoding_format", "'hex'"),
        ("embeddings", WORDS | {"model": "parrot"}, 400, "model", "served here for that: 'letters'"),
    ],
)
def test_refusals_say_why(
    service: serving.Service,
    http: requests.Session,
    path: str,
    body: object,
    status: int,
    param: str | None,
    message: str,
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    for stream in (b"", b', "stream": true}') if data.endswith(b"}") and path != "embeddings" else (b"",):
        reply = http.post(f"{service.url}/v1/{path}", data=data[:-1] + stream if stream else data)
        error = reply.json()["error"]
        assert (reply.status_code, error["type"], error["param"]) == (status, "invalid_request_error", param), error
        assert message in error["message"]
        assert error["code"] == ("model_not_found" if status == 404 else None)


def test_what_asks_for_nothing_or_is_unknown_does_no_harm(client: openai.OpenAI) -> None:
    nothing: Any = {"n": None, "stop": None, "seed": None, "max_tokens": None, "logprobs": False, "tools": None}
    unknown = {"user": "me", "reasoning_effort": "low", "colour": "blue", "tool_choice": "none", "logit_bias": {}}
    answer = client.chat.completions.create(**CHAT, temperature=0, extra_body=nothing | unknown)  # type: ignore[call-overload]
    assert answer.choices[0].message.content == ANSWERS["hello"]


def test_the_deadline_ends_a_stream_with_an_error(client: openai.OpenAI) -> None:
    stream = client.completions.create(
        model="parrot",
        prompt=LYRICS,
        max_tokens=10**9,
        temperature=0,
        stream=True,
        extra_headers={"X-Request-Timeout": "1"},
    )
    sung = ""
    with pytest.raises(openai.APIError, match="deadline") as caught:
        for chunk in stream:
            sung += chunk.choices[0].text
    assert len(sung) > 10 and sung == (LYRICS * len(sung))[: len(sung)]
    assert caught.value.type == "server_error"


def test_the_deadline_of_a_whole_answer(client: openai.OpenAI) -> None:
    late: Any = {"max_tokens": 10**9, "temperature": 0, "extra_headers": {"X-Request-Timeout": "0.2"}}
    with pytest.raises(openai.InternalServerError, match="deadline") as caught:
        client.completions.create(model="parrot", prompt=LYRICS, **late)
    assert caught.value.status_code == 504


@pytest.mark.parametrize("stream", [True, False])
def test_the_model_rests_when_the_client_is_gone(
    service: serving.Service, client: openai.OpenAI, metric: Callable[[str], float], stream: bool
) -> None:
    before = metric(STEPS)
    body = json.dumps({"model": "parrot", "prompt": [LYRICS] * 3, "max_tokens": 10**9, "stream": stream})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((urlsplit(service.url).hostname, urlsplit(service.url).port)) as connection:
        connection.sendall((head + body).encode())
        if stream:
            connection.recv(100)
        wait_until(lambda: metric(STEPS) > before + 10)
    wait_until(lambda: metric("aimaas_requests_in_progress") <= 1)  # this question is one itself
    before = metric(STEPS)
    client.completions.create(model="parrot", prompt=LYRICS, max_tokens=5, temperature=0)
    assert metric(STEPS) == before + 5


def test_a_text_that_was_begun_is_finished_under_overload(text_models: tuple[Path, dict[str, keras.Model]]) -> None:
    """Six users for whom there is room for two at a time: late ones are refused, nobody's text breaks off."""
    refusals = []

    async def sing(client: openai.AsyncOpenAI) -> str:
        song: Any = {"model": "parrot", "prompt": LYRICS, "max_tokens": 25, "temperature": 0, "stream": True}
        while True:
            try:
                stream = await client.completions.create(**song)
                return "".join([chunk.choices[0].text async for chunk in stream])
            except openai.InternalServerError as refusal:
                refusals.append(refusal)
                await asyncio.sleep(0.01)

    async def sing_all() -> list[str]:
        async with asynchronous(service) as client:
            return await asyncio.gather(*[sing(client) for _ in range(6)])

    with serving.local(text_models[0] / "parrot", queue=2, window=0.01) as service:
        assert asyncio.run(sing_all()) == [LYRICS] * 6
    assert refusals and {refusal.status_code for refusal in refusals} == {503}
    assert {refusal.response.headers["retry-after"] for refusal in refusals} == {"1"}
