"""A model on disk: a folder ``name/version/`` that this server and TensorFlow Serving both read.

It holds a SavedModel, the same model as ``model.tflite`` for the LiteRT runtime, and ``model_card.json``, which says
what the model is and carries the SHA-256 of ``model.tflite``. TensorFlow is imported only when a model is exported.
"""

import contextlib
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Protocol

import msgspec

from aimaas_helpers.data import catalogue
from aimaas_helpers.errors import BadInput, Corrupt, NotFound, Unwritable
from aimaas_helpers.language import packing
from aimaas_helpers.language.packing import TOKENIZER
from aimaas_helpers.language.shape import Shape
from aimaas_helpers.language.tokenizer import Tokenizer
from aimaas_helpers.serving.codecs import Codec, Text, Utf8
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


class Language(msgspec.Struct, frozen=True):
    """What a card says of a language model beside its size: how a conversation is written, what ends a text."""

    shape: Shape
    template: str
    special: dict[str, int]
    ends: tuple[int, ...]


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What ``model_card.json`` says.

    ``sha256`` is that of ``model.tflite``; a language model, which has several files, has theirs in ``files``.
    """

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
    language: Language | None = None
    files: dict[str, str] = {}


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
        return self._read(LITERT, self.card.sha256)

    def tokenizer(self) -> Tokenizer:
        """A language model's tokenizer."""
        assert self.card.language is not None
        return Tokenizer.open(self.path / TOKENIZER, self.card.language.special, self.card.language.template)

    def verify(self) -> None:
        """Raises ``Corrupt`` unless every file is what was exported."""
        for name, digest in (self.card.files or {LITERT: self.card.sha256}).items():
            self._read(name, digest)

    def _read(self, name: str, digest: str) -> bytes:
        file = self.path / name
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            raise Corrupt(f"{file.as_posix()} is missing: export the model again.") from None
        except OSError as error:
            raise Corrupt(f"{file.as_posix()} cannot be read ({error.strerror}).") from error
        if hashlib.sha256(content).hexdigest() != digest:
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
    artefact.verify()
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

    try:
        numbers = msgspec.to_builtins(dict(metrics or {}), enc_hook=lambda value: value.tolist())
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInput("The metrics of a model card are numbers with names, such as {'accuracy': 0.95}.") from error
    with _staged(folder) as (name, staging):
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
            packages=_packages("aimaas-helpers", "keras", "tensorflow"),
            codecs=dict(codecs or {}),
            capabilities=tuple(capabilities),
        )
        _check_interface(card)
        return _publish(staging, Path(folder), card)


def export_language_model(folder: str | os.PathLike[str]) -> Artefact:
    """Write SmolLM2-135M-Instruct as the next version in ``folder``, whose last part is the model's name.

    It is what set-up made of the model's own file, ``data.fetch("smollm2")``: the functions of ``language.graph``
    with matrices of eight bits, and the tokenizer. Only this server reads such a version. Raises what ``data.fetch``
    raises, ``BadInput`` for a name that cannot be, ``Unwritable`` if the folder cannot be written.
    """
    with _staged(folder) as (name, staging):
        about = packing.unpack(staging)
        source = catalogue.find("smollm2")
        card = ModelCard(
            name=name,
            version=0,
            task="Continue a text, or answer in a conversation, in English.",
            notes="It invents facts, counts and calculates badly, and knows no dates. Do not rely on what it says.",
            data=TrainingData(source.name, source.title, source.licence, source.citation),
            metrics={},
            parameters=about.parameters,
            inputs=(),
            outputs=(),
            sha256="",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            packages=_packages("aimaas-helpers", "gguf", "tensorflow"),
            capabilities=("completions", "chat"),
            language=Language(about.shape, about.template, about.special, about.ends),
            files={file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(staging.iterdir())},
        )
        return _publish(staging, Path(folder), card)


@contextlib.contextmanager
def _staged(folder: str | os.PathLike[str]) -> Iterator[tuple[str, Path]]:
    """The model's name, and an empty folder that is gone afterwards. Raises ``BadInput`` and ``Unwritable``."""
    folder = Path(folder)
    name = folder.resolve().name
    if not re.fullmatch(r"\w[\w. -]*", name):
        raise BadInput(f"'{name}' cannot name a model: use letters, digits, '.', '-' and '_', as in models/digits.")
    staging = folder / f".export-{uuid.uuid4().hex}"
    try:
        staging.mkdir(parents=True)
        yield name, staging
    except OSError as error:
        raise Unwritable(f"{folder.as_posix()} cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _packages(*names: str) -> dict[str, str]:
    return {name: package_version(name) for name in names}


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
        if card.language is not None and capability in ("completions", "chat"):
            continue
        if capability not in CAPABILITIES:
            raise BadInput(f"'{capability}' is no capability; there are {sentence_list(list(CAPABILITIES))}.")
        shape = CAPABILITIES[capability]
        kind, wanted = (Text, "codec of texts") if capability == "embeddings" else (Utf8, "codecs.Utf8")
        if len(tensors) != 1 or not all(isinstance(card.codecs.get(name), kind) for name in tensors):
            raise BadInput(f"A model with '{capability}' has one input, with a {wanted} in `codecs`.")
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
