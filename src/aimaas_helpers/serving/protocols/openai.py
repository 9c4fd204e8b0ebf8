"""OpenAI's protocol: models, embeddings, completions and chat, for models that declare that they can.

``model`` is a name, ``name:version`` or ``name:label``. Fields that the protocol does not know are ignored; known ones
that ask for something no model here does, such as ``tools``, are refused rather than ignored. What goes wrong after a
stream has begun is its last event.
"""

import base64
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from aimaas_helpers.errors import AimaasError, NotFound
from aimaas_helpers.serving.bytewise import generator
from aimaas_helpers.serving.call import Call, Disconnected
from aimaas_helpers.serving.codecs import Text
from aimaas_helpers.serving.generation import Generator, Piece, Prompt, Scored, together
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.protocols import read
from aimaas_helpers.serving.protocols.openai_requests import BadField, Chat, Completion, Embeddings, Kind, decode
from aimaas_helpers.serving.refusal import error_response
from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.tensors import Array, sentence_list

_MOST_TEXTS = 64
"""Texts that one request may have written: prompts times ``n``."""

Pieces: TypeAlias = AsyncGenerator[tuple[int, Piece]]


def describe(model: Model) -> dict[str, Any]:
    """A model as ``GET /v1/models`` lists it."""
    created = 0
    with contextlib.suppress(ValueError):
        created = int(datetime.fromisoformat(model.card.created).timestamp())
    return {
        "id": model.name,
        "object": "model",
        "created": created,
        "owned_by": "aimaas",
        "capabilities": model.card.capabilities,
    }


def routes(plane: Plane) -> list[Route]:
    """The HTTP side."""

    def served() -> Iterator[Model]:
        for name in plane.names:
            with contextlib.suppress(NotFound):
                yield plane.model(name, plane.standing(name))

    async def begin(request: Request, kind: type[Kind], capability: str) -> tuple[Kind, Model, Call]:
        call: Call = request.scope["call"]
        call.protocol = "openai"
        body = await read(request)
        question = await plane.offload(len(body), decode, body, kind)
        name, _, which = question.model.partition(":")
        version = int(which) if re.fullmatch("[0-9]{1,18}", which) else None
        call.model = model = plane.model(name, version, which if which and version is None else None)
        if capability not in model.card.capabilities:
            able = sentence_list([model.name for model in served() if capability in model.card.capabilities])
            raise BadField("model", f"Model '{name}' is not one for {capability}; served here for that: {able}.")
        plane.admit(model, texts=True)
        return question, model, call

    async def answer_models(request: Request) -> Response:
        request.scope["call"].protocol = "openai"
        return _json({"object": "list", "data": [describe(model) for model in served()]})

    async def answer_embeddings(request: Request) -> Response:
        question, model, call = await begin(request, Embeddings, "embeddings")
        texts = [text.encode() for text in question.texts]
        outputs = await plane.infer(model, {name: np.array(texts, object) for name in model.inputs}, call)
        (vectors,) = outputs.values()
        (codec,) = model.card.codecs.values()
        assert isinstance(codec, Text)
        size = 8 * vectors.nbytes + 16 * sum(map(len, texts))
        return await plane.offload(size, _embeddings, question, vectors, codec, texts)

    async def answer_completion(request: Request) -> Response:
        question, model, call = await begin(request, Completion, "completions")
        writer = generator(plane, model)
        return await _Answer(question, model, call).respond(writer, [writer.text(text) for text in question.texts])

    async def answer_chat(request: Request) -> Response:
        question, model, call = await begin(request, Chat, "chat")
        writer = generator(plane, model)
        prompt = writer.chat([message.plain() for message in question.messages])
        return await _Answer(question, model, call).respond(writer, [prompt])

    return [
        Route("/v1/models", answer_models),
        Route("/v1/embeddings", answer_embeddings, methods=["POST"]),
        Route("/v1/completions", answer_completion, methods=["POST"]),
        Route("/v1/chat/completions", answer_chat, methods=["POST"]),
    ]


