"""A model on disk: a folder ``name/version/`` that this server and TensorFlow Serving both read.

It holds a SavedModel, the same model as ``model.tflite`` for the LiteRT runtime, and ``model_card.json``, which says
what the model is and carries the SHA-256 of ``model.tflite``. TensorFlow is imported only when a model is exported.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Protocol

import msgspec

from aimaas_helpers.errors import BadInput, Corrupt, NotFound, Unwritable
from aimaas_helpers.serving.codecs import Codec, Utf8
from aimaas_helpers.serving.tensors import Tensor, sentence_list, shape_text

CARD = "model_card.json"
LITERT = "model.tflite"

CAPABILITIES: dict[str, tuple[int | None, ...]] = {
    "embeddings": (None, None),
    "completions": (None, 256),
    "chat": (None, 256),
}
"""What a model may offer beside plain inference, and the shape of the one output that it then has."""


class TrainingData(msgspec.Struct, frozen=True):
    """Where a model's knowledge comes from."""

    name: str
    title: str
    licence: str
    citation: str
    classes: tuple[str, ...] = ()


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What ``model_card.json`` says."""

    name: str
    version: int
    task: str
    notes: str
    data: TrainingData | None
    metrics: dict[str, Any]
    parameters: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sha256: str
    created: str
    packages: dict[str, str]
    codecs: dict[str, Codec] = {}
    capabilities: tuple[str, ...] = ()


class Dataset(Protocol):
    """What a card wants to know of a data set; ``data.load`` returns such objects."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def citation(self) -> str: ...


@dataclass(frozen=True, repr=False)
class Artefact:
    """One version of a model on disk: its folder and its card."""

    path: Path
    card: ModelCard

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def version(self) -> int:
        return self.card.version

    def __repr__(self) -> str:
        card = self.card
        head = f"Model '{card.name}', version {card.version}: {card.parameters:,} parameters"
        return "\n".join([head, *(f"  in   {t}" for t in card.inputs), *(f"  out  {t}" for t in card.outputs)])

    def read_litert(self) -> bytes:
        """The LiteRT model, verified against the card. Raises ``Corrupt``."""
        file = self.path / LITERT
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            raise Corrupt(f"{file.as_posix()} is missing: export the model again.") from None
        except OSError as error:
            raise Corrupt(f"{file.as_posix()} cannot be read ({error.strerror}).") from error
        if hashlib.sha256(content).hexdigest() != self.card.sha256:
            raise Corrupt(
                f"{file.as_posix()} is not the file that was exported (its SHA-256 is not the one in {CARD}): "
                "it was changed or cut short; export the model again."
            )
        return content


def open_artefact(path: str | os.PathLike[str]) -> Artefact:
    """Read and verify one version folder.

    Raises ``NotFound`` if there is no model, ``Corrupt`` if what is there is not what was exported.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise NotFound(f"There is no folder {folder.as_posix()}.")
    try:
        card = msgspec.json.decode((folder / CARD).read_bytes(), type=ModelCard)
    except FileNotFoundError:
        raise NotFound(
            f"{folder.as_posix()} is not a version of a model: it holds no {CARD}; serving.export writes one."
        ) from None
    except (OSError, ValueError, RecursionError, BadInput) as error:  # msgspec's errors are ValueErrors
        raise Corrupt(f"{(folder / CARD).as_posix()} cannot be read ({error}).") from error
    try:
        _check_interface(card)
    except BadInput as error:
        raise Corrupt(f"{(folder / CARD).as_posix()} contradicts itself. {error}") from error
    artefact = Artefact(folder, card)
    artefact.read_litert()
    return artefact


def version_folders(folder: Path) -> dict[int, Path]:
    """The versions in a model's folder, lowest first: subfolders whose name is a number."""
    found = (item for item in folder.iterdir() if re.fullmatch(r"[0-9]{1,18}", item.name) and item.is_dir())
    return dict(sorted((int(item.name), item) for item in found))


