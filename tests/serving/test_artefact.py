"""What export writes, and what is refused when it is read back."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from aimaas_helpers import serving
from aimaas_helpers.errors import BadInput, Corrupt, NotFound, Unwritable
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.runtime import Runtime


@dataclass(frozen=True)
class Dataset:
    name: str = "digits"
    title: str = "5,000 handwritten digits"
    licence: str = "CC BY-SA 3.0"
    citation: str = "LeCun et al. (1998)"
    classes: tuple[str, ...] = ("0", "1")


def tiny_model() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), layers.Dense(3)])


def copy_of(models: Path, folder: Path) -> Path:
    """A version of ``digits`` that a test may damage."""
    import shutil

    return Path(shutil.copytree(models / "digits" / "1", folder / "digits" / "1"))


def test_export_writes_what_tensorflow_serving_reads(models: Path, keras_models: dict[str, keras.Model]) -> None:
    x = np.random.default_rng(0).random((3, 28, 28), np.float32)
    signature = tf.saved_model.load(str(models / "digits" / "1")).signatures["serving_default"]
    answer = signature(image=tf.constant(x))["probabilities"].numpy()
    np.testing.assert_allclose(answer, keras_models["digits"](x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 3, 100, 2])
def test_litert_answers_as_the_saved_model(models: Path, rows: int) -> None:
    random = np.random.default_rng(rows)
    inputs = {
        "signal": random.normal(size=(rows, 3)).astype(np.float32),
        "tag": random.integers(0, 5, (rows, 2)).astype(np.int32),
    }
    expected = tf.saved_model.load(str(models / "pair" / "1")).signatures["serving_default"](
        **{name: tf.constant(array) for name, array in inputs.items()}
    )
    runtime = Repository(models / "pair").model("pair").runtime
    answer = runtime.run(inputs)
    assert answer.keys() == expected.keys() == {"scores", "price"}
    for name, array in answer.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


def test_a_shape_that_fails_does_not_spoil_the_next_call(models: Path) -> None:
    runtime = Repository(models / "digits").model("digits").runtime
    x = np.full((1, 28, 28), 0.5, np.float32)
    expected = runtime.run({"image": x})["probabilities"]
    with pytest.raises((RuntimeError, ValueError)):
        runtime.run({"image": x[:, 1:]})
    np.testing.assert_array_equal(runtime.run({"image": x})["probabilities"], expected)


def test_the_card_says_what_the_model_is(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    metrics = {"accuracy": np.float32(0.5), "interval": (0.25, np.float64(0.75))}
    serving.export(tiny_model(), folder, task="regression", data=Dataset(), metrics=metrics, notes="A test.")
    card = json.loads((folder / "1" / "model_card.json").read_text())
    assert card["name"] == "tiny" and card["version"] == 1 and card["parameters"] == 9
    assert card["task"] == "regression" and card["notes"] == "A test."
    assert card["data"] == {"classes": ["0", "1"]} | {
        field: getattr(Dataset(), field) for field in ("name", "title", "licence", "citation")
    }
    assert card["metrics"] == {"accuracy": 0.5, "interval": [0.25, 0.75]}
    assert card["inputs"] == [{"name": "input", "dtype": "float32", "shape": [None, 2]}]
    assert card["outputs"] == [{"name": "output", "dtype": "float32", "shape": [None, 3]}]
    assert card["packages"]["keras"] == keras.__version__


def test_an_output_that_is_a_bare_operation_has_no_name_of_its_own(tmp_path: Path) -> None:
    given = keras.Input((2,), name="x")
    serving.export(keras.Model(given, keras.ops.exp(keras.layers.Dense(3)(given))), tmp_path / "bare")
    card = json.loads((tmp_path / "bare" / "1" / "model_card.json").read_text())
    assert card["outputs"] == [{"name": "output", "dtype": "float32", "shape": [None, 3]}]


def test_versions_count_up_and_nothing_else_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model()
    first, second = serving.export(model, "models/tiny"), serving.export(model, "models/tiny")
    assert (first.version, second.version) == (1, 2)
    assert sorted(item.name for item in Path("models/tiny").iterdir()) == ["1", "2"]
    assert repr(second) == (
        "Model 'tiny', version 2: 9 parameters\n  in   'input': float32 (batch, 2)\n  out  'output': float32 (batch, 3)"
    )


def test_two_exports_at_once_take_two_numbers(tmp_path: Path) -> None:
    from aimaas_helpers.serving.artefact import LITERT, ModelCard, _publish

    card = serving.export(tiny_model(), tmp_path / "tiny").card
    stagings = [tmp_path / "tiny" / f".export-{n}" for n in range(8)]
    for staging in stagings:
        staging.mkdir()
        (staging / LITERT).write_bytes(b"x")
    barrier = threading.Barrier(len(stagings))
    found: list[int] = []

    def publish(staging: Path, card: ModelCard) -> None:
        barrier.wait()
        found.append(_publish(staging, tmp_path / "tiny", card).version)

    threads = [threading.Thread(target=publish, args=(staging, card)) for staging in stagings]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(found) == list(range(2, 10))
    for version in found:
        assert json.loads((tmp_path / "tiny" / str(version) / "model_card.json").read_text())["version"] == version


def test_export_says_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, keras; from aimaas_helpers import serving\n"
        "model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])\n"
        "sys.stdout.write('before\\n'); sys.stdout.flush(); sys.stderr.write('before\\n'); sys.stderr.flush()\n"
        f"serving.export(model, {str(tmp_path / 'tiny')!r}); print('after'); print('after', file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("before\nafter\n")
    assert run.stderr.endswith("before\nafter\n")


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    text = keras.Sequential(
        [keras.Input((1,), dtype="string", name="text"), layers.TextVectorization(vocabulary=["a"])]
    )
    with pytest.raises(BadInput, match="only numbers and booleans can be served"):
        serving.export(text, tmp_path / "text")
    loop = keras.Sequential([keras.Input((None, 2)), layers.GRU(3)])
    with pytest.raises(BadInput, match="cannot be turned into a LiteRT model"):
        serving.export(loop, tmp_path / "loop")
    for name in ("text", "loop"):
        assert list((tmp_path / name).iterdir()) == []


def test_a_litert_file_that_answers_otherwise_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Runtime.run
    monkeypatch.setattr(Runtime, "run", lambda *a: {name: array + 1 for name, array in run(*a).items()})
    with pytest.raises(BadInput, match="its output 'output' would differ from Keras's"):
        serving.export(tiny_model(), tmp_path / "tiny")


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not say what goes in"):
        serving.export(keras.Sequential([layers.Dense(3)]), tmp_path / "tiny")
    with pytest.raises(BadInput, match="cannot name a model"):
        serving.export(tiny_model(), tmp_path / "a:b")
    with pytest.raises(BadInput, match="numbers with names"):
        serving.export(tiny_model(), tmp_path / "tiny", metrics={"accuracy": object()})
    with pytest.raises(BadInput, match="`data` is a data set"):
        serving.export(tiny_model(), tmp_path / "tiny", data="digits")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match="cannot be written"):
        serving.export(tiny_model(), tmp_path / "file" / "tiny")


def test_opening_says_what_is_wrong(models: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no folder"):
        serving.open_artefact(tmp_path / "nowhere")
    with pytest.raises(NotFound, match=r"holds no model_card\.json"):
        serving.open_artefact(tmp_path)
    version = copy_of(models, tmp_path)
    assert serving.open_artefact(version).name == "digits"
    litert = version / "model.tflite"
    content = litert.read_bytes()
    litert.write_bytes(content[:-1])
    with pytest.raises(Corrupt, match="changed or cut short"):
        serving.open_artefact(version)
    litert.unlink()
    with pytest.raises(Corrupt, match="is missing"):
        serving.open_artefact(version)
    (version / "model_card.json").write_text('{"name": 3}')
    with pytest.raises(Corrupt, match="cannot be read"):
        serving.open_artefact(version)


def test_a_broken_version_is_refused_and_the_others_serve(models: Path, tmp_path: Path) -> None:
    version = copy_of(models, tmp_path)
    second = version.parent / "2"
    copy_of(models, tmp_path / "other").rename(second)
    (second / "model.tflite").write_bytes(b"")
    repository = Repository(tmp_path / "digits")
    assert repository.model("digits").version == 1
    reasons = repository.versions("digits")
    assert list(reasons) == [2, 1] and reasons[1] is None and "changed or cut short" in str(reasons[2])
    with pytest.raises(NotFound, match=r"Version 2 of model 'digits' is not served: .* changed or cut short"):
        repository.model("digits", 2)


def test_not_a_litert_file_though_the_hash_is_right(models: Path, tmp_path: Path) -> None:
    import hashlib

    version = copy_of(models, tmp_path)
    (version / "model.tflite").write_bytes(b"no model")
    card = json.loads((version / "model_card.json").read_text())
    card["sha256"] = hashlib.sha256(b"no model").hexdigest()
    (version / "model_card.json").write_text(json.dumps(card))
    with pytest.raises(Corrupt, match=r"No model in .* can be served\. LiteRT cannot read the model"):
        Repository(version)


def test_a_card_of_another_model_is_refused(models: Path, tmp_path: Path) -> None:
    version = copy_of(models, tmp_path)
    card = json.loads((version / "model_card.json").read_text())
    card["inputs"][0]["name"] = "picture"
    (version / "model_card.json").write_text(json.dumps(card))
    with pytest.raises(Corrupt, match="describes another model"):
        Repository(version)


@pytest.mark.parametrize(("inner", "name"), [("", None), ("digits", None), ("digits/1", None), ("digits/1", "numbers")])
def test_a_folder_of_models_one_model_or_one_version(models: Path, inner: str, name: str | None) -> None:
    repository = Repository(models / inner, name=name)
    assert repository.model(name or "digits").version == 1
    assert repository.names == ([name or "digits"] if inner else sorted(model.name for model in models.iterdir()))


def test_a_name_for_many_models_is_refused(models: Path) -> None:
    with pytest.raises(BadInput, match="is a folder of models"):
        Repository(models, name="one")


def test_serving_does_not_import_tensorflow() -> None:
    code = (
        "import sys, aimaas_helpers.serving.server as s\n"
        "assert s; print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert run.stdout == "[]\n"
