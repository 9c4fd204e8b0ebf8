"""llama.cpp without a server, run in its own environment: several texts in one batch, and how well it predicts.

Reads a request as JSON from its standard input, and writes an answer to its standard output.
"""

import ctypes
import json
import sys
import time
from typing import Any

import llama_cpp
import numpy as np


def batched(path: str, prompts: list[list[int]], count: int) -> dict[str, float]:
    """Greedily ``count`` tokens after each prompt, all texts in every step: tokens a second, all together."""
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx, parameters.n_seq_max = 512 * len(prompts), len(prompts)
    parameters.n_batch = parameters.n_ubatch = 512
    parameters.n_threads = parameters.n_threads_batch = 2
    context = llama_cpp.llama_init_from_model(model, parameters)
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    batch = llama_cpp.llama_batch_init(512, 0, 1)

    def decode(rows: list[tuple[int, int, int, bool]]) -> None:
        """One step with rows of (token, place, text, whether its scores are wanted)."""
        batch.n_tokens = len(rows)
        for number, (token, place, text, wanted) in enumerate(rows):
            batch.token[number], batch.pos[number] = token, place
            batch.n_seq_id[number], batch.seq_id[number][0] = 1, text
            batch.logits[number] = wanted
        if llama_cpp.llama_decode(context, batch):
            sys.exit("llama.cpp could not compute this batch.")

    def likeliest(row: int) -> int:
        scores = llama_cpp.llama_get_logits_ith(context, row)
        address = ctypes.addressof(scores.contents)
        return int(np.frombuffer((ctypes.c_float * vocabulary).from_address(address), np.float32).argmax())

    last = []
    for text, prompt in enumerate(prompts):
        decode([(token, place, text, place == len(prompt) - 1) for place, token in enumerate(prompt)])
        last.append(likeliest(len(prompt) - 1))
    started = time.perf_counter()
    for step in range(count):
        decode([(last[text], len(prompt) + step, text, True) for text, prompt in enumerate(prompts)])
        last = [likeliest(text) for text in range(len(prompts))]
    return {"tokens_per_second": len(prompts) * count / (time.perf_counter() - started)}


def losses(path: str, texts: list[list[int]]) -> dict[str, list[float]]:
    """How badly each token but the first is predicted, in nats."""
    model = llama_cpp.Llama(path, n_ctx=512, n_threads=2, n_threads_batch=2, logits_all=True, verbose=False)
    found: list[float] = []
    for tokens in texts:
        model.reset()
        model.eval(tokens)
        scores = np.array(model.scores[: len(tokens) - 1], np.float64)
        most = scores.max(axis=-1, keepdims=True)
        scores -= most + np.log(np.exp(scores - most).sum(axis=-1, keepdims=True))
        found += (-scores[np.arange(len(tokens) - 1), tokens[1:]]).tolist()
    return {"losses": found}


if __name__ == "__main__":
    request: dict[str, Any] = json.load(sys.stdin)
    functions: dict[str, Any] = {"batched": batched, "losses": losses}
    function = functions[request.pop("function")]
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)  # kept, for it is called until the end
    llama_cpp.llama_log_set(silent, ctypes.c_void_p())
    print(json.dumps(function(**request)))
