"""Which models are loaded while their folders change under a running server."""

import asyncio
import gc
import json
import shutil
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from aimaas_helpers.errors import BadInput, Corrupt, NotFound
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.repository import Model, Repository

FILES = ("model_card.json", "model.tflite")


def put(models: Path, folder: Path, model: str = "pair") -> Path:
    """Write a real version into ``folder``, as ``cp`` does."""
    folder.mkdir(parents=True)
    for file in FILES:
        shutil.copy(models / model / "1" / file, folder)
    return folder


def break_(version: Path) -> None:
    file = version / "model.tflite"
    file.write_bytes(file.read_bytes()[:-1])


def answers(model: Model) -> bool:
    inputs = {"signal": np.ones((2, 3), np.float32), "tag": np.ones((2, 2), np.int32)}
    return len(asyncio.run(model.batcher.run(inputs, 2, Call()))["scores"]) == 2


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    put(models, tmp_path / "models" / "pair" / "1")
    put(models, tmp_path / "models" / "words" / "1", "words")
    return tmp_path / "models"


@pytest.fixture
def repository(folder: Path) -> Repository:
    return Repository(folder)


def test_nothing_is_said_when_nothing_changed(repository: Repository) -> None:
    model = repository.model("pair")
    assert repository.refresh() == []
    assert repository.model("pair") is model


def test_a_new_version_takes_over_and_the_old_one_stays_to_be_had(
    repository: Repository, folder: Path, models: Path
) -> None:
    old = repository.model("pair")
    put(models, folder / "pair" / "2")
    assert repository.model("pair") is old
    assert repository.refresh() == ["Serving version 2 of 'pair'."]
    assert repository.model("pair").version == 2 and answers(repository.model("pair"))
    assert repository.model("pair", 1) is old and repository.versions("pair") == {2: None, 1: None}
    shutil.rmtree(folder / "pair" / "1")
    assert repository.refresh() == ["Dropped version 1 of 'pair'."]
    with pytest.raises(NotFound, match=r"Model 'pair' has no version 1; it has 2\."):
        repository.model("pair", 1)
    assert answers(old), "a request in progress lost its model"


