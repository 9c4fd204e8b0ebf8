"""Many callers, one model: each gets its own rows, whatever the others do."""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimaas_helpers.errors import Expired, Overloaded
from aimaas_helpers.serving.batching import Batcher
from aimaas_helpers.serving.call import Call, Disconnected
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.runtime import Runtime
from aimaas_helpers.serving.tensors import Array

T = TypeVar("T")
numbers = itertools.count(1)  # the first value of every row, by which it is known again


class Watched:
    """A real runtime that notes what it runs, and that a test can hold up."""

    def __init__(self, runtime: Runtime, seconds: float = 0.0) -> None:
        self.runtime = runtime
        self.calls: list[Mapping[str, Array]] = []
        self.open = threading.Event()
        self.open.set()
        self._seconds = seconds

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert self.open.wait(20)
        self.calls.append(inputs)
        return self.runtime.run(inputs)

    def seconds(self, size: int) -> float:
        return self._seconds

    @property
    def sizes(self) -> list[int]:
        return [len(next(iter(inputs.values()))) for inputs in self.calls]

    def ran(self, inputs: Mapping[str, Array]) -> bool:
        return any(row in call["signal"][:, 0] for call in self.calls for row in inputs["signal"][:, 0])


@pytest.fixture(scope="module")
def runtimes(models: Path) -> dict[str, Runtime]:
    repository = Repository(models)
    return {name: repository.model(name).runtime for name in ("pair", "words", "slow")}


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def quick(runtimes: dict[str, Runtime]) -> Watched:
    return Watched(runtimes["pair"])


@pytest.fixture
def slow(runtimes: dict[str, Runtime]) -> Iterator[Watched]:
    watched = Watched(runtimes["pair"], seconds=1.0)
    yield watched
    watched.open.set()


def pair(rows: int, tag: int = 1) -> dict[str, Array]:
    signal = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    signal[:, 0] = [next(numbers) % 1000 for _ in range(rows)]
    return {"signal": signal, "tag": np.full((rows, 2), tag, np.int32)}


def same(answer: Mapping[str, Array], runtime: Runtime, inputs: Mapping[str, Array]) -> None:
    alone = runtime.run(inputs)
    assert answer.keys() == alone.keys()
    for name in alone:
        assert answer[name].shape == alone[name].shape
        np.testing.assert_allclose(answer[name], alone[name], rtol=1e-4, atol=1e-4)


def run(scenario: Callable[[], Awaitable[T]]) -> T:
    """The scenario's result; nobody waits for ever."""
    return asyncio.run(asyncio.wait_for(scenario(), 20))


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def empty(batcher: Batcher) -> bool:
    return not batcher._waiting and batcher._rows == batcher._size == 0 and not batcher._running


requests = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 9),
        "length": st.integers(1, 3),
        "bad": st.sampled_from([False] * 5 + [True]),
        "after": st.integers(0, 4),  # turns of the event loop before it comes
        "fate": st.sampled_from(["stays"] * 5 + ["is late", "expires", "is cancelled", "goes away"]),
        "turns": st.integers(0, 4),  # that it stays for
    }
)


