import gzip
import os

import pytest
import zstandard

from genux.errors import ServiceError
from genux_server.service.body import MAX_BODY_BYTES, MAX_INFLATED_BYTES, inflate

TEXT = b'{"a": "' + os.urandom(5_000).hex().encode() + b'"}'


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT)),
        ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)),
    ],
)
def test_a_body_comes_back_as_it_was(encoding, body):
    assert inflate(body, encoding) == TEXT


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("gzip", gzip.compress(TEXT)[:-9], "unreadable"),
        ("gzip", gzip.compress(TEXT) + b"tail", "unreadable"),
        ("gzip", b"", "unreadable"),
        ("gzip", TEXT, "unreadable"),
        ("zstd", TEXT, "unreadable"),
        ("deflate", TEXT, "unknown_encoding"),
        ("", bytes(MAX_BODY_BYTES + 1), "too_large"),
        ("gzip", gzip.compress(bytes(MAX_INFLATED_BYTES + 1), 1), "too_large"),
        ("zstd", zstandard.compress(bytes(MAX_INFLATED_BYTES + 1)), "too_large"),
    ],
)
def test_a_body_that_is_damaged_or_too_large_is_refused(encoding, body, code):
    with pytest.raises(ServiceError) as caught:
        inflate(body, encoding)
    assert caught.value.code == code


def test_a_body_of_exactly_the_bound_is_taken():
    assert len(inflate(gzip.compress(bytes(MAX_INFLATED_BYTES), 1), "gzip")) == MAX_INFLATED_BYTES


def test_a_truncated_zstd_frame_never_reads_as_whole():
    """zstd has no error for it, so what is checked is what counts: the text is not all there."""
    assert inflate(zstandard.compress(TEXT)[:-4], "zstd") != TEXT
