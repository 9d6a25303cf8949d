"""Which price table a call is priced with when it is shipped."""

import msgspec
import pytest

import genux
from genux import testing
from genux.config import parse_config, snapshot_from_config
from genux.errors import ConfigError
from genux.llm import PriceTable
from genux.specs import PriceRule
from genux.wire import Snapshot

FILE = """
prices:
  - {model: own, usd_per_image: 2.5}
experiments:
  - {key: e, variants: [{key: a}, {key: b}]}
"""


def rule(cost):
    return msgspec.convert({"model": "own", "usd_per_image": cost}, PriceRule)


@pytest.fixture
def service():
    return testing.RecordingTransport(Snapshot(version="1", prices=[rule("1")]))


def priced(gx, service):
    with gx.call(model="own", operation="images") as call:
        call.usage(images=1)
    assert gx.flush()
    return service.events[-1]


def client(service, **options):
    gx = genux.Client(transport=service, flush_seconds=0.01, **options)
    assert gx.ready()
    return gx


def test_the_services_table_prices_calls_and_a_new_one_those_that_follow(service):
    gx = client(service, poll_seconds=0.01)
    first = priced(gx, service)
    assert (first.cost_usd, first.cost_reason) == ("1", "")
    assert first.price_version == PriceTable([rule("1")]).version
    service.snapshot = Snapshot(version="2", prices=[rule("3")])
    costs = set()
    while "3" not in costs:
        costs.add(priced(gx, service).cost_usd)
    assert costs <= {"1", "3"}


def test_prices_in_the_file_of_experiments_win_over_the_services(service, tmp_path):
    path = tmp_path / "genux.yaml"
    path.write_text(FILE)
    assert priced(client(service, config=path), service).cost_usd == "2.5"


def test_a_file_without_prices_leaves_the_services(service, tmp_path):
    path = tmp_path / "genux.yaml"
    path.write_text(FILE.replace("prices", "metrics").replace("- {model: own, usd_per_image: 2.5}", "[]"))
    assert priced(client(service, config=path), service).cost_usd == "1"


@pytest.mark.parametrize("as_file", [True, False])
def test_prices_handed_to_the_client_win_over_all_others(service, tmp_path, as_file):
    config, prices = tmp_path / "genux.yaml", tmp_path / "prices.yaml"
    config.write_text(FILE)
    prices.write_text("prices: [{model: own, usd_per_image: '4'}]")
    own = prices if as_file else PriceTable([rule("4")])
    assert priced(client(service, config=config, prices=own), service).cost_usd == "4"


def test_what_no_rule_names_has_the_price_of_the_public_list(service):
    gx = client(service)
    with gx.call(model="gpt-5-mini", provider="openai") as call:
        call.usage(input_tokens=1_000_000)
    assert gx.flush()
    assert service.events[-1].cost_usd == "0.25"


def test_a_table_that_cannot_be_used_leaves_costs_unknown_with_a_reason(service, caplog):
    service.snapshot = Snapshot(version="1", prices=[PriceRule(model="(", usd_per_image=1)])
    gx = client(service)
    call = priced(gx, service)
    assert (call.cost_usd, call.cost_reason) == (None, "pricing_failed")
    assert gx.status().failures == {"pricing": 1}


def test_a_wrong_table_is_refused_where_it_is_written(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("prices: [{model: own}]")
    with pytest.raises(ConfigError, match=r"prices\[0\] \(own\) states no rate"):
        genux.Client("http://x", prices=path)
    with pytest.raises(ConfigError, match=r"genux.yaml: prices\[0\] \(own\) has a rate"):
        parse_config(FILE.replace("2.5", "-2.5"), "genux.yaml")


def test_prices_are_part_of_the_version_of_a_file():
    one, other = (snapshot_from_config(parse_config(FILE.replace("2.5", price))) for price in ("2.5", "3"))
    assert one.version != other.version
