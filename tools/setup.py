"""Set the project up: a virtual environment in .venv, the locked packages in it, and the data.

It does what is missing and no more; once all is there it returns at once. Only the standard library is used, and
only syntax that Python 3.6 can read, so that an old Python can still say in a sentence what is wrong.
"""
# ruff: noqa: UP006, UP032, UP035, UP045 - those forms are too new for Python 3.6

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "Scripts", "python.exe") if os.name == "nt" else os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "aimaas-setup.json")
SUPPORTED = ("3.13", "3.12", "3.11")
DISK_GB = 5.0  # 3.1 GB of packages, and meanwhile what pip downloads and caches

AGAIN = "When that is put right, run the same command again."
PROBE = "import sys; print('%d.%d' % sys.version_info[:2])"
LIST_DATA = """
from aimaas_helpers.data import CATALOGUE, fetch
for entry in CATALOGUE.values():
    if entry.sample:
        print(fetch(entry.name))
"""


def main() -> int:
    stamp = read_stamp()
    try:
        if not packages_ready(stamp):
            stamp = install(stamp)
        configure()
        if not data_ready(stamp):
            fetch_data(stamp)
    except KeyboardInterrupt:
        sys.exit("\nSet-up was interrupted. Run the same command again to go on.")
    except OSError as error:
        sys.exit("Set-up failed: {}.".format(error))
    return 0


# The stamp: what has been done, where, and for which versions of the files that decide it.


def read_stamp() -> Dict[str, Any]:
    try:
        with open(STAMP, encoding="utf-8") as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(stamp: Dict[str, Any]) -> None:
    with open(STAMP + ".part", "w", encoding="utf-8") as file:
        json.dump(stamp, file, indent=1)
    os.replace(STAMP + ".part", STAMP)


def digest(*names: str) -> str:
    content = hashlib.sha256()
    for name in names:
        with open(os.path.join(ROOT, name), "rb") as file:
            content.update(file.read() + b"\0")
    return content.hexdigest()


# The packages.


def packages_ready(stamp: Dict[str, Any]) -> bool:
    return (
        stamp.get("root") == ROOT
        and os.path.exists(PYTHON)
        and not stamp.get("installing")
        and stamp.get("packages") == digest("requirements.txt", "pyproject.toml")
    )


def install(stamp: Dict[str, Any]) -> Dict[str, Any]:
    why = why_rebuild(stamp)
    if why is not None:
        python = choose_python()
        need_disk()
        say("Making a virtual environment in .venv with Python {}{} …".format(version_of(python), why))
        if subprocess.call([*python, "-m", "venv", "--clear", VENV], cwd=ROOT, env=clean()):
            sys.exit("The virtual environment could not be made: see above. " + AGAIN)
    stamp = {"root": ROOT, "installing": True}
    write_stamp(stamp)
    say("Installing the locked packages (the first time about 2 minutes and 3 GB) …")
    start = time.time()
    for what in (["--require-hashes", "-r", "requirements.txt"], ["--no-deps", "--no-build-isolation", "-e", "."]):
        code = pip_install(what)
        if code > 0:
            write_stamp({"root": ROOT})  # pip stopped by itself, so it left nothing half installed
        if code:
            sys.exit("The packages could not be installed: see above. " + AGAIN)
    stamp = {"root": ROOT, "packages": digest("requirements.txt", "pyproject.toml")}
    write_stamp(stamp)
    say("The packages are installed ({:.0f} s).".format(time.time() - start))
    return stamp


def pip_install(what: List[str]) -> int:
    """pip's exit status; negative if it was killed."""
    temporary = os.path.join(VENV, "tmp")  # next to the packages: the system's own may be small
    os.makedirs(temporary, exist_ok=True)
    env = dict(clean(), TMPDIR=temporary, TEMP=temporary, TMP=temporary)
    try:
        return subprocess.call([PYTHON, "-m", "pip", "install", "-qq", *what], cwd=ROOT, env=env)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def configure() -> None:
    """Copy Jupyter's settings into .venv, where it reads them without touching the user's own."""
    source = os.path.join(ROOT, "tools", "jupyter")
    for folder, _, names in os.walk(source):
        target = os.path.join(VENV, os.path.relpath(folder, source))
        os.makedirs(target, exist_ok=True)
        for name in names:
            shutil.copyfile(os.path.join(folder, name), os.path.join(target, name))


