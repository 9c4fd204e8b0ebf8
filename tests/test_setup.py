"""tools/setup.py, run for real on a small project of the same form, in a folder with spaces in its name."""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

SETUP = Path(__file__).parents[1] / "tools" / "setup.py"

# A build backend of its own, so that nothing needs to be downloaded to install the small project.
BACKEND = """
import zipfile
from pathlib import Path

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        wheel.writestr("small.pth", str(Path("src").resolve()))
        info = "small-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
FILES = {
    "requirements.txt": "",
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    '[project]\nname = "small"\nversion = "1.0"\n',
    "backend.py": BACKEND,
    "src/aimaas_helpers/__init__.py": "",
    "src/aimaas_helpers/__main__.py": "from aimaas_helpers.data import fetch; fetch('numbers'); print('Data.')",
    "src/aimaas_helpers/data/catalogue.py": "# the catalogue",
    "src/aimaas_helpers/data/__init__.py": """
import os, sys
from pathlib import Path
from types import SimpleNamespace

CATALOGUE = {name: SimpleNamespace(name=name, sample=name == "numbers") for name in ("numbers", "whole")}

def fetch(name):
    cache = Path(os.environ["AIMAAS_CACHE"])
    if not cache.is_dir():
        sys.exit("There is no data cache.")
    path = cache / name
    if not path.exists():
        path.write_text("1 2 3")
    return path
