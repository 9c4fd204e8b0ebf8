"""The language model's server against llama-cpp-python's: the same model file, the same prompts, the same client.

Run by `make bench`, or alone with --out results.json: a quarter of an hour, and some minutes more the first time,
when llama.cpp is compiled. Both servers are up all the time and take turns; the medians of the rounds count.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "serving"))

OURS, PEER = "this book", "llama-cpp-python"
USERS = (1, 4, 8)
TOKENS = 128
GOALS = {"decode": 1.2, "prefill": 2.0, "aggregate": 4.0}
STORIES = (
    "Once upon a time, in a village by the sea, there lived an old fisherman who",
    "The history of bread begins thousands of years ago, when people first",
    "It was a dark and stormy night, and the captain of the ship said to his crew:",
    "To learn a new language well, the most important thing is to",
    "The old clock in the tower had stopped many years ago. Every morning the baker",
    "When winter came to the mountains, the small family of foxes",
    "A good teacher knows that every child learns in a different way. That is why",
    "The train left the station at noon. In the last carriage sat a woman who",
)


def render(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    speed, machine = results["speed"], results["machine"]
    lines = ["| Measured | " + " | ".join(speed) + " | ratio | goal |", "|---|" + "---:|" * (len(speed) + 2)]
    for row, name, unit, digits in (
        ("prefill", "Reading a prompt of {prompt:,} tokens", "tokens/s", 0),
        ("decode", "Writing, one user", "tokens/s", 0),
        ("long", "Writing after that long prompt, one user", "tokens/s", 0),
        ("first", "First token of a short prompt, one user", "ms", 0),
        *((f"aggregate {users}", f"Writing, {users} users together", "tokens/s", 0) for users in USERS[1:]),
        ("between 8", "Between two tokens of one of 8 users", "ms", 1),
        ("memory", "Memory of the server", "MB", 0),
    ):
        values = [speed[server][row] for server in speed]
        lower = unit in ("ms", "MB")
        ratio = values[1] / values[0] if lower else values[0] / values[1]
        goal = GOALS.get("aggregate" if row == "aggregate 8" else row)
        cells = [f"{value:,.{digits}f}" for value in values] + [f"{ratio:.2f}×", f"{goal:g}×" if goal else ""]
        lines.append(f"| {name.format(prompt=results['prompt'])}, {unit} | " + " | ".join(cells) + " |")
    batch, parts, loss = results["batched"], results["parts"], results["losses"]
    lines += [
        "",
        f"A ratio above 1 is in the book's favour. {PEER}'s server writes one text after the other. llama.cpp itself "
        f"can write eight texts in one batch, without a server: {batch:,.0f} tokens/s.",
        "",
        "| A step of the book's server, ms | " + " | ".join(_users(part["users"]) for part in parts) + " |",
        "|---|" + "---:|" * len(parts),
        "| matrices (LiteRT) | " + " | ".join(f"{part['matrices']:.1f}" for part in parts) + " |",
        "| attention and cache (NumPy) | " + " | ".join(f"{part['rest']:.1f}" for part in parts) + " |",
        "| the same, if memory were the only limit | " + " | ".join(f"{part['limit']:.1f}" for part in parts) + " |",
        "",
        f"Each step reads {results['weights'] / 1e6:.0f} MB of weights; this machine read "
        f"{results['bandwidth']:.0f} GB/s with two threads.",
        "",
        "| Loss on {count:,} tokens of plays and reviews | nats a token | more than float32 |".format(
            count=loss["tokens"]
        ),
        "|---|---:|---:|",
        f"| float32 | {loss['float32']:.3f} | |",
        *(
            f"| {name} | {loss[name]['loss']:.3f} | {loss[name]['more']:+.3f} ± {loss[name]['error']:.3f} |"
            for name in (OURS, PEER)
        ),
        "",
        f"Measured on {machine['date']}: {machine['cores']} cores, {results['rounds']} rounds; "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        + ".",
    ]
    return "\n".join(lines)


def _users(count: int) -> str:
    return f"{count} user" + "s" * (count > 1)


@contextlib.contextmanager
def ours(folder: str) -> Iterator[tuple[str, int]]:
    from aimaas_helpers import serving

    serving.export_language_model(Path(folder) / "smollm2")
    with serving.local(folder, threads=2, context=2048) as service:
        yield service.url, service.pid


@contextlib.contextmanager
def peers(python: Path, model: Path, port: int = 8765) -> Iterator[tuple[str, int]]:
    command = [str(python), "-m", "llama_cpp.server", "--model", str(model), "--model_alias", "smollm2"]
    command += ["--n_ctx", "2048", "--n_batch", "512", "--n_threads", "2", "--n_threads_batch", "2"]
    command += ["--port", str(port), "--interrupt_requests", "false", "--verbose", "false"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:  # type: ignore[call-overload]
        try:
            for _ in range(300):
                time.sleep(0.2)
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=1)
                    break
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


async def write(client: Any, prompt: str, tokens: int) -> list[float]:
    """When each token came, in seconds from the request."""
    started, times = time.perf_counter(), []
    stream = await client.completions.create(
        model="smollm2", prompt=prompt, max_tokens=tokens, temperature=0, stream=True
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].text:
            times.append(time.perf_counter() - started)
    return times


async def measure(url: str, round: int, long: str) -> dict[str, float]:
    """One round: how fast a long prompt is read and answered, and how fast one user and several are written to."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    http = DefaultAsyncHttpxClient(trust_env=False, timeout=300)
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=http) as client:
        found: dict[str, float] = {}
        fresh = f"{round} {time.time():.6f} "  # no prompt begins like an earlier one: nothing is known of it
        first, *others = await write(client, fresh + long, TOKENS)
        found["prefill"], found["long"] = first, len(others) / (others[-1] - first)
        for users in USERS:
            prompts = [f"{fresh}{users} {story}" for story in STORIES[:users]]
            started = time.perf_counter()
            times = await asyncio.gather(*[write(client, prompt, TOKENS) for prompt in prompts])
            seconds = time.perf_counter() - started
            found[f"aggregate {users}"] = sum(map(len, times)) / seconds
            found[f"between {users}"] = 1000 * median((each[-1] - each[0]) / (len(each) - 1) for each in times)
            if users == 1:
                found["first"] = 1000 * times[0][0]
                found["decode"] = 1000 / found["between 1"]
        return found


