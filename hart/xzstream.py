"""A bounded reader of one xz stream (format: the .xz file format 1.1, section 2).

Rules (threats 3.3): one stream and nothing after it; the decoder's memory, the output and the ratio of output to input have caps; what is
held is one chunk. A caller has verified the signature over these bytes before any of them comes here.
"""

from __future__ import annotations

import lzma
from typing import Protocol

from hart.errors import FormatError, LimitError
from hart.limits import CHUNK, KIB, XZ_MEMORY_MAX
from hart.members import ArchiveCaps

INPUT = 64 * KIB  # a step of the ratio check: what this can swell to before it is judged stays near ARCHIVE_RATIO_FREE


class Readable(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes: ...


class XzReader:
    """Reads what one xz stream holds. `raw` stands at the stream's first byte; `thing` names it in errors."""

    def __init__(self, raw: Readable, caps: ArchiveCaps, *, thing: str) -> None:
        self.raw = raw
        self.caps = caps
        self.thing = thing
        self.taken = 0  # compressed bytes
        self.given = 0  # unpacked bytes
        self._decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY_MAX)
        self._chunk = memoryview(b"")

    def read(self, size: int) -> memoryview:
        """One to `size` bytes, or none at the end of the stream."""
        if not self._chunk:
            self._chunk = memoryview(self._decode())
        part, self._chunk = self._chunk[:size], self._chunk[size:]
        return part

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes (a small number); FormatError when the stream ends before."""
        parts = bytearray()
        while len(parts) < size:
            part = self.read(size - len(parts))
            if not part:
                raise FormatError(self.thing, "the archive is cut short")
            parts += part
        return bytes(parts)

    def finish(self) -> None:
        """What is left must be zeros, and nothing may follow the stream."""
        while part := self.read(CHUNK):
            if part.tobytes().strip(b"\0"):
                raise FormatError(self.thing, "something follows the end of the archive")

    def _decode(self) -> bytes:
        """The next chunk of output, b"" at the end."""
        while not self._decoder.eof:
            block = b""
            if self._decoder.needs_input:
                block = self.raw.read(INPUT)
                self.taken += len(block)
                if not block:
                    raise FormatError(self.thing, "the compressed data is cut short")
            try:
                chunk = self._decoder.decompress(block, max_length=CHUNK)
            except lzma.LZMAError as error:
                if "emory" in str(error):
                    raise LimitError(self.thing, f"unpacking it needs more than {XZ_MEMORY_MAX} bytes of memory") from error
                raise FormatError(self.thing, "the compressed data is damaged") from error
            except EOFError as error:
                raise FormatError(self.thing, "the compressed data is damaged") from error
            self.given += len(chunk)
            self._judge()
            if chunk:
                return chunk
        if self._decoder.unused_data or self.raw.read(1):
            raise FormatError(self.thing, "something follows the compressed data")
        return b""

    def _judge(self) -> None:
        if self.given > self.caps.output:
            raise LimitError(self.thing, f"unpacks to more than {self.caps.output} bytes")
        if self.given > self.caps.ratio_free and self.given > self.caps.ratio * self.taken:
            raise LimitError(self.thing, f"unpacks to more than {self.caps.ratio} times its size: a decompression bomb")
