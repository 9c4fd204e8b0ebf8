"""The life of a server: started, ready, one at a time, and gone whatever happens."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from aimaas_helpers import serving
from aimaas_helpers.errors import BadInput, Unavailable
from aimaas_helpers.serving.settings import LARGE_PAGES


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/v2/health/ready", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def gone(url: str, within: float = 10.0) -> bool:
    """Whether nobody listens there any more, at the latest after so many seconds."""
    deadline = time.monotonic() + within
    while answers(url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def digits(models: Path, tmp_path: Path) -> Path:
    """A model of the test's own, in a folder with a space in its name."""
    return Path(shutil.copytree(models / "digits", tmp_path / "my models" / "digits")).parent


def test_a_service_is_ready_at_once_and_gone_after_the_block(digits: Path) -> None:
    with serving.local(digits) as service:
        assert answers(service.url) and service.running
        assert f"Serving digits from {digits.as_posix()} at {service.url}" in service.log()
    assert not answers(service.url) and not service.running
    service.stop()  # harmless


def test_it_is_gone_when_the_block_fails(digits: Path) -> None:
    with pytest.raises(ZeroDivisionError), serving.local(digits) as service:
        1 / 0  # noqa: B018
    assert not answers(service.url)


def test_its_text_is_the_same_on_every_machine(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(digits.parent)
    with serving.local("my models/digits/1", name="numbers") as service:
        assert repr(service) == "Service for the folder '1': running"
        assert requests.get(f"{service.url}/v1/models/numbers").status_code == 200
    assert repr(service) == "Service for the folder '1': stopped"


def test_the_same_folder_again_stops_the_one_before_and_another_folder_does_not(digits: Path) -> None:
    other = serving.local(digits / "digits")
    first = serving.local(digits)
    second = serving.local(digits)
    assert not first.running and not answers(first.url)
    assert answers(second.url) and answers(other.url)
    other.stop()
    assert answers(second.url)
    second.stop()


def test_why_it_did_not_start_is_the_exception(models: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^There is no folder .*nowhere: export a model first"):
        serving.local(tmp_path / "nowhere")
    with pytest.raises(Unavailable, match=r"holds no model: expected MODEL/VERSION/model_card\.json"):
        serving.local(tmp_path)
    version = Path(shutil.copytree(models / "digits" / "1", tmp_path / "digits" / "1"))
    (version / "model.tflite").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"^No model in .* can be served.*changed or cut short"):
        serving.local(tmp_path)


def test_a_server_that_dies_at_start_leaves_its_last_words(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", str(digits))  # where there is no Python
    with pytest.raises(Unavailable, match=r"did not start. Its last words:\n(.|\n)*Fatal Python error"):
        serving.local(digits)


def test_settings_are_checked_before_anything_starts(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving.local(digits) as service:
        with pytest.raises(BadInput, match=r"^There is no setting 'quue'; there are workers, threads, .*queue"):
            serving.local(digits, quue=8)
        with pytest.raises(BadInput, match=r"^The setting 'queue' is at least 1, not 0\.$"):
            serving.local(digits, queue=0)
        monkeypatch.setenv("AIMAAS_THREADS", "many")
        with pytest.raises(BadInput, match=r"^The setting 'threads' is a whole number, not 'many'\.$"):
            serving.local(digits)
        assert service.running  # a slip of the pen must not stop what runs


def test_settings_reach_the_server(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMAAS_MAX_BODY", "100")
    monkeypatch.setenv("AIMAAS_ACCESS_LOG", "no")
    with serving.local(digits, access_log=True, drain=None) as service:
        reply = requests.post(f"{service.url}/v1/models/digits:predict", data=b" " * 101)
        assert reply.status_code == 413
    assert '"code":413' in service.log()


def test_a_broken_version_is_told_and_the_other_serves(digits: Path) -> None:
    shutil.copytree(digits / "digits" / "1", digits / "digits" / "2")
    (digits / "digits" / "2" / "model_card.json").write_text("{")
    with serving.local(digits) as service:
        states = requests.get(f"{service.url}/v1/models/digits").json()["model_version_status"]
        assert [(state["version"], state["state"]) for state in states] == [("2", "END"), ("1", "AVAILABLE")]
        assert "cannot be read" in states[0]["status"]["error_message"]
        assert requests.get(f"{service.url}/v1/models/digits/metadata").json()["model_spec"]["version"] == "1"
        reply = requests.post(f"{service.url}/v1/models/digits/versions/2:predict", data="{}")
        assert reply.status_code == 404 and "is not served" in reply.json()["error"]
        assert "Refused a version of 'digits'" in service.log()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_it_goes_with_a_parent_that_is_killed(digits: Path) -> None:
    code = (
        "import sys, time; from aimaas_helpers import serving\n"
        "print(serving.local(sys.argv[1]).url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(digits)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert answers(url)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(url)


def test_it_goes_with_a_parent_that_ends(digits: Path) -> None:
    code = "import sys; from aimaas_helpers import serving; print(serving.local(sys.argv[1]).url)"
    run = subprocess.run([sys.executable, "-c", code, str(digits)], capture_output=True, text=True, check=True)
    assert not answers(run.stdout.strip())


# The command


@pytest.fixture
def command(digits: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def aimaas(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "aimaas_helpers", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("AIMAAS_")},
    )


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_stop(
    digits: Path, command: list[subprocess.Popen[str]], stop: signal.Signals
) -> None:
    process = aimaas("serve", str(digits), "--port", "0", "--max-body", str(2**20))
    command.append(process)
    assert process.stdout is not None
    sentence, example = process.stdout.readline(), process.stdout.readline()
    url = sentence.split(" at ")[1].split()[0]
    assert sentence == f"Serving digits from {digits.as_posix()} at {url} (stop with Ctrl-C)\n"
    assert example.startswith("Try: curl ")
    assert requests.get(example.split()[-1]).json()["model_spec"]["name"] == "digits"
    reply = requests.post(f"{url}/v1/models/digits:predict", data=b" " * (2**20 + 1))
    assert reply.status_code == 413 and "larger than 1 MiB" in reply.json()["error"]
    process.send_signal(stop)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in errors


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc, so only Linux, knows the variable")
@pytest.mark.parametrize("own", [None, "glibc.malloc.tcache_count=7"])
def test_a_server_takes_large_pages_unless_told_otherwise(
    digits: Path, command: list[subprocess.Popen[str]], own: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((name, value),) = LARGE_PAGES.items()
    monkeypatch.delenv(name, raising=False)
    if own is not None:
        monkeypatch.setenv(name, own)
    process = aimaas("serve", str(digits), "--port", "0")
    command.append(process)
    assert process.stdout is not None and process.stdout.readline().startswith("Serving")
    with serving.local(digits) as service:
        for pid in (process.pid, service.pid):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert f"{name}={own or value}".encode() in environment


def test_a_port_in_use_is_one_sentence(digits: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = aimaas("serve", str(digits), "--port", str(port))
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and output == ""
    assert errors.startswith(f"aimaas: Port {port} on 127.0.0.1 cannot be opened") and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["serve", "nowhere"], 1, "aimaas: There is no folder nowhere"),
        (["serve", "nowhere", "--host", "not an address"], 1, "aimaas: There is no address 'not an address'"),
        (["serve", "nowhere", "--port", "70000"], 2, "a port is a number from 0 to 65535"),
        (["serve"], 2, "usage: aimaas serve"),
        ([], 2, "usage: aimaas"),
    ],
)
def test_wrong_use_of_the_command(arguments: list[str], status: int, sentence: str) -> None:
    process = aimaas(*arguments, *(["--port", "0"] if arguments[1:] and "--port" not in arguments else []))
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (status, "")
    assert sentence in errors and "Traceback" not in errors


def test_two_ports_for_two_services_at_once(digits: Path, models: Path) -> None:
    with serving.local(digits) as one, serving.local(models) as two:
        assert urlsplit(one.url).port != urlsplit(two.url).port
        assert answers(one.url) and answers(two.url)
