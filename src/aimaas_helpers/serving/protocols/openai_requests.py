"""What clients of OpenAI's protocol may ask for, and what is refused because no model here does it."""

import re
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec import Meta

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.generation import Message, Sampling

_NOTHING: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "dimensions": (),
    "echo": (False,),
    "frequency_penalty": (0,),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tools": ([],),
}
"""Fields for what is not offered here, and values with which they ask for nothing; ``null`` always does."""


class BadField(BadInput):
    """A field of the request, ``param``, holds what it cannot."""

    def __init__(self, param: str | None, sentence: str) -> None:
        super().__init__(sentence)
        self.param = param


class Embeddings(msgspec.Struct):
    expected: ClassVar[str] = '"model", and in "input" a text or 1 to 2,048 of them, not token numbers'
    model: str
    input: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=2048)]
    )
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Writing(msgspec.Struct, kw_only=True):
    """What completions and chat have in common. ``null`` stands for the default, as clients send it."""

    model: str
    n: Annotated[int, Meta(ge=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: int | None = None
    stop: (
        Annotated[str, Meta(max_length=256)]
        | Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=4)]
        | None
    ) = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    @property
    def alternatives(self) -> int | None:
        """To each token, if its probability is to be told."""
        raise NotImplementedError

    @property
    def wants_usage(self) -> bool:
        """At the end of a stream."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, otherwise: int) -> Sampling:
        """``otherwise`` is how many tokens to write if the request does not say."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_tokens=self.max_completion_tokens or self.max_tokens or otherwise,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k or 0,
            repetition_penalty=self.repetition_penalty or 1.0,
            logprobs=self.alternatives,
            seed=self.seed,
            stop=tuple(filter(None, stop)),
        )


class Completion(Writing, kw_only=True):
    expected: ClassVar[str] = '"model", and in "prompt" a text or a list of texts, not token numbers'
    prompt: str | Annotated[list[str], Meta(min_length=1)]
    logprobs: Annotated[int, Meta(ge=0, le=5)] | Literal[False] | None = None

    @property
    def alternatives(self) -> int | None:
        return None if self.logprobs is False else self.logprobs

    @property
    def texts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class _Part(msgspec.Struct):
    type: Literal["text"]
    text: str


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None

    def plain(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or [])
        return Message(self.role, text)


class Chat(Writing, kw_only=True):
    expected: ClassVar[str] = '"model", and in "messages" a list of objects with "role" and "content", which is text'
    messages: Annotated[list[_Message], Meta(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def alternatives(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


Kind = TypeVar("Kind", Embeddings, Completion, Chat)


def decode(body: bytes, kind: type[Kind]) -> Kind:
    """The request that ``body`` holds. Raises ``BadField``."""
    try:
        fields = msgspec.json.decode(body)
        question = msgspec.convert(fields, kind)
    except (ValueError, RecursionError) as error:
        place = re.search(r"`\$\.(\w+)|field `(\w+)`", str(error))
        reason = error if body else "its body is empty"
        param = place[1] or place[2] if place else None
        raise BadField(param, f"The request does not fit ({reason}); it must hold {kind.expected}.") from None
    for name, values in _NOTHING.items():
        if fields.get(name) is not None and fields[name] not in values:
            raise BadField(name, f"'{name}' asks for something that no model here does; leave it out.")
    return question
