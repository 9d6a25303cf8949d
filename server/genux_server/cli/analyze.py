"""`genux analyze FILE`: a report on a CSV or Parquet file, with the service's statistics and without the service."""

import datetime as dt
from pathlib import Path

import click

from genux_server.cli.options import FORMATS, write_report

__all__ = ["analyze"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--unit", required=True, help="Column that identifies who was randomised.")
@click.option("--variant", required=True, help="Column that names the variant each unit saw.")
@click.option("--control", required=True, help="The variant the others are compared with.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    required=True,
    metavar="NAME[:KIND]",
    help="Column to compare; the first is the primary metric. KIND is proportion, mean or ratio/DENOMINATOR; without "
    "it true/false and 0/1 columns are proportions and other numbers means. Repeat for more.",
)
@click.option(
    "--share",
    "shares",
    multiple=True,
    metavar="VARIANT=SHARE",
    help="Planned share of a variant (0 to 1); equal shares when not given.",
)
@click.option("--alpha", default=0.05, show_default=True, type=click.FloatRange(0, 0.5, min_open=True, max_open=True))
@click.option("--lower-is-better", "lower", multiple=True, metavar="NAME", help="A metric that should go down.")
@click.option("--format", "fmt", type=click.Choice(FORMATS), default="text", show_default=True)
def analyze(
    file: Path,
    unit: str,
    variant: str,
    control: str,
    metrics: tuple[str, ...],
    shares: tuple[str, ...],
    alpha: float,
    lower: tuple[str, ...],
    fmt: str,
) -> None:
    """Analyze a finished A/B test in FILE (CSV or Parquet), one row per unit or per event.

    Rows of one unit are folded: true if any was true for a proportion, the sum for a mean. A unit seen in two
    variants is left out and counted.

    \b
    Example:
      genux analyze cookie_cats.csv --unit userid --variant version --control gate_30 \\
          --metric retention_7 --metric retention_1 --metric sum_gamerounds:mean
    """  # noqa: D301  click's mark for a paragraph to leave as it is
    from genux_server.engine.file import facts_from_file, parse_metric
    from genux_server.stats import build_report

    parsed = [parse_metric(text, lower_is_better=text.split(":")[0] in lower) for text in metrics]
    for name in lower:
        if name not in {metric.name for metric in parsed}:
            raise click.BadParameter(f"{name!r} is not one of the metrics", param_hint="--lower-is-better")
    facts = facts_from_file(
        file,
        unit=unit,
        variant=variant,
        control=control,
        metrics=parsed,
        shares=_parse_shares(shares),
        alpha=alpha,
    )
    write_report(build_report(facts, generated_at=dt.datetime.now(dt.UTC)), fmt)


def _parse_shares(texts: tuple[str, ...]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for text in texts:
        name, sign, number = text.rpartition("=")
        try:
            shares[name] = float(number)
        except ValueError:
            sign = ""
        if not sign:
            raise click.BadParameter(f"{text!r} is not VARIANT=SHARE, such as control=0.5", param_hint="--share")
    return shares
