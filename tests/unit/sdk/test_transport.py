import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genux._transport import HttpTransport
from genux.errors import TransportError
from genux.testing import WsgiTransport


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, dict(self.headers), body, self.client_address))
        self.send_response(207)
        self.send_header("X-Kind", "echo")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.server.hang_up:
            self.close_connection = True

    do_GET = do_POST  # noqa: N815 the name that http.server calls


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    server.seen, server.hang_up = [], False
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_connection_is_kept_and_the_path_of_the_url_too(server):
    transport = HttpTransport(f"http://127.0.0.1:{server.server_port}/mounted/", 5)
    for _ in range(2):
        response = transport.send("POST", "/v1/events", b"body", {"Authorization": "Bearer k"})
    assert (response.status, response.headers["x-kind"], response.body) == (207, "echo", b"body")
    assert [seen[0] for seen in server.seen] == ["/mounted/v1/events"] * 2
    assert server.seen[0][1]["Authorization"] == "Bearer k"
    assert server.seen[0][3] == server.seen[1][3]
    transport.close()


def test_a_kept_connection_that_the_service_closed_is_opened_anew(server):
    transport = HttpTransport(f"http://127.0.0.1:{server.server_port}", 5)
    server.hang_up = True
    for _ in range(3):
        assert transport.send("POST", "/x", b"1", {}).body == b"1"
    assert len({seen[3] for seen in server.seen}) == 3
    transport.close()


def test_after_an_unforeseen_fault_the_next_request_starts_on_a_new_connection(server):
    transport = HttpTransport(f"http://127.0.0.1:{server.server_port}", 5)
    transport.send("POST", "/x", b"1", {})
    with pytest.raises(TypeError):
        transport.send("POST", "/x", b"2", {"X-Odd": object()})
    assert transport.send("POST", "/x", b"3", {}).body == b"3"
    transport.close()


def test_a_service_that_never_answers_times_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = HttpTransport(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.1)
        with pytest.raises(TransportError, match="TimeoutError"):
            transport.send("GET", "/x", b"", {})


def test_something_that_speaks_no_http_is_a_transport_error():
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def babble():
            connection, _ = odd.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"220 smtp ready\r\n")

        threading.Thread(target=babble, daemon=True).start()
        with pytest.raises(TransportError, match="BadStatusLine"):
            HttpTransport(f"http://127.0.0.1:{odd.getsockname()[1]}", 5).send("GET", "/x", b"", {})


@pytest.mark.parametrize("url", ["", "example.org", "ftp://x", "http://", "http://x:port", "http://[::1"])
def test_an_address_that_is_none_is_a_transport_error(url):
    with pytest.raises(TransportError):
        HttpTransport(url, 1).send("GET", "/x", b"", {})


def test_an_unreachable_service_names_the_address():
    with pytest.raises(TransportError, match=r"http://127\.0\.0\.1:1/v1/x: ConnectionRefusedError"):
        HttpTransport("http://127.0.0.1:1", 1).send("GET", "/v1/x", b"", {})


def test_a_wsgi_app_is_called_as_a_server_would():
    closed = []

    class Parts(list):
        def close(self):
            closed.append(True)

    def app(environ, start_response):
        write = start_response("201 Created", [("X-Path", environ["PATH_INFO"]), ("X-Q", environ["QUERY_STRING"])])
        write(b"early ")
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        return Parts([body, environ["CONTENT_TYPE"].encode(), environ["HTTP_AUTHORIZATION"].encode()])

    headers = {"Content-Type": "application/json", "Authorization": "Bearer k"}
    response = WsgiTransport(app).send("POST", "/v1/events?a=b", b"{}", headers)
    assert (response.status, response.body) == (201, b"early {}application/jsonBearer k")
    assert (response.headers["x-path"], response.headers["x-q"]) == ("/v1/events", "a=b")
    assert closed == [True]


def test_a_connection_that_slept_with_its_host_is_not_trusted(server):
    transport = HttpTransport(f"http://127.0.0.1:{server.server_port}", 5)
    for _ in range(2):
        transport.send("POST", "/x", b"1", {})
        transport._used_at -= 3_600
    assert len({seen[3] for seen in server.seen}) == 2
    transport.close()
