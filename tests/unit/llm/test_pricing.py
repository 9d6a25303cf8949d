"""Prices against the list's own arithmetic, and what is said when there is none."""

import datetime as dt
from decimal import Context, Decimal, localcontext

import genai_prices
import msgspec
import pytest
from genai_prices import data_snapshot

from genux.errors import ConfigError
from genux.llm import PriceTable, price, price_tokens
from genux.specs import PriceRule
from genux.wire import Amounts, Attempt, Call, Tokens

AT = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
USED = Tokens(input=300_000, cached=100_000, cache_write=50_000, output=1_234, reasoning=1_000)


def call(**fields):
    return Call(
        event_id="0" * 32,
        call_id="0" * 32,
        at=AT,
        latency_seconds=2.5,
        **{"provider": "openai", "tokens": USED, **fields},
    )


def models_priced_by_plain_tokens():
    plain = {
        "input_mtok",
        "output_mtok",
        "cache_read_mtok",
        "cache_write_mtok",
        "web_searches_kcount",
        "requests_kcount",
    }
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models if provider.id in ("openai", "anthropic", "google", "mistral", "groq") else ():
            stated = {name for name, value in vars(model.get_prices(AT)).items() if value is not None}
            if {"input_mtok", "output_mtok"} <= stated <= plain:
                yield provider.id, model.id


@pytest.mark.parametrize(
    "used", [USED, Tokens(input=1_861, cached=1_792, output=53), Tokens(input=7), Tokens(output=9)]
)
def test_every_plain_model_costs_what_the_list_itself_computes(used):
    compared = 0
    for provider, model in models_priced_by_plain_tokens():
        usage = genai_prices.Usage(
            input_tokens=used.input,
            cache_read_tokens=used.cached,
            cache_write_tokens=used.cache_write,
            output_tokens=used.output,
        )
        try:
            expected = genai_prices.calc_price(usage, model, provider_id=provider, genai_request_timestamp=AT)
        except LookupError:
            continue
        quote = price_tokens(used, provider=provider, model=model, at=AT)
        assert quote.cost_usd == expected.total_price, (provider, model)
        compared += 1
    assert compared > 100


def test_cached_tokens_are_not_billed_twice_and_reasoning_is_part_of_the_output():
    used = Tokens(input=1_000_000, cached=400_000, output=100_000, reasoning=90_000)
    priced = price(call(served_model="gpt-5-mini", tokens=used))
    assert priced.cost_usd == "0.36"  # 0.6 * 0.25 + 0.4 * 0.025 + 0.1 * 2
    assert priced.price_version == f"genai-prices {genai_prices.__version__} openai/gpt-5-mini"


def test_the_served_model_sets_the_price_and_the_requested_one_stands_in_for_it():
    used = Tokens(input=1_000_000)
    assert price(call(requested_model="gpt-5", served_model="gpt-5-mini-2025-08-07", tokens=used)).cost_usd == "0.25"
    assert price(call(requested_model="gpt-5-mini", tokens=used)).cost_usd == "0.25"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"served_model": "gpt-5-mini", "tokens": None}, "no_usage"),
        ({"served_model": ""}, "no_model"),
        ({"served_model": "somebody-elses-model"}, "unknown_model"),
        ({"served_model": "gpt-oss-20b", "provider": ""}, "unknown_model"),
        ({"served_model": "llama-3.3-70b", "provider": ""}, "unknown_model"),
        ({"served_model": "gpt-5-mini", "provider": "nobody"}, "unknown_model"),
        ({"served_model": "gpt-5-mini", "service_tier": "scale"}, "unpriced_tier"),
        ({"served_model": "gpt-5-mini", "operation": "images"}, "unsupported_modality"),
        ({"served_model": "whisper-1"}, "unsupported_modality"),
        ({"served_model": "gpt-5-mini", "tokens": Tokens(input=10, input_audio=4)}, "unsupported_modality"),
        ({"served_model": "gpt-5-mini", "tokens": Tokens(input=10, cached=11)}, "inconsistent_usage"),
    ],
)
def test_an_unknown_cost_is_null_with_a_reason(fields, reason):
    priced = price(call(**fields))
    assert priced.cost_usd is None
    assert priced.cost_reason == reason