def test_the_old_version_answers_until_the_new_one_is_warm(
    repository: Repository, folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    load = Repository._load

    def watched(self: Repository, name: str, version: int, path: Path) -> Model:
        seen.append(self.model("pair").version)
        model = load(self, name, version, path)
        assert model.runtime.seconds(1) > 0, "it is not warm"
        seen.append(self.model("pair").version)
        return model

    monkeypatch.setattr(Repository, "_load", watched)
    shutil.rmtree(folder / "pair" / "1")
    put(models, folder / "pair" / "2")
    assert repository.refresh() == ["Serving version 2 of 'pair'.", "Dropped version 1 of 'pair'."]
    assert seen == [1, 1] and repository.model("pair").version == 2


def test_a_half_written_version_is_refused_and_served_when_it_is_whole(
    repository: Repository, folder: Path, models: Path
) -> None:
    version, source = folder / "pair" / "2", models / "pair" / "1"
    version.mkdir()
    assert "holds no model_card.json" in repository.refresh()[0]
    assert repository.refresh() == [], "the same refusal is said again and again"
    shutil.copy(source / FILES[0], version)
    assert "model.tflite is missing" in repository.refresh()[0]
    content = (source / FILES[1]).read_bytes()
    for part in (0, 10, len(content) // 2, len(content) - 1):
        (version / FILES[1]).write_bytes(content[:part])
        (sentence,) = repository.refresh()
        assert sentence.startswith("Refused version 2 of 'pair': ") and "changed or cut short" in sentence
        assert repository.model("pair").version == 1
        with pytest.raises(NotFound, match=r"Version 2 of model 'pair' is not served: .* cut short"):
            repository.model("pair", 2)
    (version / FILES[1]).write_bytes(content)
    assert repository.refresh() == ["Serving version 2 of 'pair'."]
    assert repository.versions("pair") == {2: None, 1: None} and answers(repository.model("pair"))


def test_a_corrupt_replacement_leaves_what_was_loaded(repository: Repository, folder: Path, models: Path) -> None:
    old = repository.model("pair")
    break_(folder / "pair" / "1")
    (sentence,) = repository.refresh()
    assert sentence.startswith("Refused version 1 of 'pair'") and sentence.endswith("goes on answering.")
    assert repository.model("pair") is old is repository.model("pair", 1) and answers(old)
    assert "changed or cut short" in str(repository.versions("pair")[1])
    assert repository.refresh() == [] and repository.versions("pair")[1] is not None
    shutil.copy(models / "pair" / "1" / FILES[1], folder / "pair" / "1")
    assert repository.refresh() == ["Serving version 1 of 'pair'."]
    assert repository.model("pair") is not old and repository.versions("pair") == {1: None}


def test_a_version_without_its_card_is_refused_not_forgotten(repository: Repository, folder: Path) -> None:
    (folder / "pair" / "1" / FILES[0]).unlink()
    assert "What was loaded before goes on answering." in repository.refresh()[0]
    assert repository.model("pair").version == 1


def test_models_come_and_go(repository: Repository, folder: Path, models: Path) -> None:
    put(models, folder / "digits" / "1", "digits")
    shutil.rmtree(folder / "pair")
    assert sorted(repository.refresh()) == ["Dropped version 1 of 'pair'.", "Serving version 1 of 'digits'."]
    assert repository.names == ["digits", "words"]
    with pytest.raises(NotFound, match="There is no model 'pair'; served here: 'digits' and 'words'"):
        repository.model("pair")


def test_a_folder_that_cannot_be_read_keeps_everything(
    repository: Repository, folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: repository.model(name) for name in repository.names}
    folder.rename(folder.parent / "elsewhere")
    with pytest.raises(NotFound, match="There is no folder"):
        repository.refresh()
    assert {name: repository.model(name) for name in repository.names} == before
    (folder.parent / "elsewhere").rename(folder)

    def unreadable(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    put(models, folder / "pair" / "2")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", unreadable)
        with pytest.raises(Corrupt, match=r"cannot be read \(Permission denied\)"):
            repository.refresh()
    assert {name: repository.model(name) for name in repository.names} == before
    assert repository.refresh() == ["Serving version 2 of 'pair'."]


def test_one_model_by_name(repository: Repository, folder: Path, models: Path) -> None:
    for name in ("pair", "words"):
        put(models, folder / name / "2", name)
    assert repository.refresh("words") == ["Serving version 2 of 'words'."]
    assert repository.model("words").version == 2 and repository.model("pair").version == 1
    with pytest.raises(NotFound, match="There is no model 'nobody' in"):
        repository.refresh("nobody")


def test_an_unloaded_model_comes_back_when_asked_for_by_name(
    repository: Repository, folder: Path, models: Path
) -> None:
    repository.unload("pair")
    with pytest.raises(NotFound, match="There is no model 'pair'"):
        repository.unload("pair")
    put(models, folder / "pair" / "2")
    assert repository.refresh() == [] and repository.names == ["words"]
    assert repository.refresh("pair") == ["Serving version 1 of 'pair'.", "Serving version 2 of 'pair'."]
    put(models, folder / "pair" / "3")
    assert repository.refresh() == ["Serving version 3 of 'pair'."]


def test_load_and_unload_through_the_plane(repository: Repository, folder: Path, models: Path) -> None:
    async def scenario() -> None:
        plane = Plane(repository)
        await plane.unload("pair")
        assert plane.names == ["words"]
        await plane.load("pair")
        assert plane.model("pair").version == 1
        break_(put(models, folder / "pair" / "2"))
        with pytest.raises(Corrupt, match="changed or cut short"):
            await plane.load("pair")
        assert plane.model("pair").version == 1
        with pytest.raises(NotFound, match="There is no model 'nobody'"):
            await plane.load("nobody")
        with pytest.raises(BadInput, match="take the model's folder away"):
            await Plane(repository, poll=1.0).unload("pair")

    asyncio.run(scenario())


def test_unloading_during_a_look_is_not_undone_by_it(
    repository: Repository, folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go_on = threading.Event(), threading.Event()
    load = Repository._load

    def held(self: Repository, name: str, version: int, path: Path) -> Model:
        loading.set()
        assert go_on.wait(20)
        return load(self, name, version, path)

    monkeypatch.setattr(Repository, "_load", held)
    put(models, folder / "pair" / "2")

    async def scenario() -> None:
        plane = Plane(repository)
        look = asyncio.create_task(plane.refresh())
        assert await asyncio.to_thread(loading.wait, 20)
        assert plane.model("pair").version == 1, "requests wait for a version that loads"
        unload = asyncio.create_task(plane.unload("pair"))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(look, unload)
        assert plane.names == ["words"]

    asyncio.run(scenario())


def test_the_plane_follows_its_folder(
    repository: Repository, folder: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        plane = Plane(repository, poll=0.01)
        async with plane.following():
            folder.rename(folder.parent / "elsewhere")
            await asyncio.sleep(0.05)
            (folder.parent / "elsewhere").rename(folder)
            put(models, folder / "pair" / "2")
            async with asyncio.timeout(20):
                while plane.model("pair").version == 1:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "Serving version 2 of 'pair'."
    assert sum("Cannot look for new versions: There is no folder" in line for line in said) == 1


@pytest.mark.parametrize(
    ("inner", "name"), [("", None), ("pair", None), ("pair/1", None), ("pair/1", "p"), ("pair", "p")]
)
def test_every_kind_of_folder_follows_its_changes(folder: Path, models: Path, inner: str, name: str | None) -> None:
    repository = Repository(folder / inner, name=name)
    assert repository.names == ([name or "pair"] if inner else ["pair", "words"])
    old = repository.model(name or "pair")
    assert answers(old)
    break_(folder / "pair" / "1")
    if inner == "pair/1":  # the card cannot be had without the rest
        with pytest.raises(Corrupt, match="changed or cut short"):
            repository.refresh()
    else:
        put(models, folder / "pair" / "2")
        assert len(repository.refresh()) == 2
    assert repository.model(name or "pair", 1) is old
    shutil.copy(models / "pair" / "1" / FILES[1], folder / "pair" / "1")
    repository.refresh()
    assert repository.model(name or "pair", 1) is not old


def test_a_folder_with_a_number_does_not_hide_the_models(repository: Repository, folder: Path, models: Path) -> None:
    (folder / "2024").mkdir()
    assert repository.refresh() == [] and repository.names == ["pair", "words"]
    put(models, folder / "2024" / "1")
    assert repository.refresh() == ["Serving version 1 of '2024'."]
    assert Repository(folder).names == ["2024", "pair", "words"]


def test_other_folders_in_a_model_s_are_not_models(folder: Path) -> None:
    (folder / "pair" / "checkpoints" / "100").mkdir(parents=True)
    assert Repository(folder / "pair").names == ["pair"]
    assert Repository(folder).versions("pair") == {1: None}


def test_nothing_to_serve_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no folder"):
        Repository(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match=r"holds no model: expected MODEL/VERSION/model_card.json"):
        Repository(tmp_path / "empty")
    break_(folder / "pair" / "1")
    with pytest.raises(Corrupt, match=r"No model in .* can be served\. .* changed or cut short"):
        Repository(folder / "pair")
    assert Repository(folder).model("words").version == 1, "a broken model keeps the others from being served"
    with pytest.raises(NotFound, match=r"Version 1 of model 'pair' is not served: .* cut short"):
        Repository(folder).model("pair")


def test_reloading_leaks_no_model(repository: Repository, folder: Path) -> None:
    card = folder / "pair" / "1" / FILES[0]
    content = json.loads(card.read_text())
    alive: list[weakref.ref[object]] = []
    for number in range(100):
        model = repository.model("pair")
        assert answers(model)
        alive += [weakref.ref(model), weakref.ref(model.runtime), weakref.ref(model.runtime._interpreter)]
        card.write_text(json.dumps(content | {"notes": "x" * number}))
        assert repository.refresh() == ["Serving version 1 of 'pair'."]
    del model
    gc.collect()
    assert [reference for reference in alive if reference() is not None] == []
