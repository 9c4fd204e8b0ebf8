"""Told to stop, a server first says so, then finishes what it has taken on, then goes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import requests
from servers import Server, get, images, until

from aimaas_helpers.serving import load

Serve = Callable[..., Server]
Questions = Callable[[Server], list[load.Request]]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_accepted_is_answered(
    models: Path, serve: Serve, keras_models: dict[str, keras.Model], beside: ThreadPoolExecutor, workers: int
) -> None:
    server = serve(models, workers=workers, queue=1000)
    batches = [images(60, seed) for seed in range(8)]

    def ask(batch: object) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{server.url}/v1/models/heavy:predict", json={"instances": batch.tolist()})

    replies = [beside.submit(ask, batch) for batch in batches]
    until(lambda: server.in_progress() == len(batches))
    server.process.terminate()
    for batch, reply in zip(batches, replies, strict=True):
        right = keras_models["heavy"].predict(batch, verbose=0)
        np.testing.assert_allclose(reply.result().json()["predictions"], right, atol=1e-3)
    assert server.process.wait(20) == 0
    assert not server.answers() and "Traceback" not in server.words()


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_unready_before_it_closes(
    models: Path, serve: Serve, questions: Questions, beside: ThreadPoolExecutor, workers: int
) -> None:
    server = serve(models, workers=workers, drain=3)
    answers = beside.submit(load.closed, questions(server), connections=8, seconds=1.5, warm_up=0)
    until(server.in_progress)
    server.process.terminate()
    until(lambda: get(f"{server.url}/v2/health/ready").status_code == 503, 2)
    server.process.terminate()  # once more, as managers of services do: it must not be hastened
    assert get(f"{server.url}/v2/health/live").status_code == 200
    assert server.answers("/v1/models/exact")
    result = answers.result()
    assert result.faults.total() == 0 and set(result.codes) == {200}, result
    assert server.process.wait(20) == 0
    assert not server.answers()
