"""The data plane: everything a protocol needs, nothing of HTTP."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any, ParamSpec, TypeVar

from aimaas_helpers.errors import AimaasError, BadInput, TooLarge
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.repository import Model, Repository
from aimaas_helpers.serving.routing import Routing
from aimaas_helpers.serving.tensors import Array, sentence_list, shape_text

P = ParamSpec("P")
Result = TypeVar("Result")

_SMALL = 256 * 1024
"""Bytes: what is larger is translated in a thread, so that other requests go on meanwhile."""


class Plane:
    """Answers for the models of a repository; protocols translate to and from it."""

    def __init__(self, repository: Repository, *, poll: float = 0.0, max_rows: int = 4096) -> None:
        self._repository = repository
        self._poll = poll
        self._max_rows = max_rows
        self._looking = asyncio.Lock()
        self.draining = False

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome."""
        return not self.draining

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return self._repository.names

    def versions(self, name: str) -> dict[int, AimaasError | None]:
        """A model's versions, highest first, each with the reason if it was refused. Raises ``NotFound``."""
        return self._repository.versions(name)

    def routing(self, name: str) -> Routing:
        """Which versions of a model answer what. Raises ``NotFound``."""
        return self._repository.routing(name)

    def model(self, name: str, version: int | None = None, label: str | None = None) -> Model:
        """This version, the one with this label, or the one whose turn it is. Raises ``NotFound``."""
        return self._repository.model(name, version, label)

    def standing(self, name: str) -> int:
        """The version that answers requests that name none, the canary's share aside. Raises ``NotFound``."""
        return self._repository.standing(name)

    def admit(self, model: Model, *, texts: bool = False) -> None:
        """Raises ``Overloaded`` if the model's queue is full: ask before reading what the request says.

        ``texts`` says that the model is asked to write; one that does nothing else raises ``BadInput`` without it.
        """
        if model.batcher is not None:
            model.batcher.admit()
        elif model.writer is not None and texts:
            model.writer.admit()
        else:
            raise BadInput(
                f"Model '{model.name}' writes texts and computes nothing else: "
                "POST to /v1/chat/completions or /v1/completions."
            )

    async def infer(self, model: Model, inputs: Mapping[str, Array], call: Call) -> dict[str, Array]:
        """Outputs by name for inputs by name, one row of each for every row sent.

        Raises ``BadInput`` if a name, type or shape is not the model's, or if the values make it fail; ``TooLarge`` for
        too many rows; ``Overloaded``, ``Expired`` and ``Disconnected`` as ``batching`` and ``Call`` do.
        """
        assert model.batcher is not None
        rows = check(model, inputs)
        if rows > self._max_rows:
            raise TooLarge(f"This request has {rows:,} rows; send at most {self._max_rows:,} at a time.")
        if model.card.codecs:
            inputs = await self._decode(model, inputs)
        try:
            return await model.batcher.run(inputs, rows, call)
        except (RuntimeError, ValueError) as error:
            raise BadInput(f"Model '{model.name}' cannot compute with these values ({error}).") from error

    async def _decode(self, model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
        decoded = dict(inputs)
        for name, codec in model.card.codecs.items():
            values = inputs[name].tolist()
            decoded[name] = await self.offload(sum(map(len, values)) * 16, codec.rows, values)
        return decoded

    async def offload(self, size: int, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """The function's result; computed in a thread if ``size``, in bytes, says that it will take long."""
        if size < _SMALL:
            return function(*args, **kwargs)
        return await asyncio.to_thread(functools.partial(function, *args, **kwargs))

    async def load(self, name: str) -> None:
        """Look at one model's folder now. Raises ``NotFound``, or the reason if its newest version is refused."""
        await self.refresh(name)
        fault = next(iter(self.versions(name).values()), None)
        if fault is not None:
            raise fault

    async def unload(self, name: str) -> None:
        """Serve this model no more, until it is loaded. Raises ``NotFound``, and ``BadInput`` on a polling server."""
        if self._poll:
            raise BadInput("This server loads what it finds in its folder: take the model's folder away to unload it.")
        async with self._looking:  # a look in progress would bring it back
            self._repository.unload(name)

    async def refresh(self, name: str | None = None) -> None:
        """Follow what changed on disk, in all folders or one model's, and say so in the log."""
        async with self._looking:
            for sentence in await asyncio.to_thread(self._repository.refresh, name):
                print(sentence, flush=True)

    @contextlib.asynccontextmanager
    async def following(self, app: Any = None) -> AsyncIterator[None]:
        """Within this context the plane follows its folder by itself, if it is to poll."""
        task = asyncio.create_task(self._follow()) if self._poll else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()

    async def _follow(self) -> None:
        last = ""
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.refresh()
                last = ""
            except Exception as error:  # whatever it is, what is loaded goes on answering
                if str(error) != last:
                    print(f"Cannot look for new versions: {error}", flush=True)
                last = str(error)


def check(model: Model, inputs: Mapping[str, Array]) -> int:
    """How many rows there are. Raises ``BadInput`` unless names, types and shapes are the model's."""
    check_names(model, inputs)
    rows: dict[str, int] = {}
    for name, tensor in model.inputs.items():
        array = inputs[name]
        if array.dtype != (object if tensor.dtype == "bytes" else tensor.dtype):
            raise BadInput(
                f"The input '{name}' of model '{model.name}' has type {tensor.dtype}; "
                f"this request sent {array.dtype.name}."
            )
        if not tensor.fits(array.shape) or not array.size:
            raise BadInput(
                f"The input '{name}' of model '{model.name}' has shape {shape_text(tensor.shape)}; "
                f"this request sent {shape_text(array.shape)}."
            )
        if tensor.shape and tensor.shape[0] is None:
            rows[name] = array.shape[0]
    if len(set(rows.values())) > 1:
        sent = ", ".join(f"'{name}' {count}" for name, count in rows.items())
        raise BadInput(f"The inputs of model '{model.name}' must have equally many rows; this request sent {sent}.")
    return max(rows.values(), default=1)


def check_names(model: Model, names: Collection[str]) -> None:
    """Raises ``BadInput`` unless the names are exactly those of the model's inputs."""
    if set(names) != model.inputs.keys():
        raise BadInput(
            f"Model '{model.name}' has the inputs {sentence_list(list(model.inputs))}; "
            f"this request sent {sentence_list([name[:40] for name in sorted(names)[:20]])}."
        )
