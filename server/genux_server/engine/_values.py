"""What the cells of a person's table mean: numbers, words for true and false, nothing, or a mistake."""

import functools
import operator
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
_LARGEST = 1.7976931348623157e308
_CLASSES = ("words", "zero_or_one", "other", "missing", "wrong")


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
    return _stripped(value.cast("string")).nullif("")


def number_of(value: ir.Column) -> ir.FloatingColumn:
    """The value as a finite number, true as 1; null where it is missing or wrong."""
    number = _finite(value)
    if not value.type().is_string():
        return number
    words = [(word.isin(values), n) for word in _spellings(value) for values, n in ((_TRUE, 1.0), (_FALSE, 0.0))]
    return ibis.cases(*words[:2], (number.notnull(), number), *words[2:], else_=None)


def _finite(value: ir.Column) -> ir.FloatingColumn:
    """The value as a number where it is one as it stands."""
    if value.type().is_boolean():
        return ibis.cases((value.isnull(), None), (value, 1.0), else_=0.0)
    if not (value.type().is_numeric() or value.type().is_string()):
        return ibis.null("float64")
    number = value.try_cast("float64")
    return ibis.ifelse(number.between(-_LARGEST, _LARGEST), number, None)


def _stripped(text: ir.StringColumn) -> ir.StringColumn:
    # Stripping costs more than reading the file does, and few values need it.
    return ibis.ifelse(text.startswith(" ") | text.endswith(" "), text.strip(), text)


def _spellings(text: ir.StringColumn) -> tuple[ir.StringColumn, ir.StringColumn]:
    """The text in lower case as it stands, and stripped: the latter for what is nothing else, because it costs more."""
    return text.lower(), text.strip().lower()


def _among(word: ir.StringColumn, values: Sequence[str]) -> ir.BooleanColumn:
    # DuckDB looks a longer list up by a join over all rows, which takes several times as long.
    return functools.reduce(operator.or_, [word.isin(values[i : i + 4]) for i in range(0, len(values), 4)])


def survey_of(rows: ir.Table, columns: Sequence[str], *, unit: str, variant: str) -> Survey:
    """Count rows, variants, and what each column's values are, in one pass."""
    classified = rows.select(
        has_unit=text_of(rows[unit]).notnull(),
        variant=text_of(rows[variant]),
        **{f"class:{name}": _class_of(rows[name]) for name in columns},
    )
    by_variant = classified.group_by("variant").agg(
        n_rows=classified.count(),
        n_without_unit=classified.count(where=~classified.has_unit),
        **{
            f"{kind}:{name}": classified.count(where=classified[f"class:{name}"] == number)
            for name in columns
            for number, kind in enumerate(_CLASSES)
        },
    )
    # A column of millions of different values is no variant: what is fetched of it is enough to say so.
    first = by_variant.order_by(by_variant.variant.asc(nulls_first=True)).limit(_MAX_VALUES + 1)
    found = first.to_pyarrow().to_pylist()

    def total(name: str) -> int:
        return sum(row[name] for row in found)

    return Survey(
        n_rows=total("n_rows"),
        n_without_unit=total("n_without_unit"),
        n_without_variant=sum(row["n_rows"] for row in found if row["variant"] is None),
        variants=[row["variant"] for row in found if row["variant"] is not None],
        columns={name: _Tally(**{kind: total(f"{kind}:{name}") for kind in _CLASSES}) for name in columns},
    )


def _class_of(value: ir.Column) -> ir.IntegerColumn:
    """The position in `_CLASSES` of what the value is."""
    number = _finite(value)
    branches = [(number.isin([0.0, 1.0]), "zero_or_one"), (number.notnull(), "other")]
    if value.type().is_boolean():
        branches = [(value.notnull(), "words")]
    elif value.type().is_floating():
        branches += [(value.isnan(), "missing")]
    elif value.type().is_string():
        plain, stripped = (
            [(_among(word, (*_TRUE, *_FALSE)), "words"), (_among(word, _MISSING), "missing")]
            for word in _spellings(value)
        )
        branches = [*plain, *branches, *stripped]
    branches = [(value.isnull(), "missing"), *branches]
    numbered = [(condition, _CLASSES.index(name)) for condition, name in branches]
    return ibis.cases(*numbered, else_=_CLASSES.index("wrong"))


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
    found = numbered.filter(_class_of(numbered[name]) == _CLASSES.index(kind)).order_by("row").limit(1)
    first = found.select("row", value=found[name].cast("string")).to_pyarrow().to_pylist()[0]
    return f"In {path.name}, row {first['row'] + 1} after the header holds {first['value']!r} as {name!r}"