@settings(max_examples=100, deadline=None)
@given(
    plan=st.lists(requests, min_size=1, max_size=25),
    name=st.sampled_from(["pair", "words"]),
    threads=st.booleans(),
    max_batch=st.integers(1, 16),
    window=st.sampled_from([0.0, 0.0, 0.002]),
    queue=st.integers(1, 60),
)
def test_everybody_gets_what_they_would_get_alone(
    runtimes: dict[str, Runtime],
    executor: Executor,
    plan: list[dict[str, Any]],
    name: str,
    threads: bool,
    max_batch: int,
    window: float,
    queue: int,
) -> None:
    runtime = runtimes[name]
    watched = Watched(runtime, seconds=1.0 if threads else 0.0)

    async def ask(batcher: Batcher, request: dict[str, Any]) -> str:
        for _ in range(request["after"]):
            await asyncio.sleep(0)
        rows, length, bad = request["rows"], request["length"], request["bad"]
        if name == "pair":
            inputs = pair(rows)
            inputs["tag"][-1, -1] = 99 if bad else 1
        else:
            inputs = {"words": np.random.default_rng(rows).integers(0, 50, (rows, length)).astype(np.int32)}
            inputs["words"][:, 0] = [next(numbers) % 50 for _ in range(rows)]
            inputs["words"][-1, -1] = 99 if bad else 1

        async def receive() -> dict[str, str]:
            for _ in range(request["turns"]):
                await asyncio.sleep(0)
            if request["fate"] != "goes away":
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        seconds = {"is late": -1.0, "expires": 0.0005 * request["turns"]}.get(request["fate"], 30.0)
        running = asyncio.ensure_future(batcher.run(inputs, rows, Call(receive, seconds=seconds)))
        if request["fate"] == "is cancelled":
            for _ in range(request["turns"]):
                await asyncio.sleep(0)
            running.cancel()
        try:
            same(await running, runtime, inputs)
            return "answer" if not bad else "nonsense"
        except RuntimeError:
            return "bad" if bad else "harmed"
        except (Overloaded, Expired, Disconnected, asyncio.CancelledError) as error:
            return type(error).__name__

    async def scenario() -> None:
        batcher = Batcher(
            watched,  # type: ignore[arg-type]
            executor,
            max_batch=max_batch,
            window=window,
            queue=queue,
        )
        outcomes = await asyncio.gather(*(ask(batcher, request) for request in plan))
        await until(lambda: not batcher._running)
        for request, outcome in zip(plan, outcomes, strict=True):
            allowed = {
                "stays": set(),
                "is late": {"Expired"},
                "expires": {"Expired"},
                "is cancelled": {"CancelledError"},
                "goes away": {"Disconnected"},
            }[request["fate"]]
            usual = {"bad" if request["bad"] else "answer"} if request["fate"] != "is late" else set()
            assert outcome in usual | allowed | {"Overloaded"}
        if sum(request["rows"] for request in plan) <= queue:
            assert "Overloaded" not in outcomes
        assert empty(batcher)
        assert max(watched.sizes, default=0) <= max_batch

    run(scenario)


def test_rows_that_came_together_run_together(quick: Watched) -> None:
    async def scenario() -> None:
        batcher = Batcher(quick, max_batch=8)  # type: ignore[arg-type]
        calls = [Call() for _ in range(4)]
        await asyncio.gather(
            *(batcher.run(pair(rows), rows, call) for rows, call in zip((3, 2, 2, 4), calls, strict=True))
        )
        assert quick.sizes == [7, 4]
        assert [(call.rows, call.batch) for call in calls] == [(3, 7), (2, 7), (2, 7), (4, 4)]

    run(scenario)


def test_bad_values_harm_no_neighbour(quick: Watched, runtimes: dict[str, Runtime]) -> None:
    async def scenario() -> None:
        batcher = Batcher(quick)  # type: ignore[arg-type]
        sent = [pair(2), pair(1, tag=99), pair(3)]
        answers = await asyncio.gather(*(batcher.run(x, len(x["tag"]), Call()) for x in sent), return_exceptions=True)
        assert quick.sizes[0] == 6, "they did not run together"
        for number in (0, 2):
            same(answers[number], runtimes["pair"], sent[number])  # type: ignore[arg-type]
        assert isinstance(answers[1], RuntimeError)

    run(scenario)


def test_texts_of_different_lengths_do_not_mix(runtimes: dict[str, Runtime]) -> None:
    watched = Watched(runtimes["words"])

    async def scenario() -> None:
        batcher = Batcher(watched)  # type: ignore[arg-type]
        sent = [{"words": np.full((1, length), length, np.int32)} for length in (2, 2, 5, 2)]
        for answer, inputs in zip(await asyncio.gather(*(batcher.run(x, 1, Call()) for x in sent)), sent, strict=True):
            same(answer, runtimes["words"], inputs)
        assert watched.sizes == [2, 1, 1]

    run(scenario)


