"""Which models there are, which versions of them are loaded, and which of these answers a request."""

import contextlib
import functools
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from aimaas_helpers.errors import AimaasError, BadInput, Corrupt, NotFound
from aimaas_helpers.language.engine import Engine, Piece, open_litert
from aimaas_helpers.serving import signing
from aimaas_helpers.serving.artefact import CARD, Artefact, ModelCard, open_artefact, version_folders
from aimaas_helpers.serving.batching import Batcher
from aimaas_helpers.serving.continuous import Scheduler
from aimaas_helpers.serving.language import LanguageGenerator
from aimaas_helpers.serving.routing import Routing, read_routing
from aimaas_helpers.serving.runtime import Runtime
from aimaas_helpers.serving.settings import Settings
from aimaas_helpers.serving.tensors import Tensor, sentence_list

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Model:
    """One loaded version of a model; ``inputs`` and ``outputs`` are what clients send and get.

    A language model has none of them, and a ``writer`` in the place of ``runtime`` and ``batcher``.
    """

    name: str
    version: int
    card: ModelCard
    runtime: Runtime | None = None
    batcher: Batcher | None = None
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    writer: LanguageGenerator | None = None


@dataclass(frozen=True)
class _Entry:
    """What is known of one model; replaced as a whole, so that a request never sees half of a change."""

    loaded: Mapping[int, Model] = field(default_factory=dict)
    faults: Mapping[int, AimaasError] = field(default_factory=dict)
    stamps: Mapping[int, Stamp] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)
    doubt: str = ""  # why what the routing file says now is not followed

    @functools.cached_property
    def standing(self) -> int:
        """The version that answers requests that name none, the canary's share aside."""
        ordinary = [number for number in self.loaded if number != self.routing.canary] or list(self.loaded)
        return self.routing.version or max(ordinary, default=max(self.faults, default=1))


