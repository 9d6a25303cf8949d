"""`facts_from_file` on files as people have them, and on files as people should not have them."""

import gzip
from pathlib import Path

import duckdb
import pytest

from genux.errors import ConfigError
from genux_server.engine import FileMetric, facts_from_file, parse_metric

COOKIE_CATS = Path(__file__).parents[4] / "shared" / "data" / "cookie_cats.csv"


def analyze(path, *metrics, control="a", **options):
    return facts_from_file(
        path,
        unit="unit",
        variant="arm",
        control=control,
        metrics=[parse_metric(text) for text in metrics or ("won",)],
        **options,
    )


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "test.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def moments(facts, metric):
    return {cell.variant: cell.moments for cell in facts.cells if cell.metric == metric}


def total(one):
    return round(one.n * one.mean[0], 6)


@pytest.mark.skipif(not COOKIE_CATS.exists(), reason="the Cookie Cats data set is not part of the repository")
def test_cookie_cats_gives_the_published_counts():
    facts = facts_from_file(
        COOKIE_CATS,
        unit="userid",
        variant="version",
        control="gate_30",
        metrics=[parse_metric(text) for text in ("retention_7", "retention_1", "sum_gamerounds:mean")],
    )
    week = moments(facts, "retention_7")
    assert {name: (total(m), m.n) for name, m in week.items()} == {"gate_30": (8502, 44_700), "gate_40": (8279, 45_489)}
    assert [m.kind for m in facts.metrics] == ["proportion", "proportion", "mean"]
    assert next((o.unit_id, o.value) for o in facts.outliers if o.variant == "gate_30") == ("6390605", 49_854)
    assert facts.remarks == []


def test_one_row_per_unit(write):
    facts = analyze(write("unit,arm,won,spent\n01,a,TRUE,1.5\n1,a,no,0\n2,b,1,-3\n"), "won", "spent")
    assert {arm: (total(m), m.n) for arm, m in moments(facts, "won").items()} == {"a": (1, 2), "b": (1, 1)}
    assert {arm: total(m) for arm, m in moments(facts, "spent").items()} == {"a": 1.5, "b": -3}
    assert [m.kind for m in facts.metrics] == ["proportion", "mean"]
    assert (facts.one_look, facts.source, facts.experiment.control) == (True, "file", "a")
    assert facts.lake_version.startswith("sha256:")


def test_rows_of_one_unit_are_folded(write):
    path = write("unit,arm,won,spent,n\n1,a,0,1,1\n1,a,1,2,3\n2,a,0,0,1\n3,b,0,5,2\n3,b,0,5,2\n")
    facts = analyze(path, "won", "spent", "n")
    assert {arm: (total(m), m.n) for arm, m in moments(facts, "won").items()} == {"a": (1, 2), "b": (0, 1)}
    assert {arm: total(m) for arm, m in moments(facts, "spent").items()} == {"a": 3, "b": 10}
    ratio = moments(analyze(path, "spent:ratio/n"), "spent")["a"]
    assert ratio.components == ("y", "d")
    assert ratio.mean == (1.5, 2.5)
    assert ratio.comoments == pytest.approx((4.5, 4.5, 4.5))


def test_a_unit_in_two_variants_is_left_out_and_counted_by_its_first_row(write):
    facts = analyze(write("unit,arm,won\n1,b,1\n1,a,1\n2,a,0\n3,b,0\n4,a,1\n4,b,1\n"))
    assert facts.multi_variant_units == {"a": 1, "b": 1}
    assert {arm: m.n for arm, m in moments(facts, "won").items()} == {"a": 1, "b": 1}


def test_what_is_missing_is_counted_in_words(write):
    facts = analyze(
        write("unit,arm,won,spent\n1,a,1,\n2,a,NaN,3\n,a,1,1\n3,b,0,1\n4,,1,1\n5,b,NA,null\n"), "won", "spent"
    )
    assert {arm: m.n for arm, m in moments(facts, "won").items()} == {"a": 1, "b": 1}
    assert {arm: m.n for arm, m in moments(facts, "spent").items()} == {"a": 1, "b": 1}
    assert {count.variant: count.n_units for count in facts.arm_counts} == {"a": 2, "b": 2}
    assert all(cell.pending == 0 for cell in facts.cells)
    assert facts.unknown_variant_exposures == 1
    assert [remark.text for remark in facts.remarks] == [
        "1 row names no unit and is left out.",
        "1 row names no variant and is left out.",
        "2 of 6 rows have no value of won.",
        "2 of 6 rows have no value of spent.",
        "2 units have no value of won and are left out of it (1 in a, 1 in b).",
        "2 units have no value of spent and are left out of it (1 in a, 1 in b).",
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: b"\xef\xbb\xbf" + b, gzip.compress], ids=["", "bom", "gzip"])
def test_the_usual_dialects_are_read(write, delimiter, wrap):
    text = 'unit,arm,won\r\n1,"a",1\r\n2,"b",0\r\n'.replace(",", delimiter)
    assert {arm: m.n for arm, m in moments(analyze(write(wrap(text.encode()))), "won").items()} == {"a": 1, "b": 1}


def test_a_file_name_is_taken_literally(write):
    facts = analyze(write("unit,arm,won\n1,a,1\n2,b,0\n", name="results [1] *.csv"))
    assert len(facts.cells) == 2


