"""Options and output that several sub-commands share."""

import json
from pathlib import Path

import click

from genux_server.model import Report

__all__ = ["FORMATS", "data_option", "write_report"]

FORMATS = ("text", "json", "markdown")

data_option = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Directory of everything kept."
)
"""Where the service's data is, for every sub-command that needs it."""


def write_report(report: Report, fmt: str) -> None:
    """Prints a report in one of `FORMATS`."""
    if fmt == "json":
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    elif fmt == "markdown":
        from genux_server.cli.markdown import to_markdown

        click.echo(to_markdown(report))
    else:
        from genux_server.cli.terminal import print_report

        print_report(report)