def test_nobody_runs_for_those_who_left(slow: Watched, executor: Executor) -> None:
    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def scenario() -> None:
        batcher = Batcher(slow, executor)  # type: ignore[arg-type]
        slow.open.clear()
        sent = [pair(1) for _ in range(5)]
        calls = [Call(), Call(), Call(seconds=0.02), Call(gone), Call()]
        asks = [asyncio.ensure_future(batcher.run(x, 1, call)) for x, call in zip(sent[:1], calls, strict=False)]
        await until(lambda: batcher._running)
        asks += [asyncio.ensure_future(batcher.run(x, 1, call)) for x, call in zip(sent[1:], calls[1:], strict=True)]
        await asyncio.sleep(0)
        assert batcher._rows == 4
        asks[1].cancel()
        await asyncio.wait(asks[1:4])  # while the model is still held up
        assert batcher._rows == 1, "those who left take up the queue"
        slow.open.set()
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds == [dict, asyncio.CancelledError, Expired, Disconnected, dict]
        assert [slow.ran(x) for x in sent] == [True, False, False, False, True]
        assert empty(batcher)

    run(scenario)


def test_who_leaves_while_the_model_runs_gets_nothing_and_breaks_nothing(slow: Watched, executor: Executor) -> None:
    async def scenario() -> None:
        batcher = Batcher(slow, executor)  # type: ignore[arg-type]
        slow.open.clear()
        sent = [pair(1), pair(1), pair(1)]
        leaver, late, stayer = asks = [
            asyncio.ensure_future(batcher.run(x, 1, call))
            for x, call in zip(sent, (Call(), Call(seconds=0.02), Call()), strict=True)
        ]
        await until(lambda: batcher._running)
        leaver.cancel()
        with pytest.raises(Expired):
            await late
        slow.open.set()
        same(await stayer, slow.runtime, sent[2])
        await asyncio.wait(asks)
        assert slow.sizes == [3] and leaver.cancelled() and empty(batcher)

    run(scenario)


def test_who_leaves_in_the_last_moment_is_not_run(quick: Watched) -> None:
    async def scenario() -> None:
        batcher = Batcher(quick)  # type: ignore[arg-type]
        leaver, stayer = (asyncio.create_task(batcher.run(pair(rows), rows, Call())) for rows in (2, 1))
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.wait([leaver, stayer])
        assert quick.sizes == [1] and empty(batcher)

    run(scenario)


def test_a_request_that_comes_too_late_is_not_run(quick: Watched) -> None:
    async def scenario() -> None:
        batcher = Batcher(quick)  # type: ignore[arg-type]
        with pytest.raises(Expired):
            await batcher.run(pair(1), 1, Call(seconds=-1))
        assert not quick.calls and empty(batcher)

    run(scenario)


def test_a_quick_request_behind_a_slow_one_keeps_its_deadline(runtimes: dict[str, Runtime], executor: Executor) -> None:
    class Mixed(Watched):
        def seconds(self, size: int) -> float:
            return 0.00002 * size

    watched = Mixed(runtimes["pair"])

    async def scenario() -> None:
        batcher = Batcher(watched, executor)  # type: ignore[arg-type]
        watched.open.clear()
        long = asyncio.ensure_future(batcher.run(pair(60), 60, Call()))
        short = asyncio.ensure_future(batcher.run(pair(1), 1, Call(seconds=0.02)))
        with pytest.raises(Expired):
            await short
        watched.open.set()
        await long

    run(scenario)


@pytest.mark.parametrize("rows", [20, 7, 8, 1])
@pytest.mark.parametrize("max_batch", [8, 1])
def test_a_large_request_runs_in_pieces(
    quick: Watched, runtimes: dict[str, Runtime], rows: int, max_batch: int
) -> None:
    async def scenario() -> None:
        batcher = Batcher(quick, max_batch=max_batch, queue=2)  # type: ignore[arg-type]
        inputs = pair(rows)
        same(await batcher.run(inputs, rows, Call()), runtimes["pair"], inputs)
        assert sum(quick.sizes) == rows and max(quick.sizes) <= max_batch and empty(batcher)

    run(scenario)


