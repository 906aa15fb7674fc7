"""Encrypted messages as text: for a service's configuration, files, and an origin's secrets (reference: packages 2.4).

    BOX-1                      ANONYMOUS-BOX-1
    <sender's key name>        <receiver's key name>
    <receiver's key name>      <base64 of the sealed box>
    <base64 of the nonce>
    <base64 of the box>

Rules: BOX-1 is X25519-XSalsa20-Poly1305 with the sender's secret and the receiver's public key, so it tells who sent it; ANONYMOUS-BOX-1
is libsodium's sealed box and does not. No newline at the end. The caller looks up the keys by the names in the message.
Not here: ring traffic, which has its own form (`supervisor/gossip/codec.py`).
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass

from nacl import bindings
from nacl.exceptions import CryptoError

from hart.errors import FormatError, LimitError, TrustError
from hart.keyfile import KeyName, PublicBoxKey, SecretBoxKey, decode_base64
from hart.limits import SEALED_TEXT_MAX

_SIGNED, _ANONYMOUS = "BOX-1", "ANONYMOUS-BOX-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A message that is not opened yet. `sender` and `nonce` (24 bytes) are None when it is anonymous."""

    sender: KeyName | None
    receiver: KeyName
    nonce: bytes | None
    box: bytes

    @classmethod
    def parse(cls, text: str | bytes, *, thing: str = "encrypted message") -> Sealed:
        """From its text; FormatError names the line that is wrong."""
        if len(text) > SEALED_TEXT_MAX:
            raise LimitError(thing, f"is larger than {SEALED_TEXT_MAX} bytes")
        try:
            lines = (text if isinstance(text, str) else text.decode("ascii")).rstrip("\r\n").split("\n")
        except UnicodeDecodeError:
            raise FormatError(thing, "is not text") from None
        wanted = {_SIGNED: 5, _ANONYMOUS: 3}.get(lines[0].strip())
        if wanted is None:
            raise FormatError(thing, f"line 1: {lines[0][:32]!r} is neither {_SIGNED} nor {_ANONYMOUS}")
        if len(lines) != wanted:
            raise FormatError(thing, f"has {len(lines)} lines, not {wanted}")
        box = decode_base64(lines[-1].strip(), thing=thing, where=f"line {wanted}")
        if wanted == 3:
            return cls(sender=None, receiver=KeyName.parse(lines[1].strip()), nonce=None, box=box)
        nonce = decode_base64(lines[3].strip(), thing=thing, where="line 4")
        if len(nonce) != bindings.crypto_box_NONCEBYTES:
            raise FormatError(thing, f"line 4: is a nonce of {len(nonce)} bytes, not {bindings.crypto_box_NONCEBYTES}")
        return cls(sender=KeyName.parse(lines[1].strip()), receiver=KeyName.parse(lines[2].strip()), nonce=nonce, box=box)

    def text(self) -> str:
        box = base64.b64encode(self.box).decode()
        if self.sender is None or self.nonce is None:
            return f"{_ANONYMOUS}\n{self.receiver}\n{box}"
        return f"{_SIGNED}\n{self.sender}\n{self.receiver}\n{base64.b64encode(self.nonce).decode()}\n{box}"

    def open(self, receiver: SecretBoxKey, sender: PublicBoxKey | None = None) -> bytes:
        """The message inside; TrustError unless it was made for this receiver, by this sender where one is named."""
        thing = f"encrypted message to {self.receiver}"
        offered = None if sender is None else sender.key
        if (receiver.key, offered) != (self.receiver, self.sender):
            raise TrustError(thing, f"cannot be opened with {receiver.key} from {offered or 'nobody'}")
        try:
            if sender is None or self.nonce is None:
                return bindings.crypto_box_seal_open(self.box, receiver.public.raw, receiver.raw)
            return bindings.crypto_box_open(self.box, self.nonce, sender.raw, receiver.raw)
        except (CryptoError, ValueError):  # ValueError: shorter than any box is
            raise TrustError(thing, "was changed, or made with other keys than it names") from None


def seal(message: bytes, receiver: PublicBoxKey, sender: SecretBoxKey | None = None, *, nonce: bytes | None = None) -> Sealed:
    """Encrypt for a receiver, with a sender or anonymously. `nonce`: 24 bytes, never twice between two keys, random unless given."""
    if sender is None:
        return Sealed(sender=None, receiver=receiver.key, nonce=None, box=bindings.crypto_box_seal(message, receiver.raw))
    chosen = secrets.token_bytes(bindings.crypto_box_NONCEBYTES) if nonce is None else nonce
    box = bindings.crypto_box(message, chosen, receiver.raw, sender.raw)
    return Sealed(sender=sender.key, receiver=receiver.key, nonce=chosen, box=box)
