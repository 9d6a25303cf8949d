"""A project's own price table: kept, checked, audited, and handed to servers only."""

from decimal import Decimal

import msgspec
import pytest

from genux.specs import PriceRule
from genux_server.service import audit

RULES = [{"model": "own-.*", "since": "2026-01-01", "usd_per_image": "0.04", "tier_multipliers": {"batch": "0.5"}}]


def test_prices_reach_servers_with_a_new_version_and_an_audit_line(server, admin, store, scope):
    assert server("GET", "/v1/prices").json == {"prices": []}
    before = server("GET", "/v1/snapshot").json
    assert before["prices"] == []
    written = admin("PUT", "/v1/prices", json={"prices": RULES}).json["prices"]
    after = server("GET", "/v1/snapshot").json
    assert server("GET", "/v1/prices").json["prices"] == after["prices"] == written
    (rule,) = msgspec.convert(written, list[PriceRule])
    assert (rule.model, rule.usd_per_image, rule.tier_multipliers) == (
        "own-.*",
        Decimal("0.04"),
        {"batch": Decimal("0.5")},
    )
    assert after["version"] != before["version"]
    assert server("GET", "/v1/whoami").headers["Genux-Snapshot"] == after["version"]
    assert admin("GET", "/v1/snapshot").json["prices"] == []
    (line,) = [line for line in audit.history(store, scope) if line.action == "prices.update"]
    assert line.detail["before"] == []
    assert line.detail["after"][0]["usd_per_image"] == "0.04"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"model": "own"}, "states no rate"),
        ({"model": "(", "usd_per_image": 1}, "prices[0] (()"),
        ({"model": "own", "usd_per_image": -1}, "from 0 up"),
        ({"model": "own", "usd_per_picture": 1}, "usd_per_picture"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_and_changes_nothing(server, admin, rule, said):
    answer = admin("PUT", "/v1/prices", json={"prices": [rule]})
    assert answer.status_code == 400
    assert said in answer.json["detail"]
    assert server("GET", "/v1/prices").json == {"prices": []}


def test_only_an_administrators_key_changes_prices(server, browser):
    assert server("PUT", "/v1/prices", json={"prices": []}).status_code == 403
    assert browser("GET", "/v1/prices").status_code == 403
