"""The doctor finds what is wrong, says what to do, and is quick about it."""

import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from aimaas_helpers import data, doctor


def test_this_machine_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    data.fetch_all()
    assert doctor.main() == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert "✓ Python" in printed
    assert "as in the lock" in printed
    assert "here and verified" in printed
    assert "\nReady." in printed


def test_a_missing_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIMAAS_CACHE", str(tmp_path))
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    samples = [name for name, entry in data.CATALOGUE.items() if entry.sample]
    assert all(f"✗ data set {name}" in printed for name in samples)
    assert "→ run `make setup` or `aimaas data digits` while online" in printed
    assert f"Not ready: {len(samples)} to put right" in printed


@pytest.mark.parametrize("found", [(3, 10, 13), (3, 14, 0), (4, 0, 0)])
def test_a_python_that_does_not_fit(found: tuple[int, int, int]) -> None:
    check = doctor.python(found)
    assert check.mark == "✗"
    assert "3.11, 3.12 or 3.13" in check.advice


@pytest.mark.parametrize("found", [(3, 11, 0), (3, 12, 9), (3, 13, 2)])
def test_a_python_that_fits(found: tuple[int, int, int]) -> None:
    assert doctor.python(found).mark == "✓"


def test_packages_that_differ_from_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lines = [f"numpy=={version('numpy')} \\", "    --hash=sha256:00", "nowhere==1 ; sys_platform == 'none' \\"]
    lock.write_text("\n".join(lines))
    check = doctor.packages(lock)
    assert (check.mark, check.found) == ("✓", "all 1 as in the lock")
    lock.write_text("\n".join([*lines, "Not_There==2.0 ; python_version >= '3' \\", "pytest==1.0 \\"]))
    check = doctor.packages(lock)
    assert check.mark == "✗"
    assert "not-there missing instead of 2.0" in check.found
    assert f"pytest {version('pytest')} instead of 1.0" in check.found
    assert "numpy" not in check.found
    assert doctor.packages(None).mark == "!"


def test_few_cores_and_little_memory_are_remarks() -> None:
    assert [doctor.cores(count).mark for count in (1, 2)] == ["!", "✓"]
    assert [doctor.memory(size).mark for size in (None, 2e9, 8e9)] == ["!", "!", "✓"]


def test_a_full_disk(tmp_path: Path) -> None:
    check = doctor.disk("disk", tmp_path / "not" / "made" / "yet", need=1e18)
    assert check.mark == "✗"
    assert str(tmp_path) in check.advice
    assert doctor.disk("disk", tmp_path, need=0).mark == "✓"


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    check = doctor.writable(tmp_path / "file" / "cache")
    assert check.mark == "✗"
    assert "AIMAAS_CACHE" in check.advice
    assert doctor.writable(tmp_path / "new" / "cache").mark == "✓"


def test_a_server_that_cannot_be_opened() -> None:
    assert doctor.port("203.0.113.1").mark == "✗"  # an address kept for documentation: never this machine's
    assert doctor.port("127.0.0.1").mark == "✓"


def test_a_missing_browser_is_a_remark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check = doctor.browser()
    assert check.mark == "!"
    assert "apt install chromium" in check.advice


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=os.environ | environment, capture_output=True, encoding="utf-8"
    )


def test_quick_without_tensorflow_and_on_an_old_console() -> None:
    code = "import sys; from aimaas_helpers import doctor; doctor.main(); print('tensorflow' in sys.modules)"
    start = time.perf_counter()
    ran = run("-c", code, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert time.perf_counter() - start < 10  # below one second when nothing else runs
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("ok Python")
    assert ran.stdout.endswith("False\n")


def test_before_the_packages_are_installed() -> None:
    source = str(Path(doctor.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {source!r}); from aimaas_helpers import doctor; sys.exit(doctor.main())"
    ran = run("-S", "-I", "-c", code, PYTHONIOENCODING="utf-8")  # -S: a Python that sees no installed package
    assert ran.returncode == 1
    assert ran.stderr == ""
    assert "data cannot be examined" in " ".join(ran.stdout.replace("✗", "").split())
    assert "run `make setup`" in ran.stdout
