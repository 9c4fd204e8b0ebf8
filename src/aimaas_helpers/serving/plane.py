"""The data plane: everything a protocol needs, nothing of HTTP."""

from collections.abc import Collection, Mapping

from aimaas_helpers.errors import AimaasError, BadInput
from aimaas_helpers.serving.repository import Model, Repository
from aimaas_helpers.serving.tensors import Array, sentence_list, shape_text


class Plane:
    """Answers for the models of a repository; protocols translate to and from it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return self._repository.names

    def versions(self, name: str) -> dict[int, AimaasError | None]:
        """A model's versions, highest first, each with the reason if it was refused. Raises ``NotFound``."""
        return self._repository.versions(name)

    def model(self, name: str, version: int | None = None) -> Model:
        """This version, or the highest that is served. Raises ``NotFound``."""
        return self._repository.model(name, version)

    def infer(self, model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for inputs by name, one row of each for every row sent.

        Raises ``BadInput`` if a name, type or shape is not the model's, or if the values make it fail.
        """
        check_names(model, inputs)
        rows: dict[str, int] = {}
        for name, tensor in model.inputs.items():
            array = inputs[name]
            if array.dtype.name != tensor.dtype:
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
        try:
            return model.runtime.run(inputs)
        except (RuntimeError, ValueError) as error:
            raise BadInput(f"Model '{model.name}' cannot compute with these values ({error}).") from error


def check_names(model: Model, names: Collection[str]) -> None:
    """Raises ``BadInput`` unless the names are exactly those of the model's inputs."""
    if set(names) != model.inputs.keys():
        raise BadInput(
            f"Model '{model.name}' has the inputs {sentence_list(list(model.inputs))}; "
            f"this request sent {sentence_list(sorted(names))}."
        )
