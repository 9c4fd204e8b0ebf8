"""MLServer: a custom runtime, adaptive batching, parallel workers; it speaks the Open Inference Protocol."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import arguments, load
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Digits(MLModel):
    async def load(self) -> bool:
        self.model = load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        outputs = self.model(rows.astype(np.float32, copy=False))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", outputs)])


if __name__ == "__main__":
    options = arguments()
    settings = {
        "host": "127.0.0.1",
        "http_port": options.port,
        "grpc_port": options.port + 1,
        "metrics_endpoint": None,
        "parallel_workers": options.workers if options.workers > 1 else 0,  # 0: in the server's own process
        "debug": False,
    }
    model = {
        "name": "digits",
        "implementation": "mlserver_server.Digits",
        "max_batch_size": 32,
        "max_batch_time": 0.001,
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        Path(folder, "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)
        subprocess.run([str(Path(sys.executable).with_name("mlserver")), "start", folder], check=True)