def test_a_missing_price_list_is_a_reason_and_no_error(monkeypatch):
    from genux.llm import _price_list

    def missing(name):
        raise ImportError(name)

    _price_list._resolve.cache_clear()
    monkeypatch.setattr(_price_list.importlib, "import_module", missing)
    assert price(call(served_model="gpt-5-mini")).cost_reason == "pricing_unavailable"
    _price_list._resolve.cache_clear()


@pytest.mark.parametrize(
    ("tier", "usd"), [("default", "0.25"), ("flex", "0.125"), ("priority", "0.45"), ("batch", "0.125")]
)
def test_service_tiers_have_their_own_price(tier, usd):
    listed = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    used = Tokens(input=1_000_000)
    quote = price_tokens(used, provider="openai", model="gpt-5-mini", at=listed, service_tier=tier)
    assert quote.cost_usd == Decimal(usd)


def test_a_tier_that_the_list_does_not_price_on_that_day_is_not_charged_as_standard():
    quote = price_tokens(Tokens(input=1), provider="openai", model="gpt-5-mini", at=AT, service_tier="flex")
    assert quote == (None, "unpriced_tier", "")


def test_audio_is_priced_where_the_list_has_a_price_for_it():
    used = Tokens(input=1_000, output=500, input_audio=800)
    quote = price_tokens(used, provider="openai", model="gpt-4o-transcribe", at=AT, operation="audio.transcriptions")
    assert quote.cost_usd == Decimal("0.0103")  # 200 * 2.5 + 800 * 6 + 500 * 10, in millionths


def test_tokens_of_images_have_their_own_price_where_the_list_has_one():
    painted = Tokens(input=100, output=1_300, output_image=1_290)
    quote = price_tokens(painted, provider="google", model="gemini-2.5-flash-image", at=AT)
    assert quote.cost_usd == Decimal("0.038755")  # 100 * 0.3 + 10 * 2.5 + 1,290 * 30, in millionths
    seen = Tokens(input=1_000_000, input_image=900_000)
    assert price_tokens(seen, provider="openai", model="gpt-5-mini", at=AT).cost_usd == Decimal("0.25")


def drawn(model, **counts):
    """A call that made two images: 100 tokens of text and 200 of an image in, 1,000 out."""
    used = Tokens(input=300, input_image=200, output=1_000, **counts)
    return price(call(served_model=model, operation="images", tokens=used, amounts=Amounts(images=2)))


def test_images_are_priced_by_their_tokens_where_these_are_split_as_the_lists_rates_are():
    assert drawn("gpt-image-1").cost_usd == "0.0425"  # 100 * 5 + 200 * 10 + 1,000 * 40, in millionths
    assert drawn("gpt-image-1.5", output_image=900).cost_usd == "0.0319"  # 100 * 5 + 200 * 8 + 100 * 10 + 900 * 32


@pytest.mark.parametrize(
    ("model", "counts"),
    [("gpt-image-1.5", {}), ("gpt-image-1", {"cached": 50}), ("gpt-5-mini", {"output_image": 1_000})],
)
def test_images_whose_tokens_do_not_tell_what_they_are_have_no_known_cost(model, counts):
    priced = drawn(model, **counts)
    assert (priced.cost_usd, priced.cost_reason) == (None, "unsupported_modality")


def test_a_cost_is_exact_whatever_decimal_context_the_host_has_set():
    used = Tokens(input=1_234_567, output=765_432)
    with localcontext(Context(prec=4)):
        assert price(call(served_model="gpt-5-mini", tokens=used)).cost_usd == "1.83950575"
        quote = price_tokens(used, provider="openai", model="gpt-5-mini", at=AT)
    assert quote.cost_usd == Decimal("1.83950575")