""",
}


class Project:
    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache = root, cache
        for name, content in FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        (root / "tools").mkdir()
        shutil.copy(SETUP, root / "tools")
        cache.mkdir()

    def setup(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "tools/setup.py"],
            cwd=self.root,
            env=os.environ | {"AIMAAS_CACHE": str(self.cache), "PYTHONIOENCODING": "utf-8", "PIP_NO_INDEX": "1"},
            capture_output=True,
            encoding="utf-8",
        )

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / "aimaas-setup.json"

    @property
    def python(self) -> Path:
        return self.root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("set up")
    project = Project(folder / "a path with spaces", folder / "a cache")
    ran = project.setup()
    assert ran.returncode == 0, ran.stderr
    assert "Making a virtual environment in .venv" in ran.stdout
    assert ran.stderr == ""
    return project


@pytest.fixture
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_tool", SETUP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_is_there(project: Project) -> None:
    code = "import aimaas_helpers, sys; print(aimaas_helpers.__file__)"
    ran = subprocess.run([project.python, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(project.root / "src" / "aimaas_helpers" / "__init__.py")
    assert (project.cache / "numbers").read_text() == "1 2 3"
    assert not (project.root / ".venv" / "tmp").exists()


def test_a_second_run_does_nothing_at_once(project: Project) -> None:
    before = project.stamp.stat().st_mtime_ns
    start = time.perf_counter()
    ran = project.setup()
    assert time.perf_counter() - start < 2  # 0.1 s when nothing else runs
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert project.stamp.stat().st_mtime_ns == before


def test_an_interrupted_installation_is_not_taken_for_a_whole_one(setup: ModuleType, project: Project) -> None:
    setup.ROOT, setup.PYTHON = str(project.root), str(project.python)
    stamp = json.loads(project.stamp.read_text())
    assert setup.packages_ready(stamp)
    assert not setup.packages_ready({**stamp, "installing": True})
    assert not setup.packages_ready({})


def test_data_that_went_missing_is_fetched_again(project: Project) -> None:
    (project.cache / "numbers").unlink()
    ran = project.setup()
    assert (ran.returncode, ran.stdout) == (0, "Data.\n")
    assert (project.cache / "numbers").exists()


def test_data_that_cannot_be_fetched(project: Project) -> None:
    hidden = project.cache.rename(project.cache.with_name("hidden"))
    try:
        ran = project.setup()
    finally:
        hidden.rename(project.cache)
    assert ran.returncode == 1
    assert "There is no data cache." in ran.stderr
    assert "The packages are installed, the data is not" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_changed_lock_is_installed_into_the_same_environment(project: Project) -> None:
    kept = project.root / ".venv" / "kept"
    kept.touch()
    (project.root / "requirements.txt").write_text("# changed\n")
    ran = project.setup()
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Installing the locked packages")
    assert kept.exists()
    assert project.setup().stdout == ""


def test_a_lock_that_cannot_be_installed_then_one_that_can(project: Project) -> None:
    lock = project.root / "requirements.txt"
    lock.write_text("not-there==1.0 --hash=sha256:" + "0" * 64)
    ran = project.setup()
    assert ran.returncode == 1
    assert "No matching distribution found for not-there==1.0" in ran.stderr
    assert "The packages could not be installed" in ran.stderr
    lock.write_text("")
    ran = project.setup()
    assert ran.returncode == 0, ran.stderr
    assert "Making" not in ran.stdout


def test_a_moved_folder_gets_a_new_environment(project: Project) -> None:
    old, project.root = project.root, project.root.rename(project.root.with_name("moved, with spaces"))
    ran = project.setup()
    assert ran.returncode == 0, ran.stderr
    assert f"because the folder was moved from {old}" in ran.stdout
    assert str(project.root) in (project.root / ".venv" / "bin" / "pip").read_text()
    assert project.setup().stdout == ""


# Parts that would need another Python or a full disk.


def a_python(folder: Path, name: str, version: str, complete: bool = True) -> list[str]:
    """A command that answers as a Python of that version would, without or with the module venv."""
    script = folder / name
    refuse = "" if complete else 'case "$2" in *ensurepip*) exit 1;; esac\n'
    script.write_text(f"#!/bin/sh\n{refuse}echo {version}\n")
    script.chmod(0o755)
    return [str(script)]


def test_an_old_python_can_read_it() -> None:
    tree = ast.parse(SETUP.read_text(encoding="utf-8"), feature_version=(3, 6))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert imported <= set(sys.stdlib_module_names) - {"__future__", "dataclasses", "tomllib"}


def test_an_old_python_says_what_to_install(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "candidates", lambda: [a_python(tmp_path, "python3", "3.8"), ["/not/there"]])
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    with pytest.raises(SystemExit) as stopped:
        setup.choose_python()
    assert "3.11, 3.12 or 3.13; this is Python 3.8.18" in str(stopped.value)
    assert "apt install python3.11 python3.11-venv" in str(stopped.value)


def test_another_python_on_the_path_is_found(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_python(tmp_path, "python3.13", "3.13", complete=False)
    good = a_python(tmp_path, "python3.12", "3.12")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "_base_executable", a_python(tmp_path, "python3", "3.8")[0])
    assert setup.choose_python() == good


def test_a_python_without_venv(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = a_python(tmp_path, "python3.12", "3.12", complete=False)
    monkeypatch.setattr(setup, "candidates", lambda: [broken])
    with pytest.raises(SystemExit) as stopped:
        setup.choose_python()
    assert "apt install python3.12-venv" in str(stopped.value)


def test_a_full_disk(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.need_disk()
    monkeypatch.setattr(setup, "DISK_GB", 1e9)
    with pytest.raises(SystemExit) as stopped:
        setup.need_disk()
    assert "GB of free disk" in str(stopped.value)


def test_an_environment_that_does_not_work(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "VENV", str(tmp_path))
    monkeypatch.setattr(setup, "PYTHON", "/not/there")
    assert setup.why_rebuild({}) == ", because the one that is there does not work"
    old = a_python(tmp_path, "python", "3.10")
    monkeypatch.setattr(setup, "PYTHON", old[0])
    assert setup.why_rebuild({}) == ", because the one that is there has Python 3.10"
    fine = a_python(tmp_path, "python", "3.12")
    monkeypatch.setattr(setup, "PYTHON", fine[0])
    assert setup.why_rebuild({}) is None
    assert setup.why_rebuild({"installing": True}) == ", because the last installation was interrupted"
    assert setup.why_rebuild({"root": "/elsewhere"}) == ", because the folder was moved from /elsewhere"


def test_what_would_mislead_pip_is_left_out(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "file:///mirror")
    environment = setup.clean()
    assert "PYTHONPATH" not in environment
    assert environment["PIP_USER"] == "0"
    assert environment["PIP_INDEX_URL"] == "file:///mirror"
