import datetime as dt
import gzip
import json
import uuid

import pytest

from genux_server.app import create_app
from genux_server.service import bootstrap
from genux_server.service.worker import Worker
from genux_server.store import Store


@pytest.fixture
def store(service_config):
    store = Store(service_config.control_url, service_config.inbox_url)
    yield store
    store.close()


@pytest.fixture
def credentials(store, service_config):
    return bootstrap.first_start(store, service_config)


@pytest.fixture
def scope(store, credentials):
    return bootstrap.find_scope(store, credentials.project, credentials.environment)


@pytest.fixture
def app(service_config, credentials):
    app = create_app(service_config)
    yield app
    app.extensions["genux"].store.close()


@pytest.fixture
def worker(store, app, service_config):
    return Worker(store, app.extensions["genux"].lake, service_config)


class Caller:
    """Speaks to the app with one key."""

    def __init__(self, app, key):
        self.client = app.test_client()
        self.headers = {"Authorization": f"Bearer {key}"}

    def __call__(self, method, path, json=None, data=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(path, method=method, json=json, data=data, headers=self.headers | headers)

    def send(self, batch, **headers):
        return self("POST", "/v1/events", data=json.dumps(batch).encode(), **headers)

    def send_gzip(self, body):
        return self("POST", "/v1/events", data=gzip.compress(body), Content_Encoding="gzip")


@pytest.fixture
def server(app, credentials):
    return Caller(app, credentials.server_key)


@pytest.fixture
def browser(app, credentials):
    return Caller(app, credentials.browser_key)


@pytest.fixture
def admin(app, credentials):
    return Caller(app, credentials.admin_key)


@pytest.fixture
def call_as(app):
    return lambda key: Caller(app, key)


def make_event(**fields):
    event = {
        "type": "event",
        "event_id": str(uuid.uuid4()),
        "at": dt.datetime.now(dt.UTC).isoformat(),
        "unit_id": "user-1",
        "name": "answer_accepted",
    }
    return {name: value for name, value in (event | fields).items() if value is not None}


def make_batch(events, **fields):
    return {
        "batch_id": str(uuid.uuid4()),
        "sent_at": dt.datetime.now(dt.UTC).isoformat(),
        "events": events,
    } | fields


@pytest.fixture
def event():
    return make_event


@pytest.fixture
def batch():
    return make_batch


@pytest.fixture
def lake_event_ids(app, store):
    """Every event id in the published lake, in all tables, as often as it is there."""
    import duckdb

    from genux_server.store import inbox

    def read():
        with store.inbox_reading() as connection:
            files = app.extensions["genux"].lake.files(inbox.lake_versions(connection))
        ids = []
        with duckdb.connect() as connection:
            for paths in (files.exposures, files.events, files.calls):
                if paths:
                    rows = connection.execute("SELECT event_id FROM read_parquet(?)", [list(paths)]).fetchall()
                    ids += [row[0] for row in rows]
        return sorted(ids)

    return read
