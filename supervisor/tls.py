"""A server's TLS from files: key and certificates, and the authorities whose clients may come in.

Rules: TLS 1.2 at least; with authorities a client must show a certificate. What is wrong with a file is told with its path.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from hart.errors import FormatError, UsageError
from hart.files import storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Paths. `ca_certs` empty: every client may come in."""

    key: str
    certs: str
    ca_certs: str = ""

    def __post_init__(self) -> None:
        if not (self.key and self.certs):
            raise UsageError(f"--{'certs' if self.key else 'key'}", "is missing: TLS needs --key and --certs", next="give both, or neither")

    def context(self) -> ssl.SSLContext:
        """FormatError, NotFoundError or StorageError for a file that does not serve."""
        for path in filter(None, (self.key, self.certs, self.ca_certs)):
            with storage(Path(path)), Path(path).open("rb"):
                pass
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            made.load_cert_chain(self.certs, self.key, password=no_password)
        except (ssl.SSLError, ValueError) as error:
            raise FormatError(f"--key {self.key} and --certs {self.certs}", f"do not serve: {reason(error)}") from None
        if self.ca_certs:
            try:
                made.load_verify_locations(self.ca_certs)
            except ssl.SSLError as error:
                raise FormatError(f"--ca-certs {self.ca_certs}", f"has no certificates: {reason(error)}") from None
            made.verify_mode = ssl.CERT_REQUIRED
        return made


def no_password() -> str:
    """Without one OpenSSL asks on the terminal for that of an encrypted key, and waits."""
    return ""


def reason(error: Exception) -> str:
    """OpenSSL's words as people write."""
    text = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
    return text.lower().replace("_", " ")
