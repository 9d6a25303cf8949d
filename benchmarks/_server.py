"""A local server in a process of its own: a model that answers at once, and a sink that says yes to telemetry.

Every event that a benchmark sends carries a word such as `mark-42x`; the sink gathers those it was sent, in whatever
format, so that what arrived is counted the same way for everybody, each event once.
"""

import asyncio
import gzip
import json
import re
import signal
import subprocess
import sys
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import zstandard

__all__ = ["CHUNKS", "count_marks", "running"]

CHUNKS = 50
MODEL = "gpt-5-mini"
MARKS_PATH = "/marks"

_USAGE = {"prompt_tokens": 100, "completion_tokens": CHUNKS, "total_tokens": 100 + CHUNKS}
_MARK = re.compile(rb"mark-\d+x")


def _frame(kind: str, choice: dict[str, object]) -> dict[str, object]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": MODEL, "choices": [{"index": 0, **choice}]}


def _head(body: bytes, content_type: bytes = b"application/json", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, content_type, len(body), body)


def _event(content: dict[str, object]) -> bytes:
    return b"data: %s\n\n" % json.dumps(content).encode()


_DELTA = _event(_frame("chat.completion.chunk", {"delta": {"content": "word "}, "finish_reason": None}))
_LAST = _event({**_frame("chat.completion.chunk", {}), "choices": [], "usage": _USAGE})
_WHOLE = {
    **_frame(
        "chat.completion", {"finish_reason": "stop", "message": {"role": "assistant", "content": "word " * CHUNKS}}
    ),
    "usage": _USAGE,
}
REPLY = _head(json.dumps(_WHOLE).encode())
STREAM = _head(_DELTA * CHUNKS + b"data: [DONE]\n\n", b"text/event-stream")
STREAM_WITH_USAGE = _head(_DELTA * CHUNKS + _LAST + b"data: [DONE]\n\n", b"text/event-stream")
SNAPSHOT = _head(json.dumps({"version": "1", "project": "p", "environment": "prod", "experiments": []}).encode())
SINKS = {  # what each service answers to a batch that it took
    "/v1/events": _head(b'{"status":"ok"}'),
    "/api/public/ingestion": _head(b'{"successes":[],"errors":[]}', status=b"207 Multi-Status"),
    "/bulk": _head(b"", status=b"202 Accepted"),
    "/v1/log_event": _head(b'{"success":true}', status=b"202 Accepted"),
}
YES = _head(b"{}")
NO_PROTOBUF = _head(b"", b"application/x-protobuf")
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as little of it as these clients need."""

    def __init__(self, marks: set[bytes]) -> None:
        self._marks = marks
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            request, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._transport.write(self._answer(request.split(" ")[1].partition("?")[0], headers, body))

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        if path.endswith("/chat/completions"):
            asked = json.loads(body)
            answer = REPLY
            if asked.get("stream"):
                answer = STREAM_WITH_USAGE if (asked.get("stream_options") or {}).get("include_usage") else STREAM
            # As long as the usual name, so that the length in the head still holds.
            return answer.replace(MODEL.encode(), asked["model"].encode()) if asked["model"] != MODEL else answer
        if path == MARKS_PATH:
            return _head(str(len(self._marks)).encode())
        if path == "/v1/snapshot":
            return SNAPSHOT
        decode = DECODERS.get(headers.get("content-encoding", ""))
        self._marks.update(_MARK.findall(decode(body) if decode else body))
        if "protobuf" in headers.get("content-type", ""):
            return NO_PROTOBUF
        return SINKS.get(path, YES)


async def serve(port: int) -> None:
    marks: set[bytes] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(marks), "127.0.0.1", port, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def running(port: int = 0) -> Iterator[str]:
    """The server for as long as the block lasts.

    Args:
        port: to listen on; 0 takes a free one.

    Yields:
        Its URL, without a path.
    """
    command = [sys.executable, __file__, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.send_signal(signal.SIGTERM)


def count_marks(url: str) -> int:
    """How many different events have arrived since the server started."""
    with urllib.request.urlopen(url + MARKS_PATH, timeout=10) as answer:
        return int(answer.read())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1])))