def why_rebuild(stamp: Dict[str, Any]) -> Optional[str]:
    """Why .venv must be made, in words that follow "Python 3.11"; None if it can be kept."""
    if not os.path.lexists(VENV):
        return ""
    if stamp.get("installing"):
        return ", because the last installation was interrupted"
    if stamp.get("root", ROOT) != ROOT:
        return ", because the folder was moved from {}".format(stamp["root"])
    found = version_of([PYTHON], "import pip; " + PROBE)
    if found is None:
        return ", because the one that is there does not work"
    if found not in SUPPORTED:
        return ", because the one that is there has Python {}".format(found)
    return None


def need_disk() -> None:
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < DISK_GB:
        sys.exit(
            "Set-up needs {:.0f} GB of free disk in {}; there are {:.1f} GB. Free some, or move the folder to a "
            "larger disk.".format(DISK_GB, ROOT, free)
        )


# A supported Python.


def choose_python() -> List[str]:
    """The command of a supported Python that can make virtual environments: the running one, if it will do."""
    incomplete: Optional[Tuple[str, List[str]]] = None
    for command in candidates():
        version = version_of(command)
        if version not in SUPPORTED or version is None:
            continue
        if version_of(command, "import ensurepip, venv; " + PROBE):
            return command
        incomplete = incomplete or (version, command)
    if incomplete:
        return sys.exit(no_venv(*incomplete))
    return sys.exit(no_python("{}.{}.{}".format(*sys.version_info[:3])))


def candidates() -> List[List[str]]:
    commands = [[getattr(sys, "_base_executable", None) or sys.executable]]  # not that of an activated .venv
    for version in SUPPORTED:
        named = shutil.which("python" + version)
        if named:
            commands.append([named])
        if os.name == "nt" and shutil.which("py"):
            commands.append(["py", "-" + version])
    return commands


def version_of(command: Sequence[str], code: str = PROBE) -> Optional[str]:
    """What ``code`` prints under that Python, by default its version as in "3.11"; None if it fails."""
    try:
        output = subprocess.check_output([*command, "-c", code], stderr=subprocess.DEVNULL, env=clean())
    except (OSError, subprocess.CalledProcessError):
        return None
    return output.decode("ascii", "replace").strip()


def no_python(running: str) -> str:
    return (
        "The book needs Python 3.11, 3.12 or 3.13; this is Python {}, and no other was found. Install one "
        "(Debian, Ubuntu: apt install python3.11 python3.11-venv, or 3.12, 3.13, whichever your release has; "
        "macOS: brew install python@3.12; Windows: winget install Python.Python.3.12) and run the same command "
        "again. If you have one elsewhere, name it: make setup PYTHON=/path/to/python3.12".format(running)
    )


def no_venv(version: str, command: List[str]) -> str:
    return (
        "{} is Python {}, but its module venv is incomplete: install it (Debian, Ubuntu: apt install "
        "python{}-venv) and run the same command again.".format(" ".join(command), version, version)
    )


# The data.


def data_ready(stamp: Dict[str, Any]) -> bool:
    known = stamp.get("data", {})
    return bool(known) and known["of"] == data_key() and known["files"] == look(list(known["files"]))


def data_key() -> List[Optional[str]]:
    where = [os.environ.get(name) for name in ("AIMAAS_CACHE", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA")]
    return [digest(os.path.join("src", "aimaas_helpers", "data", "catalogue.py")), *where]


def look(paths: List[str]) -> Dict[str, Any]:
    """Size and time of each file that exists. ``data.load`` verifies the SHA-256 at every load."""
    found = {}
    for path in paths:
        if os.path.isfile(path):
            status = os.stat(path)
            found[path] = [status.st_size, status.st_mtime]
    return found


def fetch_data(stamp: Dict[str, Any]) -> None:
    if subprocess.call([PYTHON, "-m", "aimaas_helpers", "data"], cwd=ROOT, env=clean()):
        sys.exit("The packages are installed, the data is not: see above. " + AGAIN)
    listed = subprocess.check_output([PYTHON, "-c", LIST_DATA], cwd=ROOT, env=clean())
    paths = listed.decode(sys.getfilesystemencoding()).splitlines()
    write_stamp(dict(stamp, data={"of": data_key(), "files": look(paths)}))


# Processes.


def clean() -> Dict[str, str]:
    """The environment without what would send Python or pip elsewhere; the reader's own pip mirror is kept."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    env.update(PIP_USER="0", PIP_ROOT_USER_ACTION="ignore", PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONUTF8="1")
    return env


def say(line: str) -> None:
    try:
        print(line, flush=True)
    except UnicodeEncodeError:
        print(line.replace("…", "..."), flush=True)


if __name__ == "__main__":
    sys.exit(main())
