"""Web frameworks and servers as hosts have them: whose request it is holds wherever its code runs, and nowhere else."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import flask
import pytest
import websockets.sync.client

import genux
from genux import testing
from genux.integrations.flask import init_app

N_REQUESTS = 40
N_AT_ONCE = 8

ASGI_APP = """
import asyncio
import contextlib
import genux
from genux import testing
from genux.middleware import AsgiUnit
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

gx = genux.Client()
recording = testing.recording()
seen = recording.__enter__()

def said(name, request):
    genux.track(name, said=request.headers["x-user"])

async def plain(request):
    said("handler", request)
    task = asyncio.create_task(in_a_task(request))
    await asyncio.to_thread(said, "thread", request)
    await task
    return PlainTextResponse("ok", background=BackgroundTask(background, request))

def threaded(request):
    said("threaded", request)
    return PlainTextResponse("ok")

async def in_a_task(request):
    await asyncio.sleep(0.002)
    said("task", request)

async def background(request):
    await asyncio.sleep(0.002)
    said("background", request)

async def streamed(request):
    async def parts():
        for _ in range(3):
            await asyncio.sleep(0.001)
            said("part", request)
            yield "x"
    return StreamingResponse(parts())

async def fails(request):
    said("before the failure", request)
    raise ValueError("broken")

async def socket(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        said(f"socket {text}", websocket)
        await websocket.send_text(text)

async def events(request):
    return JSONResponse([[e.name, e.unit_id, e.properties["said"]] for e in seen.tracks])

class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)

def unit_of(scope):
    return dict(scope["headers"]).get(b"x-user", b"").decode()

app = Starlette(
    routes=[
        Route("/plain", plain), Route("/threaded", threaded), Route("/streamed", streamed), Route("/fails", fails),
        Route("/events", events), WebSocketRoute("/socket", socket),
    ],
    middleware=[Middleware(AsgiUnit, unit_of), Middleware(Passing)],
)
"""

WSGI_APP = """
import threading
import time
import flask
import genux
from genux import testing
from genux.integrations.flask import init_app

gx = genux.Client()
recording = testing.recording()
seen = recording.__enter__()
app = flask.Flask("host")

def said(name):
    genux.track(name, said=flask.request.headers["x-user"])

@app.get("/plain")
def plain():
    said("handler")
    time.sleep(0.002)
    said("later")
    return "ok"

@app.get("/streamed")
def streamed():
    user = flask.request.headers["x-user"]
    def parts():
        for _ in range(3):
            time.sleep(0.001)
            genux.track("part", said=user)
            yield "x"
    return parts()

@app.get("/threaded")
def threaded():
    user = flask.request.headers["x-user"]
    thread = threading.Thread(target=genux.carry(lambda: genux.track("thread", said=user)))
    thread.start()
    thread.join()
    return "ok"

@app.get("/fails")
def fails():
    said("before the failure")
    raise ValueError("broken")

@app.get("/events")
def events():
    return [[e.name, e.unit_id, e.properties["said"]] for e in seen.tracks]

