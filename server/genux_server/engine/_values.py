"""What the cells of a person's table mean: numbers, words for true and false, nothing, or a mistake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ibis
import ibis.expr.types as ir

from genux.errors import ConfigError
from genux_server.model import Message

__all__ = ["Kind", "Survey", "kind_of", "number_of", "refuse_wrong_values", "survey_of", "text_of"]

Kind = Literal["proportion", "mean", "ratio"]

_TRUE = ("true", "t", "yes", "y")
_FALSE = ("false", "f", "no", "n")
_MISSING = ("", "nan", "na", "n/a", "null", "none")
_MAX_VALUES = 21


@dataclass(frozen=True)
class _Tally:
    """How many values of one column are what; `other` numbers are neither 0 nor 1."""

    words: int
    zero_or_one: int
    other: int
    missing: int
    wrong: int


@dataclass(frozen=True)
class Survey:
    """What one pass over the file found.

    Attributes:
        variants: values of the variant's column in alphabetical order, at most 21 of them.
        n_without_variant, n_without_unit: rows that are left out.
    """

    n_rows: int
    n_without_unit: int
    n_without_variant: int
    variants: list[str]
    columns: Mapping[str, _Tally]

    def remarks(self) -> list[Message]:
        """Sentences about rows and values that are missing."""
        counts = {"unit": self.n_without_unit, "variant": self.n_without_variant}
        found = [
            Message(
                code=f"rows_without_{what}",
                args={"n": n},
                text=f"1 row names no {what} and is left out."
                if n == 1
                else f"{n:,} rows name no {what} and are left out.",
            )
            for what, n in counts.items()
            if n
        ]
        return found + [
            Message(
                code="missing_values",
                args={"n": tally.missing, "column": name},
                text=f"{tally.missing:,} of {self.n_rows:,} rows have no value of {name}.",
            )
            for name, tally in self.columns.items()
            if tally.missing
        ]


def text_of(value: ir.Column) -> ir.StringColumn:
    """The value as text without surrounding blanks; null where there is none."""
    return value.cast("string").strip().nullif("")


def number_of(value: ir.Column) -> ir.FloatingColumn:
    """The value as a finite number, true as 1; null where it is missing or wrong."""
    if value.type().is_boolean():
        return ibis.ifelse(value, 1.0, 0.0)
    if value.type().is_numeric():
        number = value.cast("float64")
    else:
        text = value.strip().lower()
        number = (
            ibis.cases((text.isin(_TRUE), 1.0), (text.isin(_FALSE), 0.0), else_=text.try_cast("float64"))
            if value.type().is_string()
            else ibis.null("float64")
        )
    return ibis.ifelse(number.isnan() | number.isinf(), None, number)


def survey_of(rows: ir.Table, columns: Sequence[str], *, unit: str, variant: str) -> Survey:
    """Count rows, variants, and what each column's values are."""
    aggregates = {
        "n_rows": rows.count(),
        "n_without_unit": rows.count(where=text_of(rows[unit]).isnull()),
        "n_without_variant": rows.count(where=text_of(rows[variant]).isnull()),
    }
    for name in columns:
        classes = _classes(rows[name])
        aggregates |= {f"{kind}:{name}": rows.count(where=is_kind) for kind, is_kind in classes.items()}
    counts = rows.aggregate(**aggregates).to_pyarrow().to_pylist()[0]
    named = rows.select(value=text_of(rows[variant]))
    named = named.filter(named.value.notnull()).distinct().order_by("value").limit(_MAX_VALUES)
    return Survey(
        n_rows=counts["n_rows"],
        n_without_unit=counts["n_without_unit"],
        n_without_variant=counts["n_without_variant"],
        variants=[row["value"] for row in named.to_pyarrow().to_pylist()],
        columns={name: _Tally(**{kind: counts[f"{kind}:{name}"] for kind in _KINDS}) for name in columns},
    )


_KINDS = ("words", "zero_or_one", "other", "missing", "wrong")


def _classes(value: ir.Column) -> dict[str, ir.BooleanValue]:
    number = number_of(value)
    if value.type().is_string():
        text = value.strip().lower()
        word = text.isin([*_TRUE, *_FALSE])
        missing = value.isnull() | text.isin(_MISSING)
    else:
        word = ibis.literal(value.type().is_boolean()) & value.notnull()
        missing = value.isnull() | (value.isnan() if value.type().is_floating() else ibis.literal(False))
    binary = number.isin([0.0, 1.0])
    return {
        "words": word & ~missing,
        "zero_or_one": ~word & ~missing & number.notnull() & binary,
        "other": ~word & ~missing & number.notnull() & ~binary,
        "missing": missing,
        "wrong": ~missing & number.isnull(),
    }


def kind_of(path: Path, rows: ir.Table, survey: Survey, name: str, asked: str) -> Kind:
    """The kind of a metric, decided by its column's values where it was left open.

    Raises:
        ConfigError: the values do not fit the kind, or one another.
    """
    refuse_wrong_values(path, rows, survey, [name])
    tally = survey.columns[name]
    if asked == "proportion" and tally.other:
        raise ConfigError(
            f"{_place(path, rows, name, 'other')}, and a proportion needs true or false, 0 or 1. "
            f"Is {name!r} a mean? Write {name}:mean."
        )
    if asked == "ratio":
        return "ratio"
    if asked == "auto":
        return "mean" if tally.other else "proportion"
    return "mean" if asked == "mean" else "proportion"


def refuse_wrong_values(path: Path, rows: ir.Table, survey: Survey, names: Sequence[str]) -> None:
    """Refuse columns that hold no numbers, or numbers and words.

    Raises:
        ConfigError: names the first row that does not fit, and its value.
    """
    for name in names:
        tally = survey.columns[name]
        if tally.missing == survey.n_rows:
            raise ConfigError(f"The column {name!r} of {path.name} has no values at all.")
        if tally.wrong:
            raise ConfigError(f"{_place(path, rows, name, 'wrong')}, which is neither a number nor true or false.")
        if tally.words and tally.other:
            odd = "words" if tally.words <= tally.other else "other"
            rest = "numbers" if odd == "words" else "true or false"
            raise ConfigError(f"{_place(path, rows, name, odd)}, and most other values are {rest}.")


def _place(path: Path, rows: ir.Table, name: str, kind: str) -> str:
    """The first row with such a value: `In cats.csv, row 3 of 'rounds' holds 'many'`."""
    numbered = rows.mutate(row=ibis.row_number())
    found = numbered.filter(_classes(numbered[name])[kind]).order_by("row").limit(1)
    first = found.select("row", value=found[name].cast("string")).to_pyarrow().to_pylist()[0]
    return f"In {path.name}, row {first['row'] + 1} after the header holds {first['value']!r} as {name!r}"
