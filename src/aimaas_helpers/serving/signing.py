"""Signed versions: a server that has the public key loads nothing that was not signed with the private one.

Keys are elliptic-curve keys in PEM files, as ``openssl ecparam -name prime256v1 -genkey`` makes them. Signatures are
those of the OpenSSF model-signing specification and cover every file of the folder, the model card with its name and
version among them.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aimaas_helpers.errors import BadInput, Corrupt

if TYPE_CHECKING:
    from model_signing import hashing

SIGNATURE_FILE = "model.sig"


def sign(folder: str | os.PathLike[str], private_key: str | os.PathLike[str]) -> Path:
    """Sign one version's folder, such as ``models/digits/1``; returns the signature's file. Raises ``BadInput``."""
    from model_signing import signing  # half a second to import

    file = Path(folder) / SIGNATURE_FILE
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=Path(private_key))
        signer.set_hashing_config(_every_file()).sign(Path(folder), file)
    except Exception as error:  # the library raises many kinds
        raise BadInput(
            f"{Path(folder).as_posix()} cannot be signed with {Path(private_key).name} ({error})."
        ) from error
    return file


@contextlib.contextmanager
def verified(folder: Path, public_key: str | os.PathLike[str]) -> Iterator[Path]:
    """A private copy of ``folder``, to load from: the files themselves may change after they were looked at.

    Raises ``Corrupt`` unless every file, and no other, was signed.
    """
    from model_signing import verifying

    if not (folder / SIGNATURE_FILE).is_file():
        raise Corrupt(f"{folder.as_posix()} is not signed, and this server requires it: sign it with serving.sign.")
    with tempfile.TemporaryDirectory(prefix="aimaas-") as private:
        try:
            copy = Path(shutil.copytree(folder, Path(private) / folder.name, symlinks=True))  # links are refused
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=Path(public_key))
            verifier.set_hashing_config(_every_file()).verify(copy, copy / SIGNATURE_FILE)
        except Exception as error:  # the library raises many kinds
            reason = " ".join(str(error).split()).replace("\\", "").partition(": Expected")[0][:300]
            raise Corrupt(f"{folder.as_posix()} is not what was signed with this server's key ({reason}).") from error
        yield copy


def _every_file() -> "hashing.Config":
    """What is covered: all but the signature, which cannot cover itself."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=False)