def test_parquet_keeps_its_types(tmp_path):
    path = tmp_path / "typed.parquet"
    duckdb.sql(
        "SELECT i AS unit, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END AS arm, i % 3 = 0 AS won, "
        "CASE WHEN i = 5 THEN 'NaN'::DOUBLE ELSE i / 10 END AS spent FROM range(10) t(i)"
    ).write_parquet(str(path))
    facts = analyze(path, "won", "spent")
    assert {arm: (total(m), m.n) for arm, m in moments(facts, "won").items()} == {"a": (2, 5), "b": (2, 5)}
    assert {arm: (total(m), m.n) for arm, m in moments(facts, "spent").items()} == {"a": (2.0, 5), "b": (2.0, 4)}


def test_a_large_offset_costs_no_precision(write):
    rows = "".join(f"{i},{'ab'[i % 2]},{1e9 + i % 4}\n" for i in range(1000))
    found = moments(analyze(write("unit,arm,won\n" + rows), "won:mean"), "won")
    assert found["a"].comoments[0] == pytest.approx(500, rel=1e-9)
    assert found["b"].comoments[0] == pytest.approx(500, rel=1e-9)


def test_planned_shares_become_the_allocation(write):
    facts = analyze(write("unit,arm,won\n1,a,1\n2,b,0\n"), shares={"a": 0.9, "b": 0.1})
    assert facts.epochs[0].allocation == (0.9, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "test.csv is empty."),
        ("unit,arm,won\n", "test.csv has a header and no rows."),
        ("unit,Arm,won\n1,a,1\n", "test.csv has no column 'arm'. Did you mean 'Arm'? It has: unit, Arm, won."),
        ("x,y\n1,2\n", "test.csv has no column 'unit'. It has: x, y."),
        ("unit,arm,won\n1,a,1\n2,a,0\n", "Every row has the variant 'a'; there is nothing to compare it with."),
        ("unit,arm,won\n1,A,1\n2,b,0\n", "No row has the control 'a' in 'arm'. It has: A, b."),
        ("unit,arm,won\n1,a,1\n2,b,many\n", "In test.csv, row 2 after the header holds 'many' as 'won', which is"),
        ("unit,arm,won\n1,a,3\n2,b,yes\n3,b,4\n", "row 2 after the header holds 'yes' as 'won', and most other values"),
        ("unit,arm,won\n1,a,true\n2,b,no\n3,b,4\n", "row 3 after the header holds '4' as 'won', and most other"),
        ("unit,arm,won\n1,a,1\n2,b,inf\n", "row 2 after the header holds 'inf' as 'won', which is neither"),
        ("unit,arm,won\n1,a,\n2,b,NA\n", "The column 'won' of test.csv has no values at all."),
        ("unit,arm,won\n1,a,1\n2,b,0,9\n", "test.csv line 3 has 4 values, but the header names 3 columns."),
        ("unit,arm,won\n1,a\n2,b,0\n", "test.csv line 2 has 2 values, but the header names 3 columns."),
        ("unit,arm,won,WON\n1,a,1,1\n", "test.csv has two columns called 'WON'."),
        (
            "unit,arm,won\n1,ä,1\n".encode("latin-1"),
            "test.csv line 2 is not UTF-8 text; save the file as CSV in UTF-8.",
        ),
        ("unit,arm,won\n1,a,1\n".encode("utf-16"), "test.csv is text in UTF-16; save it as CSV in UTF-8."),
        (b"PK\x03\x04rest", "test.csv is a zip archive or an Excel workbook; save the sheet as CSV."),
        (bytes(range(256)) * 20, "test.csv is neither CSV nor Parquet."),
        (b"PAR1 is how a Parquet file begins", "test.csv cannot be read:"),
        (b"\x1f\x8b is how gzip begins", "test.csv is neither CSV in UTF-8 nor Parquet."),
        ('unit,arm,won\n1,"a,1\n2,b,0\n', "test.csv line 2 cannot be read:"),
        ("unit,arm,won\n" + "".join(f"{i},v{i},1\n" for i in range(30)), "has more than 20 different values, such as"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(write, text, message):
    with pytest.raises(ConfigError) as refused:
        analyze(write(text))
    assert message in str(refused.value)


def test_no_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="There is no file"):
        analyze(tmp_path / "absent.csv")
    with pytest.raises(ConfigError, match="is not a file"):
        analyze(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "aa"}, "No row has the control 'aa' in 'arm'. Did you mean 'a'?"),
        ({"shares": {"a": 0.5, "b": 0.4}}, "The shares must be positive and add up to 1."),
        ({"shares": {"a": 1.0}}, "Give a share for each of a, b, and for nothing else."),
    ],
)
def test_arguments_that_do_not_fit_the_file_are_refused(write, options, message):
    with pytest.raises(ConfigError) as refused:
        analyze(write("unit,arm,won\n1,a,1\n2,b,0\n"), **options)
    assert message in str(refused.value)


def test_a_proportion_of_other_numbers_is_refused_with_the_way_out(write):
    with pytest.raises(ConfigError, match=r"row 2 after the header holds '7'.*Write won:mean"):
        analyze(write("unit,arm,won\n1,a,1\n2,b,7\n"), "won:proportion")


def test_a_metric_or_column_named_twice_is_refused(write):
    path = write("unit,arm,won\n1,a,1\n2,b,0\n")
    with pytest.raises(ConfigError, match="named twice"):
        analyze(path, "won", "won:mean")
    with pytest.raises(ConfigError, match="cannot both be"):
        facts_from_file(path, unit="arm", variant="arm", control="a", metrics=[FileMetric(name="won")])
    with pytest.raises(ConfigError, match="at least one metric"):
        facts_from_file(path, unit="unit", variant="arm", control="a", metrics=[])