def export(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    task: str = "",
    data: Dataset | None = None,
    metrics: Mapping[str, Any] | None = None,
    notes: str = "",
    codecs: Mapping[str, Codec] | None = None,
    capabilities: Sequence[str] = (),
) -> Artefact:
    """Write a Keras model as the next version in ``folder``, whose last part is the model's name.

    The model is a ``Sequential`` with a known input shape or a functional one. Its inputs and outputs keep the names
    given to ``keras.Input`` and to the last layers; unnamed ones become ``input`` and ``output``. The version appears
    all at once: a server that looks at ``folder`` meanwhile never sees half of it.

    ``task`` and ``notes`` (intended use, limits), ``data`` and ``metrics`` (numbers) go into the model card. ``codecs``
    names inputs for which clients send files or texts, and says with ``serving.codecs`` how those become numbers.
    ``capabilities`` opens the OpenAI-compatible interface to a model with one input, a text: "embeddings" if its one
    output is (batch, numbers), "completions" and "chat" if it is (batch, 256): the score of each byte to come next.
    Raises ``BadInput`` if the model cannot be exported, ``Unwritable`` if the folder cannot be written.
    """
    from aimaas_helpers.serving import convert  # imports TensorFlow

    folder = Path(folder)
    name = folder.resolve().name
    if not re.fullmatch(r"\w[\w. -]*", name):
        raise BadInput(f"'{name}' cannot name a model: use letters, digits, '.', '-' and '_', as in models/digits.")
    try:
        numbers = msgspec.to_builtins(dict(metrics or {}), enc_hook=lambda value: value.tolist())
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInput("The metrics of a model card are numbers with names, such as {'accuracy': 0.95}.") from error
    staging = folder / f".export-{uuid.uuid4().hex}"
    try:
        staging.mkdir(parents=True)
        inputs, outputs = convert.write(model, name, staging, staging / LITERT)
        card = ModelCard(
            name=name,
            version=0,
            task=task,
            notes=notes,
            data=_training_data(data),
            metrics=numbers,
            parameters=int(model.count_params()),
            inputs=inputs,
            outputs=outputs,
            sha256=hashlib.sha256((staging / LITERT).read_bytes()).hexdigest(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            packages={package: package_version(package) for package in ("aimaas-helpers", "keras", "tensorflow")},
            codecs=dict(codecs or {}),
            capabilities=tuple(capabilities),
        )
        _check_interface(card)
        return _publish(staging, folder, card)
    except OSError as error:
        raise Unwritable(f"{folder.as_posix()} cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_interface(card: ModelCard) -> None:
    """Raises ``BadInput`` unless codecs and capabilities suit the model's inputs and outputs."""
    tensors = {tensor.name: tensor for tensor in card.inputs}
    for name, codec in card.codecs.items():
        if name not in tensors:
            raise BadInput(f"There is no input '{name}' for a codec; there are {sentence_list(list(tensors))}.")
        if not isinstance(codec, Codec):
            raise BadInput(f"The codec of the input '{name}' is one of serving.codecs, not {codec!r:.80}.")
        tensor = tensors[name]
        if tensor.dtype != codec.dtype or not tensor.fits((1, *codec.shape)):
            raise BadInput(
                f"The codec of the input '{name}' gives {codec.dtype} {shape_text((None, *codec.shape))}, "
                f"but the model takes {tensor.dtype} {shape_text(tensor.shape)}."
            )
    for capability in card.capabilities:
        if capability not in CAPABILITIES:
            raise BadInput(f"'{capability}' is no capability; there are {sentence_list(list(CAPABILITIES))}.")
        shape = CAPABILITIES[capability]
        if len(tensors) != 1 or not all(isinstance(card.codecs.get(name), Utf8) for name in tensors):
            raise BadInput(f"A model with '{capability}' has one input, with a codecs.Utf8 in `codecs`.")
        sizes = [tensor.shape for tensor in card.outputs]
        if len(sizes) != 1 or len(sizes[0]) != 2 or shape[1] not in (None, sizes[0][1]):
            raise BadInput(
                f"A model with '{capability}' has one output, of shape {shape_text(shape)}; "
                f"this one has {', '.join(map(str, card.outputs))}."
            )


def _training_data(data: Dataset | None) -> TrainingData | None:
    if data is None:
        return None
    try:
        classes = tuple(str(label) for label in getattr(data, "classes", None) or ())
        return TrainingData(data.name, data.title, data.licence, data.citation, classes)
    except AttributeError as error:
        raise BadInput("`data` is a data set as data.load returns it, with name, title, licence, citation.") from error


def _publish(staging: Path, folder: Path, card: ModelCard) -> Artefact:
    """Give the finished export the next free number, by one rename."""
    while True:
        card = msgspec.structs.replace(card, version=max(version_folders(folder), default=0) + 1)
        (staging / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
        target = folder / str(card.version)
        try:
            staging.rename(target)
        except OSError:
            if not target.exists():  # else another export took this number: try the next
                raise
        else:
            return Artefact(target, card)