class Repository:
    """The models under ``path``: a folder of models, one model's folder, or one version.

    Folder names say what a model and a version are called, as in TensorFlow Serving; ``name`` replaces the name where
    ``path`` holds a single model. A version that is broken is refused, with the reason kept for ``versions``; the rest
    are served. Raises ``NotFound`` or ``Corrupt`` if nothing can be served, ``BadInput`` if there is no public key.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        settings: Settings | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.path = Path(path)
        self._name = name
        self._settings = settings or Settings()
        self._executor = executor
        self._entries: dict[str, _Entry] = {}
        self._counts: dict[str, int] = {}
        self._unloaded: set[str] = set()
        if self._settings.public_key and not Path(self._settings.public_key).is_file():
            raise BadInput(f"There is no file {self._settings.public_key}, which is to hold the public key.")
        if not _find(self.path, name):
            raise NotFound(
                f"{self.path.as_posix()} holds no model: expected MODEL/VERSION/{CARD} in it, "
                "as serving.export(model, 'models/digits') writes."
            )
        self.refresh()
        if not any(entry.loaded for entry in self._entries.values()):
            reasons = " ".join(str(fault) for entry in self._entries.values() for fault in entry.faults.values())
            raise Corrupt(f"No model in {self.path.as_posix()} can be served. {reasons}")

    @property
    def names(self) -> list[str]:
        """Names of the models, also of those none of whose versions can be served."""
        return sorted(self._entries)

    def versions(self, name: str) -> dict[int, AimaasError | None]:
        """A model's versions, highest first, each with the reason if it was refused. Raises ``NotFound``.

        A version that was refused after its files changed may still be served as it was before.
        """
        entry = self._entry(name)
        return {v: entry.faults.get(v) for v in sorted({*entry.loaded, *entry.faults}, reverse=True)}

    def routing(self, name: str) -> Routing:
        """Which versions of a model answer what. Raises ``NotFound``."""
        return self._entry(name).routing

    def model(self, name: str, version: int | None = None, label: str | None = None) -> Model:
        """This version, the one with this label, or the one whose turn it is. Raises ``NotFound``."""
        entry = self._entry(name)
        if label is not None:
            if label not in entry.routing.labels:
                raise NotFound(
                    f"Model '{name}' has no label '{label}'; it has {sentence_list(sorted(entry.routing.labels))}."
                )
            version = entry.routing.labels[label]
        elif version is None:
            version = self._turn(name, entry)
        if version in entry.loaded:
            return entry.loaded[version]
        if version in entry.faults:
            raise NotFound(f"Version {version} of model '{name}' is not served: {entry.faults[version]}")
        known = ", ".join(str(number) for number in sorted({*entry.loaded, *entry.faults}))
        raise NotFound(f"Model '{name}' has no version {version}; it has {known or 'none'}.")

    def standing(self, name: str) -> int:
        """The version that answers requests that name none, the canary's share aside. Raises ``NotFound``."""
        return self._entry(name).standing

    def _turn(self, name: str, entry: _Entry) -> int:
        if entry.routing.canary in entry.loaded:
            self._counts[name] = count = self._counts.get(name, 0) + 1
            if entry.routing.share(count):
                return entry.routing.canary
        return self.standing(name)

    def _entry(self, name: str) -> _Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise NotFound(f"There is no model '{name}'; served here: {sentence_list(self.names)}.") from None

    def refresh(self, name: str | None = None) -> list[str]:
        """Look at the folders, all or one model's: load what is new, refuse what is broken, drop what is gone.

        New versions are warm before they answer, and old ones answer until then. Returns a sentence for every change.
        Takes as long as loading does: call it from a thread. Raises ``Corrupt`` if the folder cannot be read.
        """
        said = []
        found = _find(self.path, self._name)
        if name is not None:
            if name not in found and name not in self._entries:
                raise NotFound(f"There is no model '{name}' in {self.path.as_posix()}.")
            self._unloaded.discard(name)
        for model in sorted({*found, *self._entries}) if name is None else [name]:
            if model not in self._unloaded:
                said += self._refresh(model, found.get(model, {}))
        return said

    def unload(self, name: str) -> None:
        """Forget a model until ``refresh`` is asked for it by name. Raises ``NotFound``."""
        self._entry(name)
        self._unloaded.add(name)
        self._entries = {key: entry for key, entry in self._entries.items() if key != name}

    def _refresh(self, name: str, folders: Mapping[int, Path]) -> list[str]:
        old = self._entries.get(name, _Entry())
        said: list[str] = []
        loaded, faults, stamps = dict[int, Model](), dict[int, AimaasError](), dict[int, Stamp]()
        for version, folder in folders.items():
            stamps[version] = stamp = _stamp(folder)
            if version in old.loaded:
                loaded[version] = old.loaded[version]
            if stamp == old.stamps.get(version):
                if version in old.faults:
                    faults[version] = old.faults[version]
                continue
            try:
                loaded[version] = self._load(name, version, folder)
                said.append(f"Serving version {version} of '{name}'.")
            except AimaasError as error:
                faults[version] = error
                kept = " What was loaded before goes on answering." if version in loaded else ""
                said.append(f"Refused version {version} of '{name}': {error}{kept}")
        said += [f"Dropped version {version} of '{name}'." for version in old.loaded if version not in loaded]
        rule, doubt = old.routing, ""
        if folders:
            try:
                rule = read_routing(next(iter(folders.values())).parent)
            except Corrupt as error:
                doubt = f"Kept the old routing of '{name}': {error}"
        if doubt and doubt != old.doubt:
            said.append(doubt)
        if rule != old.routing:
            self._counts.pop(name, None)
            said.append(f"Routing of '{name}': {rule}.")
        entries = {key: entry for key, entry in self._entries.items() if key != name}
        if folders:
            entries[name] = _Entry(loaded, faults, stamps, rule, doubt)
        self._entries = entries
        return said

    def _load(self, name: str, version: int, folder: Path) -> Model:
        """Raises ``NotFound`` or ``Corrupt``."""
        key = self._settings.public_key
        with signing.verified(folder, key) if key else contextlib.nullcontext(folder) as readable:
            artefact = open_artefact(readable)
            card = artefact.card
            writer = self._writer(artefact, (name, str(version))) if card.language else None
            content = b"" if writer else artefact.read_litert()
        if key and (card.version != version or (self._name is None and card.name != name)):
            # Else an old version, rightly signed, could be passed off as the newest or as another model.
            raise Corrupt(f"{folder.as_posix()} holds what was signed as version {card.version} of '{card.name}'.")
        if writer is not None:
            return Model(name, version, card, writer=writer)
        runtime = Runtime(content, threads=self._settings.threads)
        if not _agree(runtime.inputs.values(), card.inputs) or not _agree(runtime.outputs.values(), card.outputs):
            raise Corrupt(f"{folder.as_posix()} has a {CARD} that describes another model than its LiteRT file.")
        together = all(tensor.shape[:1] == (None,) for tensor in (*card.inputs, *card.outputs))
        batcher = Batcher(
            runtime,
            self._executor,
            together=together,
            max_batch=runtime.best_batch(self._settings.max_batch) if together else 1,
            window=self._settings.window,
            queue=self._settings.queue,
            labels=(name, str(version)),
        )
        inputs = {
            tensor.name: Tensor(tensor.name, "bytes", (None,)) if tensor.name in card.codecs else tensor
            for tensor in card.inputs
        }
        outputs = {tensor.name: tensor for tensor in card.outputs}
        return Model(name, version, card, runtime, batcher, inputs, outputs)

    def _writer(self, artefact: Artefact, labels: tuple[str, str]) -> LanguageGenerator:
        assert artefact.card.language is not None
        settings = self._settings
        shape, tokenizer = artefact.card.language.shape, artefact.tokenizer()
        try:
            calls, embed = open_litert(artefact.path, shape, threads=settings.threads)
            engine = Engine(shape, calls, embed, slots=settings.slots, context=settings.context)
            engine.step([Piece(0, 0, [0])])  # the first step is slower
        except (KeyError, ValueError, RuntimeError) as error:
            raise Corrupt(f"{artefact.path.as_posix()} holds no language model that runs ({error}).") from error
        scheduler = Scheduler(engine, self._executor, queue=settings.queue, labels=labels)
        return LanguageGenerator(scheduler, tokenizer, artefact.card.language.ends)


