"""Which models there are: a folder of models, one model's folder, or one version, loaded and ready."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aimaas_helpers.errors import AimaasError, BadInput, Corrupt, NotFound
from aimaas_helpers.serving.artefact import CARD, ModelCard, open_artefact, version_folders
from aimaas_helpers.serving.runtime import Runtime
from aimaas_helpers.serving.tensors import Tensor, sentence_list


@dataclass(frozen=True)
class Model:
    """One loaded version of a model."""

    name: str
    version: int
    card: ModelCard
    runtime: Runtime

    @property
    def inputs(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.card.inputs}


class Repository:
    """The models under ``path``, every version of each loaded and warmed up.

    Folder names say what a model and a version are called, as in TensorFlow Serving; ``name`` replaces the name where
    ``path`` holds a single model. A version that is broken is refused, with the reason kept for ``versions``; the rest
    are served. Raises ``NotFound`` or ``Corrupt`` if nothing can be served.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None, threads: int = 1) -> None:
        self._loaded: dict[str, dict[int, Model | AimaasError]] = {}
        for model_name, version, folder in _find(Path(path), name):
            self._loaded.setdefault(model_name, {})[version] = _load(model_name, version, folder, threads)
        if not any(isinstance(item, Model) for versions in self._loaded.values() for item in versions.values()):
            reasons = " ".join(str(item) for versions in self._loaded.values() for item in versions.values())
            raise Corrupt(f"No model in {Path(path).as_posix()} can be served. {reasons}")

    @property
    def names(self) -> list[str]:
        """Names of the models, also of those none of whose versions can be served."""
        return sorted(self._loaded)

    def versions(self, name: str) -> dict[int, AimaasError | None]:
        """A model's versions, highest first, each with the reason if it was refused. Raises ``NotFound``."""
        found = self._versions(name)
        return {v: item if isinstance(item := found[v], AimaasError) else None for v in sorted(found, reverse=True)}

    def model(self, name: str, version: int | None = None) -> Model:
        """This version of the model; without one, the highest that was not refused. Raises ``NotFound``."""
        found = self._versions(name)
        if version is None:
            version = max((v for v, item in found.items() if isinstance(item, Model)), default=max(found))
        item = found.get(version)
        if item is None:
            raise NotFound(f"Model '{name}' has no version {version}; it has {_numbers(found)}.")
        if isinstance(item, AimaasError):
            raise NotFound(f"Version {version} of model '{name}' is not served: {item}")
        return item

    def _versions(self, name: str) -> dict[int, Model | AimaasError]:
        if name not in self._loaded:
            raise NotFound(f"There is no model '{name}'; served here: {sentence_list(self.names)}.")
        return self._loaded[name]


def _find(path: Path, name: str | None) -> Iterator[tuple[str, int, Path]]:
    """Every (name, version, folder) under ``path``, whichever of the three kinds of folder it is."""
    try:
        if not path.is_dir():
            raise NotFound(
                f"There is no folder {path.as_posix()}: export a model first, "
                "for example with serving.export(model, 'models/digits')."
            )
        if (path / CARD).is_file():
            artefact = open_artefact(path)
            yield name or artefact.name, artefact.version, path
        elif versions := version_folders(path):
            for version, folder in versions.items():
                yield name or path.resolve().name, version, folder
        else:
            models = [(item, version_folders(item)) for item in sorted(path.iterdir()) if item.is_dir()]
            if not any(versions for _, versions in models):
                raise NotFound(
                    f"{path.as_posix()} holds no model: expected MODEL/VERSION/{CARD} in it, "
                    "as serving.export(model, 'models/digits') writes."
                )
            if name is not None:
                raise BadInput(
                    f"{path.as_posix()} is a folder of models, which have names; give '{name}' to one model."
                )
            for item, versions in models:
                for version, folder in versions.items():
                    yield item.name, version, folder
    except OSError as error:
        raise Corrupt(f"{path.as_posix()} cannot be read ({error.strerror}).") from error


def _load(name: str, version: int, folder: Path, threads: int) -> Model | AimaasError:
    try:
        artefact = open_artefact(folder)
        runtime = Runtime(artefact.read_litert(), threads=threads)
        if not _agree(runtime.inputs, artefact.card.inputs) or not _agree(runtime.outputs, artefact.card.outputs):
            raise Corrupt(f"{folder.as_posix()} has a {CARD} that describes another model than its LiteRT file.")
    except AimaasError as error:
        return error
    return Model(name, version, artefact.card, runtime)


def _agree(found: dict[str, Tensor], said: tuple[Tensor, ...]) -> bool:
    return {(t.name, t.dtype) for t in found.values()} == {(t.name, t.dtype) for t in said}


def _numbers(versions: dict[int, Model | AimaasError]) -> str:
    return ", ".join(str(version) for version in sorted(versions))
