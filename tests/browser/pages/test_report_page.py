"""The report in Chromium: what a PM meets first is there, nothing spills, nothing is refused by the policy."""

import pytest

from genux_server.pages.text import sentence, verdict_word

STATES = ["full", "simulated", "discuss", "invalid", "collecting", "empty", "crowded"]


@pytest.fixture(scope="session")
def samples(seeding):
    return seeding.load_samples()


@pytest.mark.parametrize("state", STATES)
def test_verdict_and_headline_stand_on_the_page_in_every_state(open_page, samples, state):
    report = samples.STATES[state]()
    page = open_page(f"/experiments/{state}")
    assert page.inner_text("#verdict") == verdict_word(report.verdict)
    assert page.inner_text(".headline") == sentence(report.headline)
    assert page.locator("#verdict svg.icon").count() == 1


@pytest.mark.parametrize("state", STATES)
def test_nothing_spills_over_the_side_of_a_phone(open_page, state):
    page = open_page(f"/experiments/{state}", width=390, scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("width", "media"), [(320, "screen"), (760, "screen"), (1024, "screen"), (680, "print")])
def test_nothing_spills_on_small_phones_tablets_and_paper(open_page, width, media):
    for state in ("full", "crowded"):
        page = open_page(f"/experiments/{state}", width=width)
        page.emulate_media(media=media)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, state


def test_the_simulated_banner_stands_before_the_verdict(open_page, samples):
    page = open_page("/experiments/simulated")
    banner, verdict = page.locator(".notice.simulated"), page.locator("#verdict")
    assert samples.simulated().simulated in banner.inner_text()
    assert banner.bounding_box()["y"] < verdict.bounding_box()["y"]


def test_every_chart_has_a_name_and_its_figures_as_text(open_page):
    page = open_page("/experiments/full")
    charts = page.locator("svg[role=img]")
    assert charts.count() == 2 + 6 + 1
    names = [charts.nth(i).locator("title").first.text_content() for i in range(charts.count())]
    assert all(names)
    assert names[1] == "One-click summary: +4.1 points (+2.6 to +5.6 points)"
    page.get_by_text("Figures", exact=True).click()
    assert page.locator("figure .data tbody tr").count() == 21


def test_the_interval_is_drawn_where_its_figures_say(open_page):
    page = open_page("/experiments/full")
    box = page.locator(".arms tbody tr:nth-child(2) td.plot-cell > svg").bounding_box()
    dot = page.locator(".arms tbody tr:nth-child(2) .dot").bounding_box()
    zero = page.locator(".arms tbody tr:nth-child(2) .zero").bounding_box()
    ticks = page.locator(".arms thead svg text")
    boxes = {ticks.nth(i).text_content(): ticks.nth(i).bounding_box() for i in range(ticks.count())}
    positions = {text: tick["x"] + tick["width"] / 2 for text, tick in boxes.items()}
    per_point = (positions["+6"] - positions["0"]) / 6
    center = dot["x"] + dot["width"] / 2
    assert abs(zero["x"] - positions["0"]) < 2
    assert abs((center - positions["0"]) / per_point - 4.1) < 0.1
    assert box["x"] <= dot["x"] <= box["x"] + box["width"]


def test_unbounded_intervals_end_in_arrowheads(open_page):
    page = open_page("/experiments/crowded")
    row = page.locator(".arms tbody tr", has_text="Donaudampf")
    assert "unbounded" in row.inner_text()
    assert row.locator("path.end[d^='M-6-5']").count() == 1


def test_money_that_is_unknown_is_said_on_the_page(open_page):
    page = open_page("/experiments/discuss")
    row = page.locator(".economics tr", has_text="Spent in all")
    assert row.locator("td").nth(1).inner_text() == "unknown"


def test_methods_open_without_script_and_print_with_the_page(open_page):
    page = open_page("/experiments/full")
    page.get_by_text("How these numbers were made").click()
    assert page.get_by_text("Every-look intervals").is_visible()
    page.emulate_media(media="print")
    assert not page.locator("header.bar").is_visible()
    assert page.locator(".headline").is_visible()


def test_before_anybody_was_exposed_the_page_shows_what_to_write(open_page):
    page = open_page("/experiments/empty")
    assert 'gx.variant("empty")' in page.inner_text(".snippet code")


def test_a_draft_says_that_nobody_is_assigned(open_page):
    page = open_page("/experiments/draft")
    assert "nobody is assigned" in page.inner_text(".headline")
    assert 'gx.track("answer_accepted")' in page.inner_text(".snippet code")


@pytest.mark.parametrize("state", ["full", "crowded"])
def test_the_page_is_light(open_page, state):
    page = open_page(f"/experiments/{state}")
    sizes = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(entry => entry.decodedBodySize)"
    )
    assert sum(sizes) < 250_000


def test_the_keyboard_reaches_the_content_first_and_focus_is_seen(open_page):
    page = open_page("/experiments/full")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator(".crumb a").focus()
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
