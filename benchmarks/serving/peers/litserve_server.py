"""LitServe: workers that each hold the model, ZeroMQ between them and as many HTTP servers.

``PEER_BATCH`` is the largest batch. 1, LitServe's default, costs less for models as small as these.
"""

import os

import litserve
import numpy as np
from common import arguments, load


class Digits(litserve.LitAPI):
    def setup(self, device):
        self.model = load()

    def decode_request(self, request):
        return np.array(request["instances"], np.float32)

    def batch(self, inputs):
        self.sizes = [len(rows) for rows in inputs]
        return np.concatenate(inputs)

    def predict(self, rows):
        return self.model(rows)

    def unbatch(self, output):
        return np.split(output, np.cumsum(self.sizes)[:-1])

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    options = arguments()
    batch = int(os.environ.get("PEER_BATCH", "1"))
    server = litserve.LitServer(
        Digits(max_batch_size=batch, batch_timeout=0.001 if batch > 1 else 0.0),
        accelerator="cpu",
        workers_per_device=options.workers,
        fast_queue=True,  # its documentation: for more than 100 requests a second
    )
    server.run(host="127.0.0.1", port=options.port, log_level="warning", generate_client_file=False)
