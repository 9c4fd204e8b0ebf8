"""What can be set, from where, and what is said of values that cannot be."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from aimaas_helpers import __main__ as command
from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving import server
from aimaas_helpers.serving.settings import Settings

OTHER: dict[str, Any] = {  # values that are not the defaults
    "workers": 2,
    "threads": 3,
    "max_batch": 7,
    "window": 0.25,
    "max_rows": 99,
    "queue": 9,
    "slots": 3,
    "context": 512,
    "deadline": 1.5,
    "concurrency": 11,
    "max_body": 1000,
    "body_timeout": 2.5,
    "keys": "keys.txt",
    "rate": 4.5,
    "burst": 6,
    "public_key": "public.pem",
    "poll": 0.5,
    "drain": 3.5,
    "grace": 8.5,
    "access_log": False,
}
TEXT = {name: "no" if value is False else str(value) for name, value in OTHER.items()}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in fields(Settings):
        monkeypatch.delenv(f"AIMAAS_{option.name.upper()}", raising=False)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Settings]]:
    """Settings with which the command would have served."""
    found: list[Settings] = []
    monkeypatch.setattr(server, "serve", lambda path, *, settings, **options: found.append(settings))
    yield found


def test_every_setting_is_tested() -> None:
    assert list(OTHER) == [option.name for option in fields(Settings)]
    assert all(value != getattr(Settings(), name) for name, value in OTHER.items())


@pytest.mark.parametrize("name", OTHER)
def test_argument_then_environment_then_default(
    name: str, monkeypatch: pytest.MonkeyPatch, served: list[Settings]
) -> None:
    default, other = getattr(Settings(), name), OTHER[name]
    flag = f"--{name.replace('_', '-')}"
    assert getattr(Settings.from_environment(), name) == default
    assert getattr(Settings.from_environment(**{name: other}), name) == other
    assert command.main(["serve", "models", flag, TEXT[name]]) == 0
    monkeypatch.setenv(f"AIMAAS_{name.upper()}", TEXT[name])
    assert getattr(Settings.from_environment(), name) == other
    assert getattr(Settings.from_environment(**{name: None}), name) == other
    assert getattr(Settings.from_environment(**{name: default}), name) == default
    assert command.main(["serve", "models"]) == command.main(["serve", "models", f"{flag}={default}"]) == 0
    assert [getattr(settings, name) for settings in served] == [other, other, default]
    assert type(getattr(served[1], name)) is type(default)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"workers": 0}, "The setting 'workers' is at least 1, not 0."),
        ({"max_batch": -1}, "'max_batch' is at least 1"),
        ({"queue": 0}, "'queue' is at least 1"),
        ({"burst": 0}, "'burst' is at least 1"),
        ({"window": -0.1}, "'window' is at least 0, not -0.1"),
        ({"deadline": float("nan")}, "'deadline' is at least 0, not nan"),
        ({"poll": -1.0}, "'poll' is at least 0"),
        ({"queue": 2.5}, "The setting 'queue' is a whole number, not 2.5."),
        ({"queue": "32"}, "The setting 'queue' is a whole number, not '32'."),
        ({"queue": True}, "The setting 'queue' is a whole number, not True."),
        ({"rate": "fast"}, "The setting 'rate' is a number, not 'fast'."),
        ({"grace": float("inf")}, "The setting 'grace' is a number, not inf."),
        ({"access_log": 1}, "The setting 'access_log' is yes or no, not 1."),
        ({"keys": 3}, "The setting 'keys' is a text, not 3."),
        ({"workers": 2, "poll": 0.0}, "Several workers find new versions by polling"),
        ({"batch": 3}, "There is no setting 'batch'; there are workers, threads, max_batch"),
    ],
)
def test_what_cannot_be_is_said(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        Settings.from_environment(**given)
    assert sentence in str(caught.value)


def test_files_may_be_paths_and_numbers_whole() -> None:
    settings = Settings(keys=Path("a") / "b", rate=5, deadline=2)  # type: ignore[arg-type]
    assert (settings.keys, settings.rate, settings.deadline) == (str(Path("a/b")), 5, 2)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("queue", "many", "The setting 'queue' is a whole number, not 'many'."),
        ("queue", "2.5", "The setting 'queue' is a whole number, not '2.5'."),
        ("queue", "", "The setting 'queue' is a whole number, not ''."),
        ("window", "soon", "The setting 'window' is a number, not 'soon'."),
        ("window", "inf", "The setting 'window' is a number, not inf."),
        ("access_log", "2", "The setting 'access_log' is yes or no, not '2'."),
        ("workers", "-3", "The setting 'workers' is at least 1, not -3."),
    ],
)
def test_wrong_texts_in_environment_and_arguments(
    name: str, text: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: Any = command.main(["serve", "models", f"--{name.replace('_', '-')}={text}"])
    except SystemExit as end:
        status = end.code
    assert status in (1, 2) and sentence in capsys.readouterr().err
    monkeypatch.setenv(f"AIMAAS_{name.upper()}", text)
    assert command.main(["serve", "models"]) == 1
    assert capsys.readouterr().err == f"aimaas: {sentence}\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("TRUE", True), ("yes", True), ("on", True), ("0", False), ("False", False), ("NO", False)],
)
def test_ways_to_say_yes_and_no(text: str, value: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMAAS_ACCESS_LOG", text)
    assert Settings.from_environment().access_log is value
