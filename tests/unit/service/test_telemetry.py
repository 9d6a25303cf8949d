import datetime as dt
import json
import uuid

import pytest
from prometheus_client.parser import text_string_to_metric_families

from genux.wire import BatchReply, Rejection
from genux_server.model import IngestedBatch
from genux_server.service.call_meter import MAX_VARIANTS
from genux_server.service.labels import BoundedLabels
from genux_server.service.telemetry import Telemetry


def samples(telemetry):
    """Value by name and labels."""
    text = telemetry.exposition().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def call(**fields):
    made = {"type": "call", "event_id": str(uuid.uuid4()), "call_id": str(uuid.uuid4()), "latency_seconds": 0.3}
    return made | fields


def ingested(*events, trust="server"):
    body = json.dumps(events).encode()
    return IngestedBatch(
        project_id=1, environment_id=2, batch_id="b", received_at=dt.datetime.now(dt.UTC), trust=trust, events=body
    )


NAMES = {2: ("shop", "prod")}
SUMMARY = [{"experiment": "ai-entry", "variant": "summary"}]


def of(**more):
    return tuple(
        sorted(
            {"project": "shop", "environment": "prod", "experiment": "ai-entry", "variant": "summary", **more}.items()
        )
    )


def test_label_sets_beyond_the_bound_are_other():
    bounded = BoundedLabels(2)
    assert [bounded("a", "1"), bounded("b", "1"), bounded("c", "1"), bounded("a", "1")] == [
        ("a", "1"),
        ("b", "1"),
        ("other", "other"),
        ("a", "1"),
    ]


def test_a_call_counts_under_its_variant():
    telemetry = Telemetry()
    good = call(
        cost_usd="0.25",
        ttft_seconds=0.2,
        fallback=True,
        retrieval={"k": 3, "score_mean": 0.55, "score_max": 0.95},
        assignments=SUMMARY,
    )
    failed = call(status="error", latency_seconds=9.0, assignments=SUMMARY)
    telemetry.calls.count([ingested(good, {"type": "event", "name": "call"}, failed)], NAMES)
    found = samples(telemetry)
    assert found["genux_llm_calls_total", *of(status="ok")] == 1
    assert found["genux_llm_calls_total", *of(status="error")] == 1
    assert found["genux_llm_call_seconds_count", *of()] == 1  # a failure's latency says nothing of the model's
    assert found["genux_llm_call_seconds_sum", *of()] == 0.3
    assert found["genux_llm_ttft_seconds_sum", *of()] == 0.2
    assert found["genux_llm_cost_usd_total", *of()] == 0.25
    assert found["genux_llm_unpriced_calls_total", *of()] == 1
    assert found["genux_llm_fallbacks_total", *of()] == 1
    assert found["genux_retrieval_score_sum", *of(of="mean")] == 0.55
    assert found["genux_retrieval_score_bucket", *of(of="best", le="0.9")] == 0
    assert found["genux_retrieval_score_bucket", *of(of="best", le="1.0")] == 1


def test_a_call_in_two_experiments_counts_in_both_and_one_in_none_has_empty_labels():
    telemetry = Telemetry()
    both = [*SUMMARY, {"experiment": "model", "variant": "big"}]
    telemetry.calls.count([ingested(call(assignments=both), call())], NAMES)
    found = samples(telemetry)
    assert found["genux_llm_calls_total", *of(status="ok")] == 1
    assert found["genux_llm_calls_total", *of(status="ok", experiment="model", variant="big")] == 1
    assert found["genux_llm_calls_total", *of(status="ok", experiment="", variant="")] == 1


def test_forced_calls_and_those_of_a_browser_are_left_out():
    telemetry = Telemetry()
    forced = call(assignments=[{"experiment": "ai-entry", "variant": "summary", "forced": True}])
    telemetry.calls.count([ingested(forced), ingested(call(assignments=SUMMARY), trust="browser")], NAMES)
    assert not [name for name in samples(telemetry) if name[0] == "genux_llm_calls_total"]


def test_variants_that_a_sender_invents_make_a_bounded_number_of_series():
    telemetry = Telemetry()
    calls = [call(assignments=[{"experiment": f"e{n}", "variant": "v"}]) for n in range(MAX_VARIANTS + 50)]
    telemetry.calls.count([ingested(*calls)], NAMES)
    counted = {
        name: value for name, value in samples(telemetry).items() if value and name[0] == "genux_llm_calls_total"
    }
    assert len(counted) == MAX_VARIANTS + 1
    others = {"project": "other", "environment": "other", "experiment": "other", "variant": "other"}
    assert counted["genux_llm_calls_total", *of(status="ok", **others)] == 50


@pytest.mark.parametrize("reason", ["Robert'); DROP", "x" * 41, ""])
def test_a_reason_that_is_no_word_is_other(reason):
    telemetry = Telemetry()
    telemetry.kept(BatchReply(status="ok"), "server", {reason: 3, "outbox_full": 2})
    found = samples(telemetry)
    assert found["genux_sdk_dropped_events_total", ("reason", "other")] == 3
    assert found["genux_sdk_dropped_events_total", ("reason", "outbox_full")] == 2


def test_what_a_batch_held_is_counted():
    telemetry = Telemetry()
    refused = [
        Rejection(index=0, code="schema", path="$", message=""),
        Rejection(index=3, code="nul", path="$", message=""),
    ]
    telemetry.kept(BatchReply(status="ok", accepted=5, rejected=refused), "browser", {})
    telemetry.batch("ok", 1_000, 0.002)
    telemetry.request("/v1/events", "BREW", 405, 0.002)
    found = samples(telemetry)
    assert found["genux_ingest_events_total", ("trust", "browser")] == 5
    assert found["genux_ingest_rejected_events_total", ("code", "nul")] == 1
    assert found["genux_ingest_bytes_total",] == 1_000
    assert found["genux_ingest_seconds_bucket", ("le", "0.0025")] == 1
    assert found["genux_http_requests_total", ("method", "other"), ("route", "/v1/events"), ("status", "405")] == 1