def test_a_cost_that_only_a_mistaken_rate_can_ask_for_is_unknown_and_the_call_still_fits_the_wire():
    table = PriceTable([PriceRule(model="dear", input_usd_per_million=Decimal("1e30"))])
    tried = Attempt(model="dear", status="error", tokens=Tokens(input=2**53))
    priced = price(call(served_model="dear", tokens=Tokens(input=2**53), attempts=[tried]), table)
    assert (priced.cost_usd, priced.cost_reason) == (None, "out_of_range")
    assert (priced.attempts[0].cost_usd, priced.attempts[0].cost_reason) == (None, "out_of_range")
    msgspec.json.decode(msgspec.json.encode(priced), type=Call)


@pytest.mark.parametrize("pattern", ["(", "(?P<a>.){99999999999}", "(" * 5_000 + ")" * 5_000])
def test_a_model_that_is_no_regular_expression_is_refused_with_its_place(pattern):
    with pytest.raises(ConfigError, match=r"prices\[0\].*not a regular expression"):
        PriceTable([PriceRule(model=pattern, usd_per_second=Decimal(1))])


def test_a_known_model_is_priced_on_an_unknown_host_by_its_name():
    assert price(call(served_model="gpt-5-mini", provider="", tokens=Tokens(input=1_000_000))).cost_usd == "0.25"
    used = Tokens(input=1_000_000)
    assert price(call(served_model="text-embedding-3-small", provider="", tokens=used)).cost_usd == "0.02"


def test_attempts_add_up_when_the_call_itself_has_no_usage():
    attempt = Attempt(model="gpt-5-mini", tokens=Tokens(input=1_000_000))
    priced = price(call(served_model="", tokens=None, attempts=[attempt, Attempt(status="error"), attempt]))
    assert priced.cost_usd == "0.5"
    unknown = Attempt(model="mystery", tokens=Tokens(input=1))
    priced = price(call(tokens=None, attempts=[attempt, unknown]))
    assert (priced.cost_usd, priced.cost_reason) == (None, "unknown_model")


def test_a_priced_call_travels_the_wire():
    priced = price(call(served_model="gpt-5-mini", tokens=Tokens(input=1, cached=1, output=3)))
    assert msgspec.json.decode(msgspec.json.encode(priced), type=Call) == priced


TABLE = PriceTable.parse(
    {
        "prices": [
            {"model": "llama-.*", "input_usd_per_million": "0.10", "output_usd_per_million": 0.4},
            {
                "model": "LLAMA-.*",
                "since": "2026-05-01",
                "input_usd_per_million": "0.08",
                "output_usd_per_million": "0.3",
            },
            {"model": "llama-.*", "since": "2026-07-01", "input_usd_per_million": "9"},
            {"model": "own-gpu", "provider": "vllm", "usd_per_second": "0.0004"},
            {"model": "gpt-5-mini", "input_usd_per_million": "0.2", "cached_usd_per_million": "0"},
            {"model": "painter", "usd_per_image": "0.04", "tier_multipliers": {"batch": "0.5"}},
            {"model": "scribe", "usd_per_audio_minute": "0.006"},
            {"model": "voice", "usd_per_million_characters": 15},
            {
                "model": "many-eyed",
                "input_usd_per_million": 1,
                "cached_usd_per_million": "0.1",
                "input_image_usd_per_million": 3,
                "output_usd_per_million": 8,
                "output_audio_usd_per_million": 20,
            },
        ]
    }
)


def test_the_projects_own_table_wins_by_date_and_provider():
    used = Tokens(input=1_000_000, output=100_000)
    priced = price(call(served_model="llama-3.3", provider="", tokens=used), TABLE)
    assert priced.cost_usd == "0.11"
    assert priced.price_version == TABLE.version
    before = msgspec.structs.replace(
        call(served_model="llama-3.3", tokens=used), at=dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
    )
    assert price(before, TABLE).cost_usd == "0.14"
    assert price(call(served_model="own-gpu", provider="openai"), TABLE).cost_reason == "unknown_model"


