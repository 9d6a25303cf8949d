"""`genux analyze` on a data set with a known answer: the Cookie Cats test, as its published counts and as the file."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

COUNTS = {
    # version: units, retained on day 1, retained on day 7
    "gate_30": (44_700, 20_034, 8_502),
    "gate_40": (45_489, 20_119, 8_279),
}
SHARED = Path(__file__).parents[3] / "shared" / "data" / "cookie_cats.csv"


@pytest.fixture(scope="module")
def counts_file(tmp_path_factory):
    """The published counts as rows; rounds are 10 for everyone but one unit, which played 49,854."""
    path = tmp_path_factory.mktemp("analyze") / "counts.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["userid", "version", "sum_gamerounds", "retention_1", "retention_7"])
        for version, (n, day1, day7) in COUNTS.items():
            for i in range(n):
                rounds = 49_854 if (version, i) == ("gate_30", 0) else 9 + i % 3
                writer.writerow([f"{version}-{i}", version, rounds, i < day1, i < day7])
    return path


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", "from genux_server.cli import main; main()", "analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def analyze(path, *more):
    done = run(
        path, "--unit", "userid", "--variant", "version", "--control", "gate_30",
        "--metric", "retention_7", "--metric", "retention_1", "--metric", "sum_gamerounds:mean", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_cookie_cats(report):
    day7 = next(m for m in report["metrics"] if m["key"] == "retention_7")
    arms = {arm["variant"]: arm for arm in day7["arms"]}
    assert (arms["gate_30"]["total"], arms["gate_30"]["n_units"]) == (8_502, 44_700)
    assert (arms["gate_40"]["total"], arms["gate_40"]["n_units"]) == (8_279, 45_489)
    fixed = next(c for c in day7["comparisons"] if c["validity"] == "fixed")
    assert fixed["effect"] == pytest.approx(-0.008201, abs=5e-7)
    assert fixed["statistic"] == pytest.approx(-3.164359, abs=5e-7)
    assert fixed["p_value"] == pytest.approx(0.00155425, abs=5e-9)
    assert fixed["effect_ci_upper"] < 0
    assert fixed["lift_ci_upper"] < 0
    day1 = next(m for m in report["metrics"] if m["key"] == "retention_1")
    fixed = next(c for c in day1["comparisons"] if c["validity"] == "fixed")
    assert fixed["p_value"] == pytest.approx(0.0744097, abs=5e-8)
    srm = next(c for c in report["checks"] if c["code"].startswith("srm"))
    assert srm["value"] == pytest.approx(0.00860799, abs=5e-9)
    assert srm["status"] != "ok"
    assert any("49,854" in c["message"]["text"] for c in report["checks"] if c["status"] != "ok")


def test_the_published_counts_give_the_known_answer(counts_file):
    check_cookie_cats(json.loads(analyze(counts_file, "--format", "json")))


@pytest.mark.skipif(not SHARED.exists(), reason="the Cookie Cats file has no licence and is not shipped")
def test_the_file_itself_gives_the_known_answer():
    check_cookie_cats(json.loads(analyze(SHARED, "--format", "json")))


def test_the_terminal_says_in_words_that_the_split_is_odd_and_one_unit_drives_the_mean(counts_file):
    text = " ".join(analyze(counts_file).split())
    assert "8,502" in text
    assert "44,700" in text
    assert "49,854" in text
    assert "split" in text


def test_markdown_has_a_table_for_each_metric(counts_file):
    text = analyze(counts_file, "--format", "markdown")
    assert text.startswith("# ")
    assert text.count("| variant |") == 3


@pytest.mark.parametrize(
    ("content", "arguments", "says"),
    [
        ("u,v,x\n1,a,1\n2,b,0\n", ["--metric", "y"], "y"),
        ("u,v,x\n1,a,1\n2,b,0\n", ["--metric", "x", "--control", "c"], "c"),
        ("u,v,x\n1,a,1\n2,a,0\n", ["--metric", "x"], "nothing to compare"),
        ("", ["--metric", "x"], "empty"),
        ("u,v,x\n", ["--metric", "x"], "no rows"),
        ("u,v,x\n1,a,1\n2,b,hello\n", ["--metric", "x:mean"], "hello"),
    ],
    ids=["missing column", "unknown control", "one variant", "empty file", "header only", "mixed types"],
)
def test_bad_input_is_answered_with_a_sentence_and_never_a_traceback(tmp_path, content, arguments, says):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    done = run(path, "--unit", "u", "--variant", "v", "--control", "a", *arguments)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_named(tmp_path):
    done = run(tmp_path / "nowhere.csv", "--unit", "u", "--variant", "v", "--control", "a", "--metric", "x")
    assert done.returncode != 0
    assert "nowhere.csv" in done.stderr
