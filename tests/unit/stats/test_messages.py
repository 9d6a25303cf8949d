import ast
import math
import string
from pathlib import Path

import pytest

import genux_server.stats
from genux_server.stats.messages import joined, message
from genux_server.stats.templates import TEMPLATES
from genux_server.stats.wording import decimals_for, number, once_in, p_value, percent, scaled, usd

ROOM = Path(genux_server.stats.__file__).parent
BUILT = ("headline_", "method_", "reason_", "reason_guardrail_", "srm_")
"""Codes of these families are also put together from a state."""


def texts_in_code():
    for path in ROOM.glob("*.py"):
        if path.name == "templates.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "message":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    assert first.value in TEMPLATES, f"{path.name}: {first.value} has no sentence"


def test_every_code_has_a_sentence_and_every_sentence_a_use():
    used = set(texts_in_code())
    idle = {code for code in TEMPLATES if code not in used}
    assert {code for code in idle if not code.startswith(("method_", "reason_guardrail_"))} == set()


@pytest.mark.parametrize("code", TEMPLATES)
def test_every_sentence_reads_with_its_arguments_missing_or_given(code):
    fields = [name for _, name, _, _ in string.Formatter().parse(TEMPLATES[code]) if name]
    for value in (None, 0.0, -1.5, 1e18, math.nan, math.inf):
        made = message(code, dict.fromkeys(fields, value), scale="points")
        assert "nan" not in made.text
        assert "inf" not in made.text
        assert all(v is None or math.isfinite(v) for v in made.args.values())


def test_arguments_survive_as_numbers_for_a_translation():
    made = message("change_more_units", scale="points", units=12_000.0, target=0.013)
    assert made.args == {"units": 12_000.0, "target": 0.013}
    assert made.text == "About 12,000 more units would settle a true difference of +1.3 points."


def test_joined_sentences_keep_everyones_arguments():
    both = joined(message("headline_nothing"), [message("part_latency", treatment=2.0, control=1.5)])
    assert both.code == "headline_nothing"
    assert both.args == {"part_latency.treatment": 2.0, "part_latency.control": 1.5}
    assert both.text.endswith("p95 latency 2 s against 1.50 s.")


@pytest.mark.parametrize(
    ("bounds", "scale", "value", "text"),
    [
        ((-0.0133, -0.0031), "points", -0.0082, "-0.8 points"),
        ((0.00010, 0.00034), "points", 0.00022, "+0.022 points"),
        ((-0.02, 0.02), "points", -0.0001, "0.0 points"),
        ((10.0, 250.0), "number", 1234.5, "+1,234"),
        ((-0.002, 0.003), "usd", 0.0012, "+$0.0012"),
        ((0.1, 0.9), "seconds", 0.5, "+0.50 s"),
    ],
)
def test_figures_of_one_sentence_share_the_precision_of_its_interval(bounds, scale, value, text):
    assert scaled(value, scale, decimals=decimals_for(bounds, scale), signed=True) == text


def test_numbers_are_written_as_people_read_them():
    assert [number(v) for v in (0.0, 12.0, 1234567.0, 0.0012345, -45.678)] == [
        "0",
        "12",
        "1,234,567",
        "0.00123",
        "-45.7",
    ]
    assert [usd(v) for v in (0.031, 12.5, -0.5, 0.0)] == ["$0.031", "$12.50", "-$0.50", "$0.00"]
    assert [percent(v) for v in (0.95, 0.021, 0.0021, 0.0)] == ["95 %", "2.1 %", "0.21 %", "0 %"]
    assert [once_in(v) for v in (0.00860799, 0.0000123456, 0.0)] == [
        "once in 116",
        "once in 81,000",
        "once in over a thousand million",
    ]
    assert [p_value(v) for v in (0.0744097, 1e-30)] == ["= 0.074", "< 0.000001"]
