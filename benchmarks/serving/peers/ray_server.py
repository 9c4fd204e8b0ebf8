"""Ray Serve: a deployment with ``@serve.batch``, one replica a worker."""

import threading

import numpy as np
import ray
from common import arguments, load
from ray import serve
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=256)
class Digits:
    def __init__(self, folder: str, runtime: str) -> None:
        self.model = load(folder, runtime)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.001)
    async def predict(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        outputs = self.model(np.concatenate(inputs))
        return np.split(outputs, np.cumsum([len(rows) for rows in inputs])[:-1])

    async def __call__(self, request: Request) -> dict[str, list[list[float]]]:
        body = await request.json()
        outputs = await self.predict(np.array(body["instances"], np.float32))
        return {"predictions": outputs.tolist()}


if __name__ == "__main__":
    options = arguments()
    ray.init(address="local", include_dashboard=False, logging_level="warning")
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    deployment = Digits.options(num_replicas=options.workers, ray_actor_options={"num_cpus": 0.5})
    serve.run(deployment.bind(options.folder, options.runtime), route_prefix="/predict")
    threading.Event().wait()
