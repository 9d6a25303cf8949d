"""Request bodies, inflated within bounds: a megabyte may claim to be a gigabyte."""

import zlib

import zstandard

from genux.errors import ServiceError

__all__ = ["MAX_BODY_BYTES", "MAX_INFLATED_BYTES", "inflate"]

MAX_BODY_BYTES = 10 * 2**20
MAX_INFLATED_BYTES = 64 * 2**20

_GZIP = 16 + zlib.MAX_WBITS
_MAX_WINDOW_BYTES = 2**24


def inflate(body: bytes, encoding: str) -> bytes:
    """The body as it was before `Content-Encoding`.

    Args:
        body: at most `MAX_BODY_BYTES`.
        encoding: `gzip`, `zstd`, `identity` or empty.

    Raises:
        ServiceError: `too_large`, `unreadable` (truncated or damaged), or `unknown_encoding`.
    """
    if len(body) > MAX_BODY_BYTES:
        raise ServiceError("too_large", f"A body may have {MAX_BODY_BYTES} bytes.", 413)
    if encoding in {"", "identity"}:
        return body
    if encoding == "gzip":
        return _bounded(_gunzip(body))
    if encoding == "zstd":
        return _bounded(_unzstd(body))
    raise ServiceError("unknown_encoding", f"Content-Encoding may be gzip or zstd, not {encoding}.", 415)


def _bounded(inflated: bytes) -> bytes:
    if len(inflated) > MAX_INFLATED_BYTES:
        raise ServiceError("too_large", f"A body may inflate to {MAX_INFLATED_BYTES} bytes.", 413)
    return inflated


def _gunzip(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=_GZIP)
    try:
        inflated = inflater.decompress(body, MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise ServiceError("unreadable", f"The body is not gzip: {error}.", 400) from None
    if len(inflated) <= MAX_INFLATED_BYTES and (not inflater.eof or inflater.unused_data):
        raise ServiceError("unreadable", "The gzip body is cut short, or something follows it.", 400)
    return inflated


def _unzstd(body: bytes) -> bytes:
    # A frame cut short ends the stream early without an error: the JSON inside is then cut short, and refused as that.
    try:
        with zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(body) as reader:
            return bytes(reader.read(MAX_INFLATED_BYTES + 1))
    except zstandard.ZstdError as error:
        raise ServiceError("unreadable", f"The body is not zstd: {error}.", 400) from None
