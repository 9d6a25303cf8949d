"""An experiment from its first unit to the variant that is shipped, through changes of coverage and of shares."""

import msgspec
import pytest

from genux.assignment import assign, compile_snapshot
from genux.wire import Snapshot

PATH = "/v1/experiments/ai-entry"
N_UNITS = 4_000
SPEC = {
    "key": "ai-entry",
    "variants": [{"key": "chat"}, {"key": "summary"}],
    "primary": "accepted",
    "coverage": 0.3,
    "salt": "fixed",
    "allocation": {"chat": 0.5, "summary": 0.5},
}


@pytest.fixture
def assigned(server):
    def assigned():
        found = compile_snapshot(msgspec.json.decode(server("GET", "/v1/snapshot").data, type=Snapshot))
        assert found.problems == {}
        return {f"u{n}": assign(found, "ai-entry", f"u{n}", {}) for n in range(N_UNITS)}

    return assigned


def admitted(units):
    return {unit: (each.key, each.epoch) for unit, each in units.items() if each.reason == "ASSIGNED"}


def test_from_the_first_unit_to_the_shipped_variant(admin, server, assigned, worker, event, batch):
    admin(
        "POST",
        "/v1/metrics",
        json={"key": "accepted", "numerator": {"event": "answer_accepted"}, "window_seconds": 1e-3},
    )
    assert admin("POST", "/v1/experiments", json=SPEC).status_code == 201
    assert admin("POST", f"{PATH}/start").status_code == 200
    first = admitted(assigned())
    lower = admin("PUT", f"{PATH}/coverage", json={"coverage": 0.2, "allocation": {"chat": 0.1, "summary": 0.9}})
    assert lower.json["code"] == "coverage_falls"
    assert admitted(assigned()) == first
    raised = {"coverage": 0.8, "allocation": {"chat": 0.9, "summary": 0.1}}
    assert admin("PUT", f"{PATH}/coverage", json=raised).status_code == 200
    both = admitted(assigned())
    assert first.items() <= both.items()
    assert admin("POST", f"{PATH}/pause").status_code == 200
    assert {each.reason for each in assigned().values()} == {"STOPPED"}
    assert admin("POST", f"{PATH}/resume").status_code == 200
    assert admitted(assigned()) == both

    # 60 in 100 early units accept and 10 in 100 late ones, and summary adds 20 to either: pooled it seems to add 45.
    events, rank = [], {}
    for unit, (variant, epoch) in both.items():
        place = rank[variant, epoch] = rank.get((variant, epoch), -1) + 1
        met = {"experiment": "ai-entry", "variant": variant, "epoch": epoch}
        events.append(event(type="exposure", unit_id=unit, name=None, **met))
        if place % 100 < {1: 60, 2: 10}[epoch] + 20 * (variant == "summary"):
            events.append(event(unit_id=unit))
    for index in range(0, len(events), 500):
        assert server.send(batch(events[index : index + 500])).json["rejected"] == []
    worker.archive()
    report = admin("GET", f"{PATH}/report?refresh=1").json
    assert {check["status"] for check in report["checks"] if check["code"].startswith("srm")} == {"ok"}
    arms = {arm["variant"]: arm for arm in report["arms"]}
    for arm in arms.values():
        assert arm["share"] == pytest.approx(arm["expected_share"], abs=0.03)
    assert sum(arm["n_units"] for arm in arms.values()) == len(both)
    for comparison in report["metrics"][0]["comparisons"]:
        assert comparison["effect"] == pytest.approx(0.2, abs=0.02)
        assert comparison["effect_ci_lower"] < 0.2 < comparison["effect_ci_upper"]

    assert admin("POST", f"{PATH}/ship", json={"variant": "summary"}).status_code == 200
    assert {(each.key, each.reason) for each in assigned().values()} == {("summary", "SHIPPED")}
    ended = [epoch["ended_at"] for epoch in admin("GET", PATH).json["epochs"]]
    assert len(ended) == 2
    assert None not in ended
