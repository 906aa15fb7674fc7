"""A server's TLS from files: key and certificates, and the authorities whose clients may come in.

Rules: TLS 1.2 at least; with authorities a client must show a certificate. What is wrong with a file is told with its path.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from hart.errors import FormatError, UsageError
from hart.files import storage


def server_context(*, key: str, certs: str, ca_certs: str) -> ssl.SSLContext:
    """UsageError when one of key and certs is missing; FormatError, NotFoundError or StorageError for a file that does not serve."""
    if not (key and certs):
        raise UsageError(f"--{'certs' if key else 'key'}", "is missing: TLS needs --key and --certs", next="give both, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (key, certs, ca_certs):
        if path:
            with storage(Path(path)), Path(path).open("rb"):
                pass
    try:
        context.load_cert_chain(certs, key, password=lambda: "")  # without it OpenSSL asks on the terminal for that of an encrypted key
    except ssl.SSLError as error:
        raise FormatError(f"--key {key} and --certs {certs}", f"do not go together: {error.reason or error}") from None
    if ca_certs:
        try:
            context.load_verify_locations(ca_certs)
        except ssl.SSLError as error:
            raise FormatError(f"--ca-certs {ca_certs}", f"has no certificates: {error.reason or error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context
