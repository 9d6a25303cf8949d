"""Options and output that several sub-commands share."""

import json

import click

from genux_server.model import Report

__all__ = ["FORMATS", "write_report"]

FORMATS = ("text", "json", "markdown")


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
