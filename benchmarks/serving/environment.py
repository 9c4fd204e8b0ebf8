"""The peers' own environments, in ``build/bench``: made from their lock files, and kept until those change."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "bench"
LOCKS = {
    "peers": HERE / "requirements.txt",
    "mlserver": HERE / "requirements-mlserver.txt",
    "language": HERE.parent / "language" / "requirements.txt",
}


def python(name: str) -> Path:
    """The interpreter of environment ``name``; installs its locked packages first if need be (minutes)."""
    folder, lock = BUILD / name, LOCKS[name]
    command = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "lock.sha256"
    wanted = f"{folder} {hashlib.sha256(lock.read_bytes()).hexdigest()}"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return command
    print(f"Installing {lock.relative_to(HERE.parent)} into {folder} …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [
        str(command),
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        str(lock),
    ]
    if subprocess.run(install).returncode:
        sys.exit(f"The packages in {lock.name} could not be installed: see above.")
    stamp.write_text(wanted, encoding="utf-8")
    return command


def versions() -> dict[str, str]:
    """The versions of what is compared; MLServer's are in an environment of its own."""
    code = (
        "import sys, importlib.metadata as m\n"
        "known = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(*(f'{name} {known[name]}' for name in sys.argv[1:] if name in known), sep='\\n')"
    )
    common = ["starlette", "uvicorn", "tensorflow", "ai-edge-litert"]
    asked = {sys.executable: ["msgspec", *common]}
    for name, names in {"peers": ["fastapi", "litserve", "ray", "bentoml", *common], "mlserver": ["mlserver"]}.items():
        if (BUILD / name).is_dir():  # else none of them was measured
            asked[str(python(name))] = names
    found = {"python": sys.version.split()[0]}
    for interpreter, names in asked.items():
        lines = subprocess.check_output([interpreter, "-c", code, *names], text=True).splitlines()
        found.update((name, number) for name, _, number in (line.partition(" ") for line in lines))
    return found
