"""From a trained model to a service that stock clients can call.

``export`` writes a Keras model as ``name/version/``; ``local`` starts a server for such folders beside a notebook, as
``aimaas serve`` does in a terminal; ``route`` says which version answers, ``sign`` vouches for one. In the server, each
module knows only the ones below it: ``server`` and ``workers`` (processes), ``app``, ``observation`` and ``limits``
(HTTP), ``protocols`` and ``openapi`` (translation), ``plane`` (checks), ``repository`` and ``routing`` (which model),
``batching`` (rows together), ``runtime`` (arrays in, arrays out), ``artefact`` (files). ``load`` measures it all.
Texts are written by ``bytewise`` with any model that predicts bytes, and by ``language`` and ``continuous`` with the
engine of the package ``language``.
"""

from aimaas_helpers.serving.artefact import Artefact, ModelCard, export, export_language_model, open_artefact
from aimaas_helpers.serving.local import Service, local
from aimaas_helpers.serving.routing import route
from aimaas_helpers.serving.signing import sign

__all__ = [
    "Artefact",
    "ModelCard",
    "Service",
    "export",
    "export_language_model",
    "local",
    "open_artefact",
    "route",
    "sign",
]
