"""Which version answers: pinned, by label, or a canary's share. Kept in ``routing.json`` in the model's folder."""

import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec

from aimaas_helpers.errors import BadInput, Corrupt, NotFound, Unwritable

ROUTING = "routing.json"


class Routing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``version`` answers requests that name none (0: the highest), except the share ``weight`` for ``canary``."""

    version: int = 0
    canary: int = 0
    weight: float = 0.0
    labels: dict[str, int] = {}

    def share(self, count: int) -> bool:
        """Whether the ``count``-th request (from 1) is the canary's: of any 100, ``100 * weight``, evenly spread."""
        return math.floor(count * self.weight + 1e-9) > math.floor((count - 1) * self.weight + 1e-9)


def route(
    folder: str | os.PathLike[str],
    *,
    version: int = 0,
    canary: int = 0,
    weight: float = 0.0,
    labels: Mapping[str, int] | None = None,
) -> None:
    """Say which version of the model in ``folder`` answers; a running server follows at its next look.

    ``version`` pins one, 0 takes the highest. ``canary`` gets the share ``weight`` (0 to 1) of the requests that name
    no version; ``labels`` give versions names for ``/v1/models/NAME/labels/LABEL``. What is not given is reset, so
    ``route(folder)`` clears all. Raises ``NotFound``, ``BadInput`` or ``Unwritable``.
    """
    folder = Path(folder)
    routing = Routing(version, canary, weight, dict(labels or {}))
    for number in filter(None, (version, canary, *routing.labels.values())):
        if not (folder / str(number)).is_dir():
            raise NotFound(f"{folder.as_posix()} has no version {number}.")
    if not 0 <= weight <= 1 or (weight > 0) != (canary > 0):
        raise BadInput("A canary is a version with a weight above 0 and at most 1, as in canary=2, weight=0.1.")
    staging = folder / f".{ROUTING}-{uuid.uuid4().hex}"
    try:
        staging.write_bytes(msgspec.json.format(msgspec.json.encode(routing), indent=2) + b"\n")
        staging.replace(folder / ROUTING)  # at once: a server never reads half of it
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise Unwritable(f"{(folder / ROUTING).as_posix()} cannot be written ({error.strerror}).") from error


def read_routing(folder: Path) -> Routing:
    """The routing kept in a model's folder. Raises ``Corrupt``."""
    try:
        routing = msgspec.json.decode((folder / ROUTING).read_bytes(), type=Routing)
    except FileNotFoundError:
        return Routing()
    except (OSError, ValueError, RecursionError) as error:
        raise Corrupt(f"{(folder / ROUTING).as_posix()} cannot be read ({error}).") from error
    if not 0 <= routing.weight <= 1:
        raise Corrupt(f"{(folder / ROUTING).as_posix()} has a weight of {routing.weight:g}; expected 0 to 1.")
    return routing
