"""One real service for all of these tests, its worker and its lake; each test tracks under a name of its own."""

import uuid

import pytest


@pytest.fixture(scope="session")
def real_service(new_service, tmp_path_factory):
    service = new_service(tmp_path_factory.mktemp("service"))
    service.keys = service.start()
    return service


@pytest.fixture
def service(real_service):
    """Up, whatever the test before did to it."""
    if real_service.process.poll() is not None:
        real_service.start()
    return real_service


@pytest.fixture
def name():
    """What this test's events are called."""
    return f"clicked-{uuid.uuid4()}"


TRACK = """
def track(start, stop):
    with gx.unit("user-1"):
        for n in range(start, stop):
            genux.track(os.environ["EVENT"], n)
"""


@pytest.fixture
def host(service, launch, name):
    """`launch` with this service; `track(start, stop)` in it tracks each number once."""

    def run(host, **settings):
        if isinstance(host, str):
            host = TRACK + host
        return launch(host, url=service.keys["url"], key=service.keys["server_key"], EVENT=name, **settings)

    return run


@pytest.fixture
def in_lake(service, host, name):
    """Ships what dead processes left, as the next start does, and counts each number in the lake."""

    def count():
        later = host("assert gx.flush(60), gx.status()\nassert not gx.status().parked")
        assert later.returncode == 0, later.err
        service.wait_until_drained()
        return service.events_in_lake("value", name)

    return count
