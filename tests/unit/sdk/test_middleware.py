import asyncio
import gc
import io
from wsgiref.util import FileWrapper

import flask
import pytest

import genux
import genux.integrations.flask
from genux import testing
from genux.middleware import AsgiUnit, WsgiUnit
from genux.testing import WsgiTransport


@pytest.fixture
def app(gx):
    app = flask.Flask("host")

    @app.get("/plain")
    def plain():
        genux.track("plain")
        return genux.peek("ai-entry").reason

    @app.get("/stream")
    def stream():
        def parts():
            for n in range(3):
                genux.track("part", n=n)
                yield f"{n};"

        return app.response_class(parts())

    app.wsgi_app = WsgiUnit(
        app.wsgi_app,
        lambda environ: environ["HTTP_X_USER"] or None,
        attributes_of=lambda environ: {"country": environ["HTTP_X_COUNTRY"]},
    )
    return app


def test_a_flask_request_runs_for_its_visitor(app):
    with testing.recording() as seen:
        headers = {"X-User": "user-1", "X-Country": "KR"}
        assert WsgiTransport(app).send("GET", "/plain", b"", headers).body == b"ASSIGNED"
    assert [event.unit_id for event in seen.tracks] == ["user-1"]
    genux.track("outside")
    assert genux.status().dropped == {"no_unit": 1}


def test_a_streamed_answer_keeps_its_visitor_and_leaves_none_behind(app):
    first = app({**environ("/stream"), "HTTP_X_USER": "user-1"}, lambda *_: None)
    second = app({**environ("/stream"), "HTTP_X_USER": "user-2"}, lambda *_: None)
    with testing.recording() as seen:
        body = [part for pair in zip(first, second, strict=True) for part in pair]
    first.close()
    second.close()
    assert body == [b"0;", b"0;", b"1;", b"1;", b"2;", b"2;"]
    assert [event.unit_id for event in seen.events] == ["user-1", "user-2"] * 3


def test_a_streamed_answer_that_nobody_closes_ends_in_its_own_context(app):
    @app.get("/with-context")
    def with_context():
        @flask.stream_with_context
        def parts():
            try:
                yield "0;"
                yield "1;"
            finally:
                genux.track("left", path=flask.request.path)

        return app.response_class(parts())

    with testing.recording() as seen:
        answer = app({**environ("/with-context"), "HTTP_X_USER": "user-1"}, lambda *_: None)
        assert next(iter(answer)) == b"0;"
        del answer
        gc.collect()
    assert [(event.unit_id, event.properties) for event in seen.tracks] == [("user-1", {"path": "/with-context"})]


def test_a_flask_request_pushed_by_hand_leaves_no_visitor_behind(gx):
    app = flask.Flask("by hand")
    genux.integrations.flask.init_app(app, lambda: "user-1")
    with testing.recording() as seen:
        with app.test_request_context("/"):
            app.preprocess_request()
            genux.track("inside")
        genux.track("outside")
    assert [(event.name, event.unit_id) for event in seen.tracks] == [("inside", "user-1")]


def test_a_request_whose_visitor_cannot_be_told_is_served_all_the_same(app, gx):
    response = WsgiTransport(app).send("GET", "/plain", b"", {})
    assert (response.status, response.body) == (200, b"NO_UNIT")
    assert gx.status().failures == {"unit_of": 1}
    assert WsgiTransport(app).send("GET", "/plain", b"", {"X-User": ""}).body == b"NO_UNIT"
    assert gx.status().failures == {"unit_of": 1}


def test_a_file_reaches_the_server_as_it_is_so_that_it_can_send_it_quickly(gx):
    def app(request, _start_response):
        return request["wsgi.file_wrapper"](io.BytesIO(b"file"))

    answer = WsgiUnit(app, lambda _: "user-1")({**environ("/"), "wsgi.file_wrapper": FileWrapper}, None)
    assert isinstance(answer, FileWrapper)
    assert list(answer) == [b"file"]


def environ(path):
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "HTTP_X_COUNTRY": "KR",
    }


def test_an_asgi_request_runs_for_its_visitor(gx):
    async def app(scope, receive, send):
        await asyncio.sleep(0)
        gx.track(scope["type"])
        await asyncio.to_thread(gx.track, "thread")

    wrapped = AsgiUnit(app, lambda scope: scope["user"], client=gx)

    async def serve():
        await wrapped({"type": "lifespan"}, None, None)
        await asyncio.gather(*(wrapped({"type": "http", "user": f"user-{n}"}, None, None) for n in range(5)))

    with testing.recording() as seen:
        asyncio.run(serve())
    assert sorted(event.unit_id for event in seen.events) == sorted([f"user-{n}" for n in range(5)] * 2)
    assert gx.status().dropped == {"no_unit": 2}