def _find(path: Path, name: str | None) -> dict[str, dict[int, Path]]:
    """The version folders of every model under ``path``, whichever of the three kinds of folder it is."""
    try:
        if not path.is_dir():
            raise NotFound(
                f"There is no folder {path.as_posix()}: export a model first, "
                "for example with serving.export(model, 'models/digits')."
            )
        if (path / CARD).is_file():
            artefact = open_artefact(path)
            return {name or artefact.name: {artefact.version: path}}
        models = {item.name: version_folders(item) for item in sorted(path.iterdir()) if item.is_dir()}
        models = {model: versions for model, versions in models.items() if versions}
        holds_models = any((folder / CARD).is_file() for versions in models.values() for folder in versions.values())
        if not holds_models and (versions := version_folders(path)):  # a model may have a number for its name
            return {name or path.resolve().name: versions}
        if name is not None and models:
            raise BadInput(f"{path.as_posix()} is a folder of models, which have names; give '{name}' to one model.")
        return models
    except OSError as error:
        raise Corrupt(f"{path.as_posix()} cannot be read ({error.strerror}).") from error


def _stamp(folder: Path) -> Stamp:
    """Changes whenever a file does; all of them count, for a signature covers all."""
    stamp = []
    for file in sorted(folder.rglob("*")):
        try:
            status = file.stat()
        except OSError:
            continue
        if not file.is_dir():
            stamp.append((file.as_posix(), status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(stamp)


def _agree(found: Iterable[Tensor], said: Iterable[Tensor]) -> bool:
    return {(tensor.name, tensor.dtype) for tensor in found} == {(tensor.name, tensor.dtype) for tensor in said}