init_app(app, lambda: flask.request.headers.get("x-user"))
"""


@pytest.fixture
def serve(tmp_path):
    """A real server with an app given as text, in a process of its own; answers its address."""
    processes = []

    def start(interface, app):
        (tmp_path / "host.py").write_text(app)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "granian", "--interface", interface, "--host", "127.0.0.1"]
        command += ["--port", str(port), "--no-access-log", "host:app"]
        if interface == "wsgi":
            command[-1:-1] = ["--blocking-threads", str(N_AT_ONCE)]
        processes.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                get(f"http://127.0.0.1:{port}/events", "nobody")
            except OSError:
                time.sleep(0.05)
            else:
                return f"127.0.0.1:{port}"
        raise AssertionError("the server did not start")

    yield start
    for process in processes:
        process.terminate()
        process.wait(20)


def get(url, user):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"X-User": user}), timeout=20) as reply:
            return reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


def visit(address, paths):
    def one(number):
        get(f"http://{address}{paths[number % len(paths)]}", f"user-{number}")

    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        list(pool.map(one, range(N_REQUESTS)))


def events(address, names):
    """The events once all are there; those after an answer come when they come."""
    deadline = time.monotonic() + 20
    while True:
        found = json.loads(get(f"http://{address}/events", "nobody"))
        if len(found) >= sum(names.values()) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def check(address, names):
    found = events(address, names)
    assert [event for event in found if event[1] != event[2]] == []
    assert {name: sum(event[0] == name for event in found) for name in names} == names
    assert len(found) == sum(names.values())


def test_a_starlette_app_under_a_server_knows_whose_request_it_is_everywhere(serve):
    address = serve("asgi", ASGI_APP)
    visit(address, ["/plain", "/threaded", "/streamed", "/fails"])
    each = N_REQUESTS // 4

    def talk(number):
        with websockets.sync.client.connect(
            f"ws://{address}/socket", additional_headers={"X-User": f"talker-{number}"}
        ) as connection:
            for text in ("one", "two"):
                connection.send(text)
                assert connection.recv(10) == text

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(talk, range(4)))
    check(
        address,
        {
            **dict.fromkeys(("handler", "task", "thread", "background", "threaded", "before the failure"), each),
            "part": 3 * each,
            "socket one": 4,
            "socket two": 4,
        },
    )


def test_a_flask_app_under_a_server_with_threads_knows_whose_request_it_is_everywhere(serve):
    address = serve("wsgi", WSGI_APP)
    visit(address, ["/plain", "/streamed", "/threaded", "/fails"])
    each = N_REQUESTS // 4
    check(address, {**dict.fromkeys(("handler", "later", "thread", "before the failure"), each), "part": 3 * each})


@pytest.fixture
def app():
    """A Flask app whose visitor is only known once the session was read."""
    client = genux.Client()
    app = flask.Flask("host")
    app.secret_key = "k"

    @app.post("/login/<user>")
    def login(user):
        flask.session["user"] = user
        return ""

    @app.get("/who")
    def who():
        genux.track("who")
        return ""

    @app.get("/async")
    async def in_a_loop():
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.to_thread(genux.track, "thread"), later())
        return ""

    async def later():
        genux.track("task")

    @app.get("/fails")
    def fails():
        raise KeyError("broken")

    @app.get("/streamed")
    def streamed():
        return ("x" for _ in range(2) if genux.track("part") is None)

    @app.errorhandler(KeyError)
    def on_error(_error):
        genux.track("error handler")
        return "", 500

    @app.teardown_request
    def at_the_end(_error):
        genux.track("teardown")

    init_app(app, lambda: flask.session.get("user"), attributes_of=lambda: {"agent": flask.request.user_agent.string})
    yield app
    client.close()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/who", ["teardown", "who"]),
        ("/async", ["task", "teardown", "thread"]),
        ("/fails", ["error handler", "teardown"]),
        ("/streamed", ["part", "part", "teardown"]),
    ],
)
def test_a_visitor_known_from_the_session_is_the_unit_until_the_answer_is_out(app, path, names):
    with app.test_client() as browser:
        browser.post("/login/ada")
        with testing.recording() as seen:
            reply = browser.get(path)
            reply.get_data()
            reply.close()
        assert flask.request.path == path
    assert sorted(event.name for event in seen.tracks) == names
    assert {event.unit_id for event in seen.tracks} == {"ada"}


def test_the_next_request_of_a_thread_is_nobodys_until_it_is_known(app):
    known, stranger = app.test_client(), app.test_client()
    known.post("/login/ada")
    with testing.recording() as seen:
        known.get("/who")
        stranger.get("/who")
    assert [event.unit_id for event in seen.tracks] == ["ada", "ada"]
    assert genux.status().dropped["no_unit"] >= 2
    genux.track("outside")
    assert len(seen.tracks) == 2


def test_attributes_are_what_targeting_looks_at(app):
    @app.get("/exposed")
    def exposed():
        return genux.variant("ai-entry").key

    browser = app.test_client()
    browser.post("/login/ada")
    with testing.force({"ai-entry": "summary"}), testing.recording() as seen:
        assert browser.get("/exposed", headers={"User-Agent": "Lynx"}).text == "summary"
    assert seen.exposures[0].attributes == {"agent": "Lynx"}


def test_an_address_forces_variants_for_the_visitor_of_the_session():
    gx = genux.Client()
    app = flask.Flask("host")
    app.get("/")(lambda: genux.variant("ai-entry").key)
    init_app(app, lambda: "ada", client=gx, plain_force=True)
    browser = app.test_client()
    with testing.recording() as seen:
        assert browser.get("/?genux_force=ai-entry:summary").text == "summary"
        assert browser.get("/").text == "control"
    assert [(event.unit_id, event.variant, event.forced) for event in seen.exposures] == [("ada", "summary", True)]
    gx.close()


def test_a_request_whose_visitor_cannot_be_told_is_served_all_the_same():
    app = flask.Flask("host")
    app.get("/")(lambda: "served")
    gx = genux.Client()
    init_app(app, lambda: flask.session["nobody"])
    assert app.test_client().get("/").text == "served"
    assert gx.status().failures == {"unit_of": 1}
    gx.close()


def test_requests_at_once_in_threads_do_not_meet(app):
    meeting = threading.Barrier(N_AT_ONCE)

    @app.get("/meet")
    def meet():
        meeting.wait(10)
        genux.track("met", said=flask.session["user"])
        return ""

    def visit_as(number):
        browser = app.test_client()
        browser.post(f"/login/user-{number}")
        browser.get("/meet")

    with testing.recording() as seen, ThreadPoolExecutor(N_AT_ONCE) as pool:
        list(pool.map(visit_as, range(N_AT_ONCE)))
    met = [event for event in seen.tracks if event.name == "met"]
    assert len(met) == N_AT_ONCE
    assert all(event.unit_id == event.properties["said"] for event in met)
