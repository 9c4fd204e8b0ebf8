"""Is this machine ready for the book? Each check says what it found and, where something is wrong, what to do."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path

GB = 1e9


@dataclass(frozen=True)
class Check:
    """One line of the table. A failed check is a problem if it is ``needed``, else a remark."""

    what: str
    found: str
    ok: bool
    advice: str = ""
    needed: bool = True

    @property
    def mark(self) -> str:
        return "✓" if self.ok else "✗" if self.needed else "!"


def main() -> int:
    """Print what was found; return 1 if something that the book needs is missing, else 0. Takes about a second."""
    checks = list(examine())
    width = max(len(check.what) for check in checks)
    for check in checks:
        _say(f"{check.mark} {check.what:<{width}}  {check.found}")
        if not check.ok:
            _say(f"  {'':<{width}}  → {check.advice}")
    problems = sum(check.needed and not check.ok for check in checks)
    remarks = sum(not check.needed and not check.ok for check in checks)
    if problems:
        _say(f"\nNot ready: {problems} to put right (✗), {remarks} worth knowing (!).")
    else:
        _say("\nReady." + (f" {remarks} worth knowing (!)." if remarks else ""))
    return 1 if problems else 0


def examine() -> Iterator[Check]:
    """All checks, in the order in which a reader should put them right."""
    lock = _lock()
    here = lock.parent if lock else Path.cwd()
    yield python(sys.version_info[:3])
    yield packages(lock)
    yield cores(_cores())
    yield memory(_memory())
    yield disk("disk for the project", here)
    try:
        from . import data  # only here: the packages that it needs may be missing
    except ImportError as error:
        yield Check("data", f"cannot be examined: {error}", False, "run `make setup`")
    else:
        yield disk("disk for the data", data.cache_dir())
        yield writable(data.cache_dir())
        yield from (present(name, data.is_present(name)) for name, entry in data.CATALOGUE.items() if entry.sample)
    yield port("127.0.0.1")
    yield curl()
    yield browser()


def python(version: tuple[int, int, int]) -> Check:
    return Check(
        "Python",
        ".".join(map(str, version)),
        (3, 11) <= version < (3, 14),
        "the book needs Python 3.11, 3.12 or 3.13: install one, then `make setup PYTHON=/path/to/it`",
    )


def packages(lock: Path | None) -> Check:
    """Compare what is installed with the lock file: every package in its one version."""
    if lock is None:
        found = "not compared: no requirements.txt beside the package"
        return Check("packages", found, False, "run this from the project's own folder", needed=False)
    installed = {_plain(each.name): each.version for each in distributions()}
    wanted = dict(_wanted(lock))
    wrong = [
        f"{name} {installed.get(name, 'missing')} instead of {version}"
        for name, version in wanted.items()
        if installed.get(name) != version
    ]
    more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    found = ", ".join(wrong[:3]) + more if wrong else f"all {len(wanted)} as in the lock"
    return Check("packages", found, not wrong, "run `make setup`")


def cores(count: int) -> Check:
    advice = "everything runs, but times in the book were measured on two"
    return Check("processor cores", str(count), count >= 2, advice, needed=False)


def memory(size: float | None) -> Check:
    """``size`` in bytes; None if the system does not tell."""
    if size is None:
        return Check("memory", "unknown", False, "make sure that there are 4 GB", needed=False)
    advice = "the book needs 4 GB for comfort: close other programs, and run one notebook at a time"
    return Check("memory", f"{size / GB:.1f} GB", size >= 3.5 * GB, advice, needed=False)


def disk(what: str, folder: Path, need: float = 1 * GB) -> Check:
    """``need`` in bytes, free on the disk that holds ``folder`` or will hold it."""
    folder = _existing(folder)
    free = shutil.disk_usage(folder).free
    return Check(what, f"{free / GB:.1f} GB free", free >= need, f"free {need / GB:.0f} GB on the disk of {folder}")


def writable(cache: Path) -> Check:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        advice = "choose another folder with the environment variable AIMAAS_CACHE"
        return Check("data folder", f"{cache}: {error.strerror or error}", False, advice)
    home = Path.home()
    return Check(
        "data folder", f"~/{cache.relative_to(home).as_posix()}" if cache.is_relative_to(home) else str(cache), True
    )


def present(name: str, ok: bool) -> Check:
    found = "here and verified" if ok else "missing or damaged"
    return Check(f"data set {name}", found, ok, f"run `make setup` or `aimaas data {name}` while online")


def port(host: str) -> Check:
    """Can a server be opened on ``host`` and called from this machine?"""
    try:
        with socket.create_server((host, 0)) as server:
            address = server.getsockname()
            socket.create_connection(address[:2], timeout=2).close()
    except OSError as error:
        advice = "a firewall or sandbox forbids local servers, which every service in the book needs: allow them"
        return Check("local server", f"{host}: {error.strerror or error}", False, advice)
    return Check("local server", f"can be opened and called on {host}", True)


def curl() -> Check:
    found = shutil.which("curl")
    return Check("curl", "here" if found else "none", found is not None, "install curl (Debian: apt install curl)")


def browser() -> Check:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    advice = "only the tests of the site need one: install chromium (Debian: apt install chromium)"
    return Check(
        "browser for the tests", Path(found).name if found else "none", found is not None, advice, needed=False
    )


def _lock() -> Path | None:
    """The project's requirements.txt, when this package runs from a checkout of the project."""
    root = Path(__file__).resolve().parents[2]
    lock = root / "requirements.txt"
    return lock if lock.is_file() and (root / "pyproject.toml").is_file() else None


def _wanted(lock: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each package that the lock wants on this machine."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        requirement, _, marker = line.rstrip("\\ ").partition(" ; ")
        if not marker or _applies(marker):
            name, _, version = requirement.partition("==")
            yield _plain(name), version.strip()


def _applies(marker: str) -> bool:
    try:
        from packaging.markers import Marker
    except ImportError:
        return False  # packaging is in the lock itself, so its absence is reported all the same
    return Marker(marker).evaluate()


def _plain(name: str) -> str:
    return name.partition("[")[0].lower().replace("_", "-").replace(".", "-")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> float | None:
    """Bytes of memory that this process may use: the machine's, or less in a container; None if unknown."""
    sizes = []
    if hasattr(os, "sysconf"):
        sizes.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    else:  # Windows
        with suppress(ImportError):
            sizes.append(float(import_module("psutil").virtual_memory().total))  # comes with JupyterLab
    with suppress(OSError, ValueError):  # there is no such file, or it says "max": no limit
        sizes.append(float(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(sizes, default=None)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _say(line: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:  # an old Windows console
        line = (
            line.replace("✓", "ok").replace("✗", "NO").replace("→", "->").encode(encoding, "replace").decode(encoding)
        )
    print(line)
