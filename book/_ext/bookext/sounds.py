"""Sounds that a notebook holds in its outputs become files of the site, so that a page loads only what is played."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

SOUND = re.compile(r'src="data:audio/wav;base64,([A-Za-z0-9+/=\s]+)"')
FOLDER = "_sounds"


def write_sounds(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    def to_file(found: re.Match[str]) -> str:
        content = base64.b64decode(found[1])
        name = f"{FOLDER}/{hashlib.sha256(content).hexdigest()[:16]}.wav"
        file = Path(app.outdir) / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        return f'src="{context["pathto"](name, 1)}"'

    if "<audio" in context.get("body", ""):
        context["body"] = SOUND.sub(to_file, context["body"]).replace("<audio ", '<audio preload="metadata" ')


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", write_sounds)
