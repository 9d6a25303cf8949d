import importlib.util
import sys
import threading
from pathlib import Path

import pytest
from werkzeug.serving import make_server


@pytest.fixture(scope="session")
def seeding():
    path = Path(__file__).with_name("seeding.py")
    spec = importlib.util.spec_from_file_location("page_seeding", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_seeding"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def app(seeding, tmp_path_factory):
    app = seeding.create_seeded_app(tmp_path_factory.mktemp("pages"))
    yield app
    app.extensions["genux"].store.close()


@pytest.fixture(scope="session")
def address(app):
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def signed_in(chromium, address, seeding):
    """The cookies of somebody who signed in through the form."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{address}/login")
    page.fill("#email", seeding.EMAIL)
    page.fill("#password", seeding.PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{address}{seeding.PLACE}/experiments")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(chromium, address, seeding, signed_in):
    """Opens an address below the project, and fails the test if the console had anything to complain about."""
    contexts, complaints = [], []

    def open_page(path, *, width=1280, scheme="light"):
        context = chromium.new_context(
            storage_state=signed_in, viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}{seeding.PLACE}{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