def _embeddings(question: Embeddings, vectors: Array, codec: Text, texts: Sequence[bytes]) -> Response:
    if not np.isfinite(vectors).all():
        raise BadField("input", "The model computed an embedding that is not finite; send other texts.")
    rows: list[Any] = vectors.tolist()
    if question.encoding_format == "base64":
        rows = [base64.b64encode(row.tobytes()).decode() for row in vectors.astype("<f4")]
    data = [{"object": "embedding", "index": number, "embedding": row} for number, row in enumerate(rows)]
    tokens = sum(map(codec.count, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": question.model, "usage": usage})


class _Answer:
    """Texts for one client, as a whole or as they are written."""

    def __init__(self, question: Completion | Chat, model: Model, call: Call) -> None:
        self._question = question
        self._call = call
        self._is_chat = isinstance(question, Chat)
        self._usage: dict[str, Any] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        self._head: dict[str, Any] = {
            "id": f"{'chatcmpl' if self._is_chat else 'cmpl'}-{call.id}",
            "object": "chat.completion" if self._is_chat else "text_completion",
            "created": int(time.time()),
            "model": question.model,
            "system_fingerprint": f"{model.name}:{model.version}",
            # What a machine wrote says so; the label is for programs, people are to be told by those who show it.
            "metadata": {"ai_generated": "true", "generator": f"{model.name}, version {model.version}"},
        }

    async def respond(self, writer: Generator, prompts: Sequence[Prompt]) -> Response:
        question = self._question
        each = question.n or 1
        count = each * len(prompts)
        if count > _MOST_TEXTS:
            raise BadField("n", f"This request asks for {count:,} texts; {_MOST_TEXTS} is the most.")
        self._count("prompt_tokens", sum(len(prompt.tokens) for prompt in prompts))
        sampling = question.sampling(256 if self._is_chat else 16)
        texts = []
        for number in range(count):
            seed = None if sampling.seed is None else (sampling.seed + number) % 2**64
            texts.append(writer.generate(prompts[number // each], replace(sampling, seed=seed), self._call))
        pieces = together(texts, self._call)
        if not question.stream:
            return await self._whole(pieces, count)
        events = self._events(pieces)
        first = await anext(events)  # what goes wrong before there is any text is answered with its own status
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(_to_the_end(first, events), media_type="text/event-stream", headers=headers)

    async def _whole(self, pieces: Pieces, count: int) -> Response:
        texts: list[list[Piece]] = [[] for _ in range(count)]
        async with contextlib.aclosing(pieces):
            async for number, piece in pieces:
                texts[number].append(piece)
                self._count_piece(piece)
        choices = []
        for number, text in enumerate(texts):
            whole = "".join(piece.text for piece in text)
            said = {"message": {"role": "assistant", "content": whole}} if self._is_chat else {"text": whole}
            choices.append(self._choice(number, said, text, text[-1].finish))
        return _json({**self._head, "choices": choices, "usage": self._usage})

    async def _events(self, pieces: Pieces) -> AsyncGenerator[bytes]:
        head = self._head
        if self._is_chat:
            head["object"] = "chat.completion.chunk"
        if self._question.wants_usage:
            head["usage"] = None
        begun = set()
        async with contextlib.aclosing(pieces):
            async for number, piece in pieces:
                self._count_piece(piece)
                said: dict[str, Any] = {"text": piece.text}
                if self._is_chat:
                    role = {} if number in begun else {"role": "assistant"}
                    said = {"delta": {**role, "content": piece.text}}
                if piece.text or piece.finish or piece.scored or number not in begun:
                    yield _event({**head, "choices": [self._choice(number, said, [piece], piece.finish)]})
                begun.add(number)
        if self._question.wants_usage:
            yield _event({**head, "choices": [], "usage": self._usage})
        yield b"data: [DONE]\n\n"

    def _count(self, what: str, tokens: int) -> None:
        self._usage[what] += tokens
        self._usage["total_tokens"] += tokens

    def _count_piece(self, piece: Piece) -> None:
        self._count("completion_tokens", piece.tokens)
        if piece.cached:
            self._usage["prompt_tokens_details"] = {"cached_tokens": piece.cached}

    def _choice(self, number: int, said: dict[str, Any], pieces: Sequence[Piece], finish: str | None) -> dict[str, Any]:
        scored = [piece.scored for piece in pieces if piece.scored is not None]
        tell = _chat_logprobs if self._is_chat else _completion_logprobs
        return {"index": number, **said, "logprobs": tell(scored) if scored else None, "finish_reason": finish}


async def _to_the_end(first: bytes, events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The events; an error, which can no longer be the answer's status, becomes the last."""
    yield first
    async with contextlib.aclosing(events):
        try:
            async for event in events:
                yield event
        except Disconnected:
            return
        except Exception as error:
            known = error if isinstance(error, AimaasError) else AimaasError("The server failed; its log says why.")
            yield b"data: " + bytes(error_response("/v1/completions", known).body) + b"\n\n"
            if known is not error:
                raise


def _chat_logprobs(scored: Sequence[Scored]) -> dict[str, Any]:
    def about(token: bytes, logprob: float) -> dict[str, Any]:
        return {"token": token.decode(errors="replace"), "logprob": logprob, "bytes": list(token)}

    content = [
        {**about(one.token, one.logprob), "top_logprobs": [about(*other) for other in one.top]} for one in scored
    ]
    return {"content": content, "refusal": None}


def _completion_logprobs(scored: Sequence[Scored]) -> dict[str, Any]:
    tokens = [one.token.decode(errors="replace") for one in scored]
    return {
        "tokens": tokens,
        "token_logprobs": [one.logprob for one in scored],
        "top_logprobs": [{token.decode(errors="replace"): value for token, value in one.top} for one in scored],
        "text_offset": [sum(map(len, tokens[:number])) for number in range(len(tokens))],
    }


def _event(content: object) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
