"""BentoML: a service whose API is batchable; BentoML adapts the batch and the wait by itself."""

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
from common import arguments, load


@bentoml.service(workers=int(os.environ.get("PEER_WORKERS", "1")), traffic={"timeout": 60})
class Digits:
    def __init__(self) -> None:
        self.model = load()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        return self.model(instances.astype(np.float32))


if __name__ == "__main__":
    options = arguments()
    os.environ.update(PEER_WORKERS=str(options.workers), BENTOML_DO_NOT_TRACK="1")
    here = Path(__file__).resolve()
    where = ["--host", "127.0.0.1", "--port", str(options.port), "--working-dir", str(here.parent)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", "serve", "-q", *where, f"{here.stem}:Digits"])
