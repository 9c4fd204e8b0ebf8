"""Many texts at once: each is what it would be alone, to the last bit, whatever happens around it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aimaas_helpers import serving
from aimaas_helpers.errors import Overloaded
from aimaas_helpers.language.engine import Engine, open_litert
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.continuous import BLOCK, Chosen, Scheduler
from aimaas_helpers.serving.generation import Sampling, choose

CONTEXT = 192


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Engine]:
    """Makes engines with so many slots."""
    artefact = serving.export_language_model(tmp_path_factory.mktemp("language") / "smollm2")
    assert artefact.card.language is not None
    shape = artefact.card.language.shape
    calls, embed = open_litert(Path(artefact.path), shape, threads=2)
    return lambda slots: Engine(shape, calls, embed, slots=slots, context=CONTEXT)


class Writing:
    """One text: its prompt, how it is written, and all scores that it was written from."""

    def __init__(self, prompt: list[int], count: int, sampling: Sampling) -> None:
        self.prompt, self.count, self.sampling = prompt, count, sampling
        self.tokens: list[int] = []
        self.scores: list[np.ndarray] = []
        self.copied = 0
        self._random = np.random.default_rng(sampling.seed)

    def choose(self, scores: np.ndarray) -> Chosen:
        self.scores.append(scores.copy())
        token = choose(scores, self.sampling, self._random, self.prompt)
        return Chosen(token, len(self.scores) == self.count)

    async def run(self, scheduler: Scheduler, wait: float = 0.0, leave_after: int = 10**6) -> "Writing":
        await asyncio.sleep(wait)
        stream = scheduler.write(self.prompt, self.choose, Call())
        async for chosen, copied in stream:
            self.tokens.append(chosen.token)
            self.copied = copied
            if len(self.tokens) == leave_after:
                break
        await stream.aclose()
        return self


def together(engine: Engine, writings: list[Writing], **options: Any) -> None:
    async def run() -> None:
        scheduler = Scheduler(engine)
        waits = options.get("waits", [0.0] * len(writings))
        leaves = options.get("leaves", [10**6] * len(writings))
        await asyncio.gather(*[w.run(scheduler, *how) for w, *how in zip(writings, waits, leaves, strict=True)])

    asyncio.run(run())


def some_writings(seed: int, number: int) -> list[Writing]:
    """Prompts of many lengths, some of which begin alike, written greedily or by chance."""
    random = np.random.default_rng(seed)
    common = random.integers(100, 40_000, 3 * BLOCK).tolist()
    writings = []
    for text in range(number):
        shared = common[: int(random.integers(0, 3 * BLOCK + 1))]
        prompt = shared + random.integers(100, 40_000, int(random.integers(1, 40))).tolist()
        options: dict[str, Any] = {"temperature": 0.0} if text % 2 else {"seed": text, "top_p": 0.9, "top_k": 50}
        if text % 3 == 0:
            options["repetition_penalty"] = 1.3
        writings.append(Writing(prompt, int(random.integers(1, 25)), Sampling(1, **options)))
    return writings


@pytest.mark.parametrize("seed", range(4))
def test_each_text_is_what_it_would_be_alone(engines: Callable[[int], Engine], seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    number, slots = int(random.integers(2, 10)), int(random.integers(1, 6))
    crowd, single = some_writings(seed, number), some_writings(seed, number)
    leaves = [int(random.integers(1, 6)) if random.random() < 0.3 else 10**6 for _ in range(number)]
    together(engines(slots), crowd, waits=random.uniform(0, 0.3, number).tolist(), leaves=leaves)
    for one, expected, left in zip(crowd, single, leaves, strict=True):
        together(engines(1), [expected])
        assert one.tokens == expected.tokens[:left]
        for ours, theirs in zip(one.scores, expected.scores, strict=False):
            np.testing.assert_array_equal(ours, theirs)
    assert all(len(one.tokens) == min(one.count, left) for one, left in zip(crowd, leaves, strict=True))


def test_what_prompts_have_in_common_is_read_once(engines: Callable[[int], Engine]) -> None:
    begin = list(range(1000, 1000 + 3 * BLOCK))
    texts = [Writing([*begin, 5, 6, 7 + number], 4, Sampling(1, temperature=0.0)) for number in range(4)]
    together(engines(4), texts)
    assert [text.copied for text in texts] == [0, 3 * BLOCK, 3 * BLOCK, 3 * BLOCK]


def test_a_slot_remembers_its_last_text(engines: Callable[[int], Engine]) -> None:
    prompts = [list(range(1000, 1080)), list(range(1000, 1070)), list(range(2000, 2080)), list(range(1000, 1080))]
    texts = [Writing(prompt, 3, Sampling(1, temperature=0.0)) for prompt in prompts]

    async def run() -> None:
        scheduler = Scheduler(engines(1))
        for text in texts:
            await text.run(scheduler)

    asyncio.run(run())
    assert [text.copied for text in texts] == [0, 2 * BLOCK, 0, 0]
    assert texts[3].tokens == texts[0].tokens


def test_who_leaves_makes_room(engines: Callable[[int], Engine]) -> None:
    long = [Writing([9, 8, 7, number], 150, Sampling(1, temperature=0.0)) for number in range(3)]
    together(engines(1), long, leaves=[3, 2, 1])
    assert [len(text.tokens) for text in long] == [3, 2, 1]
    assert all(len(text.scores) < 40 for text in long)  # what nobody reads is not written


def test_who_waits_and_leaves_is_forgotten(engines: Callable[[int], Engine]) -> None:
    async def run() -> None:
        scheduler = Scheduler(engines(1))
        busy = asyncio.create_task(Writing([1, 2], 60, Sampling(1)).run(scheduler))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(Writing([1, 2], 60, Sampling(1)).run(scheduler))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not scheduler._waiting
        await busy

    asyncio.run(run())


def test_too_many_are_refused_at_once(engines: Callable[[int], Engine]) -> None:
    async def run() -> list[Any]:
        scheduler = Scheduler(engines(1), queue=2)
        texts = [Writing([1, 2, number], 10, Sampling(1)).run(scheduler) for number in range(5)]
        return await asyncio.gather(*texts, return_exceptions=True)

    results = asyncio.run(run())
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 2 and all(0 < error.retry_after < 60 for error in refused)
    assert all(len(result.tokens) == 10 for result in results if isinstance(result, Writing))


def test_a_slow_reader_slows_nobody_else(engines: Callable[[int], Engine]) -> None:
    async def run() -> None:
        scheduler = Scheduler(engines(2))
        stream = scheduler.write([5, 6], Writing([5, 6], 150, Sampling(1)).choose, Call())
        await anext(stream)  # and takes no more
        started = time.monotonic()
        other = await Writing([7, 8], 60, Sampling(1)).run(scheduler)
        assert len(other.tokens) == 60 and time.monotonic() - started < 30
        assert [chosen async for chosen, _ in stream][-1].over  # it was not lost meanwhile
        await stream.aclose()

    asyncio.run(run())


def test_what_goes_wrong_with_one_text_hurts_no_other(engines: Callable[[int], Engine]) -> None:
    class Broken(Writing):
        def choose(self, scores: np.ndarray) -> Chosen:
            if len(self.scores) == 2:
                raise ValueError("this text only")
            return super().choose(scores)

    async def run() -> list[Any]:
        scheduler = Scheduler(engines(2))
        texts = [Broken([1, 2], 10, Sampling(1)), Writing([1, 2], 10, Sampling(1))]
        return await asyncio.gather(*[text.run(scheduler) for text in texts], return_exceptions=True)

    broken, fine = asyncio.run(run())
    assert isinstance(broken, ValueError) and len(fine.tokens) == 10
