"""Choose the protocol of a server by its address."""

import os
import urllib.parse
from pathlib import Path

from keras_dpn.client.inputs import check
from keras_dpn.client.transports import Grpc, Rest, Transport


def connect(
    address: str,
    model: str,
    version: int | str | None,
    certificate: str | os.PathLike[str] | None,
) -> Transport:
    """Return the transport for a server's address.

    Args:
        address: "http(s)://host:port" or "grpc(s)://host:port".
        model: name of the model.
        version: a number, a label, or None for the newest.
        certificate: PEM file of the certificates to trust instead of the system's; over TLS only.

    Raises:
        ValueError: for another address, no name, or a certificate without TLS.
        OSError: the certificate cannot be read.
    """
    parts = urllib.parse.urlsplit(address)
    known = parts.scheme in ("http", "https", "grpc", "grpcs") and bool(parts.netloc)
    check(known, "address", "http(s)://host:port or grpc(s)://host:port", address)
    check(bool(model), "model", "the model's name on the server", model)
    secure = parts.scheme in ("https", "grpcs")
    usable = certificate is None or secure
    check(usable, "certificate", "None except with grpcs and https", certificate)
    trusted = None if certificate is None else Path(certificate)
    if parts.scheme.startswith("grpc"):
        return Grpc(parts.netloc, model, version, secure, trusted)
    return Rest(address, model, version, trusted)