def test_a_model_paid_by_the_second_needs_no_usage():
    assert price(call(served_model="own-gpu", provider="vllm", tokens=None), TABLE).cost_usd == "0.001"


@pytest.mark.parametrize(
    ("model", "amounts", "tier", "cost", "reason"),
    [
        ("painter", Amounts(images=3), "", "0.12", ""),
        ("painter", Amounts(images=3), "batch", "0.06", ""),
        ("painter", Amounts(images=3), "flex", None, "unpriced_tier"),
        ("painter", None, "", None, "no_usage"),
        ("scribe", Amounts(audio_seconds=12.5), "", "0.00125", ""),
        ("scribe", Amounts(images=1), "", None, "no_usage"),
        ("voice", Amounts(characters=4_096), "default", "0.06144", ""),
    ],
)
def test_what_is_not_counted_in_tokens_costs_what_the_own_table_says(model, amounts, tier, cost, reason):
    priced = price(call(served_model=model, tokens=None, amounts=amounts, service_tier=tier), TABLE)
    assert (priced.cost_usd, priced.cost_reason) == (cost, reason)


def test_parts_of_the_tokens_have_their_own_rate_or_that_of_the_whole():
    used = Tokens(input=1_000, cached=200, input_image=300, input_audio=50, output=100, output_audio=40)
    # 500 * 1 + 200 * 0.1 + 300 * 3 + 60 * 8 + 40 * 20, in millionths
    assert price(call(served_model="many-eyed", tokens=used), TABLE).cost_usd == "0.0027"
    impossible = Tokens(input=400, cached=200, input_image=300)
    assert price(call(served_model="many-eyed", tokens=impossible), TABLE).cost_reason == "inconsistent_usage"


@pytest.mark.parametrize(
    ("model", "operation", "amounts"),
    [
        ("gpt-image-1", "images", Amounts(images=1)),
        ("whisper-1", "audio.transcriptions", Amounts(audio_seconds=60)),
        ("tts-1", "audio.speech", Amounts(characters=9)),
    ],
)
def test_what_is_not_counted_in_tokens_has_no_known_cost_without_an_own_table(model, operation, amounts):
    priced = price(call(served_model=model, operation=operation, tokens=None, amounts=amounts))
    assert (priced.cost_usd, priced.cost_reason) == (None, "unsupported_modality")


def test_a_rule_without_a_rate_for_what_was_used_leaves_the_cost_unknown():
    used = Tokens(input=1_000_000, cached=900_000)
    assert price(call(served_model="gpt-5-mini", tokens=used), TABLE).cost_usd == "0.02"
    priced = price(call(served_model="gpt-5-mini", tokens=Tokens(input=1, output=1)), TABLE)
    assert (priced.cost_usd, priced.cost_reason) == (None, "unsupported_modality")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"prices": [{"model": "(", "usd_per_second": 1}]}, r"prices\[0\]"),
        ({"prices": [{"model": "x"}]}, "states no rate"),
        ({"prices": [{"model": "x", "usd_per_second": -1}]}, "from 0 up"),
        ({"prices": [{"model": "x", "usd_per_second": "NaN"}]}, "finite"),
        ({"prices": [{"model": "x", "usd_per_second": 1, "tier_multipliers": {"batch": -1}}]}, "from 0 up"),
        ({"prices": [{"model": "x", "usd_per_hour": 1}]}, r"usd_per_hour.*\$\.prices\[0\]"),
        ({"price": []}, "price"),
        ([], "object"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(document, said):
    with pytest.raises(ConfigError, match=said):
        PriceTable.parse(document)


def test_a_table_is_read_from_a_file(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("prices:\n  - {model: own, since: 2026-01-01, input_usd_per_million: 1.5}\n")
    assert price(call(served_model="own", tokens=Tokens(input=1_000)), PriceTable.load(path)).cost_usd == "0.0015"
    with pytest.raises(ConfigError, match="missing"):
        PriceTable.load(tmp_path / "missing.yaml")
