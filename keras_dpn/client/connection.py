"""The connection to a served model, by the protocol that its address names."""

import numbers
import os
import urllib.parse
from pathlib import Path

from keras_dpn.client.grpc_transport import Grpc
from keras_dpn.client.inputs import check
from keras_dpn.client.rest import Rest
from keras_dpn.client.transports import Transport


def connect(
    address: str,
    model: str,
    version: int | str | None,
    certificate: str | os.PathLike[str] | None,
    max_bytes: int,
) -> Transport:
    """Return a transport; the arguments are those of `Client`.

    Raises:
        ValueError: for an argument out of its range.
        OSError: if the certificate can't be read.
    """
    is_version = version is None or isinstance(version, (str, numbers.Integral))
    check(is_version, "version", "a number, a label or None", version)
    if isinstance(version, numbers.Integral):
        version = int(version)  # of NumPy's types, too
    parts = urllib.parse.urlsplit(address)
    known = parts.scheme in ("http", "https", "grpc", "grpcs") and bool(parts.netloc)
    check(known, "address", "http(s)://host:port or grpc(s)://host:port", address)
    check(bool(model), "model", "the model's name on the server", model)
    secure = parts.scheme in ("https", "grpcs")
    usable = certificate is None or secure
    check(usable, "certificate", "None except with grpcs and https", certificate)
    trusted = None if certificate is None else Path(certificate)
    if parts.scheme.startswith("grpc"):
        return Grpc(parts.netloc, model, version, secure, trusted, max_bytes)
    return Rest(address, model, version, trusted, max_bytes)
