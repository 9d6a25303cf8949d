"""What the SDK records, through the real service and the lake, to the report."""

import datetime as dt

import pytest

import genux
from genux import testing
from genux_server.config import Config
from genux_server.service.worker import Worker

LONG_AGO = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
ACCEPTED = {"key": "accepted", "kind": "count", "numerator": {"event": "answer_accepted", "aggregate": "count"}}
CALLS = {"key": "calls", "kind": "count", "numerator": {"source": "call", "aggregate": "count"}}


@pytest.fixture
def start(administer):
    """Starts an experiment of two variants that everyone is in, with these metrics."""

    def start(key, *metrics, kind="user"):
        for metric in metrics:
            administer("POST", "/v1/metrics", {"window_seconds": 3_600} | metric)
        administer(
            "POST",
            "/v1/experiments",
            {
                "key": key,
                "unit_kind": kind,
                "variants": [{"key": "a"}, {"key": "b"}],
                "primary": metrics[0]["key"],
                "secondaries": [metric["key"] for metric in metrics[1:]],
            },
        )
        administer("POST", f"/v1/experiments/{key}/start")

    return start


@pytest.fixture
def client(transport, credentials, tmp_path):
    def client(**options):
        gx = genux.Client(
            api_key=credentials.server_key,
            transport=transport,
            directory=tmp_path / "outbox",
            flush_seconds=0.01,
            strict=True,
            **options,
        )
        assert gx.ready(30)
        return gx

    return client


@pytest.fixture
def report_of(transport, service_config: Config, administer):
    """The report on everything sent so far."""
    services = transport._app.extensions["genux"]
    worker = Worker(services.store, services.lake, service_config)

    def report_of(key):
        worker.archive()
        return administer("GET", f"/v1/experiments/{key}/report?refresh=1")

    return report_of


def totals(report):
    """Units and total over both variants, by metric."""
    return {
        m["key"]: (sum(a["n_units"] for a in m["arms"]), sum(a["total"] for a in m["arms"])) for m in report["metrics"]
    }


def test_experiments_on_users_and_on_their_documents_see_the_same_events_and_calls(client, start, report_of):
    start("on-users", ACCEPTED, CALLS)
    start("on-documents", ACCEPTED, CALLS, kind="document")
    gx = client()
    with testing.frozen_clock(LONG_AGO), gx.unit("user-1"), gx.unit("doc-7", kind="document"):
        assert {gx.variant(key).reason for key in ("on-users", "on-documents")} == {"ASSIGNED"}
        gx.track("answer_accepted")
        with gx.call(model="in-house"):
            token = gx.resume_token()
        gx.resume(token).track("answer_accepted")
    assert gx.flush(30)
    assert totals(report_of("on-users")) == {"accepted": (1, 2.0), "calls": (1, 1.0)}
    assert totals(report_of("on-documents")) == {"accepted": (1, 2.0), "calls": (1, 1.0)}