def parts(engine: Any, users: int, bandwidth: float, weights: int) -> dict[str, float]:
    """Where a step's time goes when so many texts of 200 tokens are written; milliseconds, medians."""
    from aimaas_helpers.language.engine import Piece

    calls = dict(engine._calls)
    inside = 0.0

    def timed(call: Any) -> Any:
        def run(**inputs: Any) -> Any:
            nonlocal inside
            started = time.perf_counter()
            result = call(**inputs)
            inside += time.perf_counter() - started
            return result

        return run

    engine._calls = {name: timed(call) for name, call in calls.items()}
    whole, matrices = [], []
    for place in range(200, 240):
        inside, started = 0.0, time.perf_counter()
        engine.step([Piece(user, place, [500 + user]) for user in range(users)])
        whole.append(1000 * (time.perf_counter() - started))
        matrices.append(1000 * inside)
    engine._calls = calls
    return {
        "users": users,
        "matrices": median(matrices),
        "rest": median(whole) - median(matrices),
        "limit": weights / bandwidth / 1e6,
    }


def read_bandwidth() -> float:
    """GB/s that two threads read from memory together, at best of ten."""
    import numpy as np

    halves = np.ones((2, 64 * 2**20), np.float32)  # 512 MB
    with ThreadPoolExecutor(2) as pool:
        times = []
        for _ in range(10):
            started = time.perf_counter()
            list(pool.map(np.max, halves))
            times.append(time.perf_counter() - started)
    return halves.nbytes / min(times) / 1e9