def test_models_whose_rows_may_not_mix_run_a_request_at_a_time(quick: Watched) -> None:
    async def scenario() -> None:
        batcher = Batcher(quick, together=False)  # type: ignore[arg-type]
        await asyncio.gather(*(batcher.run(pair(rows), rows, Call()) for rows in (3, 2, 100)))
        assert quick.sizes == [3, 2, 100]

    run(scenario)


def test_the_queue_is_bounded_in_rows(slow: Watched, executor: Executor) -> None:
    async def scenario() -> None:
        batcher = Batcher(slow, executor, queue=6)  # type: ignore[arg-type]
        slow.open.clear()

        def ask(rows: int) -> "asyncio.Task[Any]":
            return asyncio.create_task(batcher.run(pair(rows), rows, Call()))

        asks = [ask(100)]  # one is let in, however large
        await until(lambda: batcher._running)
        asks += [ask(3), ask(2), ask(1)]
        await asyncio.sleep(0)
        for rows in (1, 50):
            with pytest.raises(Overloaded, match="6 rows wait for this model, and 6 is the most that may") as caught:
                batcher.admit(rows)
            assert caught.value.retry_after > 0
        with pytest.raises(Overloaded):
            await ask(1)
        asks[2].cancel()
        await asyncio.wait([asks[2]])
        batcher.admit(2)  # at once: the place of one who left is free
        with pytest.raises(Overloaded):
            batcher.admit(3)
        asks += [ask(2)]
        await asyncio.sleep(0)
        slow.open.set()
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        assert [isinstance(outcome, dict) for outcome in outcomes] == [True, True, False, True, True]
        assert slow.sizes == [64, 36, 6] and empty(batcher)

    run(scenario)


@pytest.mark.parametrize("threads", [False, True])
def test_a_window_waits_for_company_and_closes_when_full(
    runtimes: dict[str, Runtime], executor: Executor, threads: bool
) -> None:
    watched = Watched(runtimes["pair"], seconds=1.0 if threads else 0.0)

    async def scenario() -> None:
        batcher = Batcher(watched, executor, window=1000, max_batch=6)  # type: ignore[arg-type]
        asks = [asyncio.create_task(batcher.run(pair(2), 2, Call(seconds=1000))) for _ in range(2)]
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not watched.calls
        asks += [asyncio.create_task(batcher.run(pair(2), 2, Call(seconds=1000)))]
        await asyncio.gather(*asks)
        assert watched.sizes == [6] and empty(batcher)

    run(scenario)


def test_a_window_closes_though_nobody_came(quick: Watched) -> None:
    async def scenario() -> None:
        batcher = Batcher(quick, window=0.02)  # type: ignore[arg-type]
        begun = asyncio.get_running_loop().time()
        await batcher.run(pair(1), 1, Call())
        assert asyncio.get_running_loop().time() - begun > 0.015
        leaver = asyncio.create_task(batcher.run(pair(1), 1, Call()))
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.wait([leaver])
        await batcher.run(pair(2), 2, Call())
        assert quick.sizes == [1, 2] and empty(batcher)

    run(scenario)


def test_the_loop_goes_on_while_a_slow_model_computes(
    runtimes: dict[str, Runtime], executor: Executor, quick: Watched
) -> None:
    async def scenario() -> None:
        slow, other = Batcher(runtimes["slow"], executor), Batcher(quick, executor)  # type: ignore[arg-type]
        computing = asyncio.create_task(slow.run({"input": np.zeros((1, 8, 8, 1), np.float32)}, 1, Call()))
        answers = 0
        await asyncio.sleep(0)
        while not computing.done():
            await other.run(pair(1), 1, Call())
            answers += 1
        assert all(len(array) == 1 for array in (await computing).values())
        assert answers > 10

    run(scenario)


def test_what_a_call_takes_is_known_by_its_size(runtimes: dict[str, Runtime]) -> None:
    runtime = runtimes["words"]
    runtime.run({"words": np.ones((1, 500_000), np.int32)})
    for _ in range(20):
        runtime.run({"words": np.ones((1, 3), np.int32)})
    assert runtime.seconds(500_000) > 10 * runtime.seconds(3), "a long text would run on the event loop"
    assert runtime.seconds(5_000_000) > 5 * runtime.seconds(500_000)
