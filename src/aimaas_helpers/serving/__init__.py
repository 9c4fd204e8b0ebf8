"""From a trained model to a service that stock clients can call.

``export`` writes a Keras model as ``name/version/``; ``local`` starts a server for such folders beside a notebook, as
``aimaas serve`` does in a terminal. In the server, each module knows only the ones below it: ``app`` and
``middleware`` (HTTP), ``protocols`` (translation), ``plane`` (checks), ``repository`` (which models), ``runtime``
(arrays in, arrays out), ``artefact`` (files).
"""

from aimaas_helpers.serving.artefact import Artefact, ModelCard, export, open_artefact
from aimaas_helpers.serving.local import Service, local

__all__ = ["Artefact", "ModelCard", "Service", "export", "local", "open_artefact"]
