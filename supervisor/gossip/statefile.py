"""One file of the ring's state: a value with a checksum, so that damage is seen and told instead of believed (W25, threats S48).

    STEAD-RING-1 newline   then 32 bytes, BLAKE2b-256 of the rest   then one value (hart/wire.py)

Rules: written whole or not at all (but for `write_over`), durable when `write` returns, mode 0600. Whatever a file holds, reading gives its
value or Damaged with the damage in words. Not here: which files there are (store.py).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from hart.errors import ConflictError, FormatError, InputError, NotFoundError, StorageError
from hart.files import make_dirs, open_regular, storage, write_atomic
from hart.limits import WIRE_MAX
from hart.wire import decode, encode

_MAGIC: Final = b"STEAD-RING-1\n"
_DIGEST: Final = 32
HEAD: Final = len(_MAGIC) + _DIGEST


class Damaged(Exception):  # noqa: N818  a file is, nobody errs; caught in store.py alone
    """`args[0]` says what is wrong with the content."""


def write(path: Path, value: Any) -> None:
    """StorageError when the disk does not take it; what was there before is then still there."""
    with on_disk(path):
        make_dirs(path.parent, mode=0o700)
        write_atomic(path, _whole(value), mode=0o600)


def write_over(path: Path, value: Any) -> None:
    """Into the room that the file has, where the disk takes no new one; StorageError when there is no file, or no room in it.

    For a value that another file has too: a crash leaves this one damaged."""
    data = _whole(value)
    with on_disk(path), open(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "wb", buffering=0) as file:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        file.truncate()
        os.fsync(file.fileno())


def _whole(value: Any) -> bytes:
    body = encode(value)
    return _MAGIC + blake2b(body, digest_size=_DIGEST).digest() + body


def read(path: Path, *, most: int = WIRE_MAX) -> Any:
    """The value, None where there is no file; Damaged, or StorageError when the disk does not give it."""
    with on_disk(path):
        try:
            with open_regular(path) as file:
                raw = file.read(HEAD + most + 1)
        except NotFoundError:
            return None
        except FormatError as error:
            raise Damaged(error.cause) from None
    if not raw:
        raise Damaged("it is empty")
    if raw[: len(_MAGIC)] != _MAGIC:
        raise Damaged("it does not begin as such a file does")
    if len(raw) > HEAD + most:
        raise Damaged(f"it is larger than {most} bytes")
    body = raw[HEAD:]
    if blake2b(body, digest_size=_DIGEST).digest() != raw[len(_MAGIC) : HEAD]:
        raise Damaged("its checksum does not fit: it was cut short or changed")
    try:
        return decode(body, thing=str(path), limit=most)
    except InputError as error:
        raise Damaged(error.cause) from None


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Everything that a disk can do to us here is StorageError: another file in the way of a directory, too."""
    try:
        with storage(path):
            yield
    except (NotFoundError, ConflictError) as error:
        raise StorageError(error.thing, error.cause, next=error.next) from error