def losses(engine: Any, texts: Sequence[Sequence[int]]) -> Any:
    """How badly each token but the first is predicted, in nats."""
    import numpy as np

    from aimaas_helpers.language.engine import Piece

    found = []
    for tokens in texts:
        scores = engine.step([Piece(0, 0, tokens)], every=True)[:-1].astype(np.float64)
        most = scores.max(axis=-1, keepdims=True)
        scores -= most + np.log(np.exp(scores - most).sum(axis=-1, keepdims=True))
        found.append(-scores[np.arange(len(tokens) - 1), tokens[1:]])
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where to keep the results, for the page on speed")
    arguments = parser.parse_args()

    from aimaas_helpers.__main__ import begin_with_large_pages

    begin_with_large_pages()  # as the book's server does; llama.cpp gains nothing by it
    from importlib.metadata import version

    import environment
    import numpy as np
    import psutil

    from aimaas_helpers import data, serving
    from aimaas_helpers.language import graph
    from aimaas_helpers.language.engine import Engine, open_litert
    from aimaas_helpers.language.weights import Weights

    python, model = environment.python("language"), data.fetch("smollm2")

    def ask_peer(**request: Any) -> Any:
        done = subprocess.run(
            [python, HERE / "peer.py"], input=json.dumps(request | {"path": str(model)}), capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stderr)
        return json.loads(done.stdout)

    plays, reviews = data.load("shakespeare", quiet=True), data.load("reviews", quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        artefact = serving.export_language_model(Path(folder) / "smollm2")
        assert artefact.card.language is not None
        shape, tokenizer = artefact.card.language.shape, artefact.tokenizer()
        prose = [plays.test.x[0][2000:], plays.test.x[1][2000:], "\n".join(reviews.test.x)]
        texts = [tokenizer.encode(text[:3000])[:400] for text in prose]
        long = tokenizer.encode(plays.test.x[2][2000:8000])[:1000]
        words = b"".join(map(tokenizer.decode, long)).decode()

        rounds: dict[str, list[dict[str, float]]] = {OURS: [], PEER: []}
        memory = {}
        with ours(folder) as mine, peers(python, model) as theirs:
            for round in range(-1, arguments.rounds):  # the first does not count
                for name, (url, _) in {OURS: mine, PEER: theirs}.items():
                    found = asyncio.run(measure(url, round, words))
                    found["prefill"] = len(long) / found["prefill"]
                    rounds[name] += [found] * (round >= 0)
                    print(round, name, {key: round_to(value) for key, value in found.items()}, flush=True)
            for name, (_, pid) in {OURS: mine, PEER: theirs}.items():
                memory[name] = psutil.Process(pid).memory_info().rss / 1e6
        prompts = [tokenizer.encode(story) for story in STORIES]
        batched = [ask_peer(function="batched", prompts=prompts, count=TOKENS)["tokens_per_second"] for _ in range(3)]

        bandwidth = read_bandwidth()
        weights = sum(file.stat().st_size for file in artefact.path.glob("*.tflite"))
        engine = Engine(shape, *open_litert(artefact.path, shape, threads=2), slots=8, context=512)
        shares = [parts(engine, users, bandwidth, weights) for users in USERS]
        source = Weights(model)
        embedding = source.array("token_embd")
        exact = Engine(shape, dict(graph.functions(source)), lambda tokens: embedding[tokens], slots=1, context=512)
        reference = losses(exact, texts)
        found_losses: dict[str, Any] = {"tokens": len(reference), "float32": float(reference.mean())}
        theirs_losses = np.array(ask_peer(function="losses", texts=texts)["losses"])
        for name, values in {OURS: losses(engine, texts), PEER: theirs_losses}.items():
            more = values - reference
            error = 1.96 * more.std() / np.sqrt(len(more))
            found_losses[name] = {"loss": float(values.mean()), "more": float(more.mean()), "error": float(error)}

    speed = {
        name: {key: median(each[key] for each in found) for key in found[0]} | {"memory": memory[name]}
        for name, found in rounds.items()
    }
    versions = {name: version(name) for name in ("ai-edge-litert", "numpy")} | {PEER: peer_version()}
    results = {
        "machine": {"date": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "versions": versions},
        "rounds": arguments.rounds,
        "prompt": len(long),
        "weights": weights,
        "bandwidth": bandwidth,
        "speed": speed,
        "batched": median(batched),
        "parts": shares,
        "losses": found_losses,
    }
    print(render(results))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def round_to(value: float) -> float:
    return round(value, 1)


def peer_version() -> str:
    lines = (HERE / "requirements.in").read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith("llama-cpp-python"))


if __name__ == "__main__":
    main()
