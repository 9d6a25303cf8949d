"""`genux doctor`: what is wrong between this machine and the service, and how to mend it."""

import json
import os

import click
from rich.console import Console
from rich.table import Table

from genux import doctor as sdk
from genux.config import load_config
from genux.errors import ConfigError
from genux_server.service.payloads import payload_problems

__all__ = ["doctor"]

_MARKS = {"ok": "[green]✓ ok[/]", "warning": "[yellow]! warning[/]", "problem": "[red]✗ problem[/]"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(*, as_json: bool) -> None:
    """Check configuration, service, key, clock, snapshot and outbox of the SDK in this environment."""
    findings = [*sdk.diagnose(), *_payloads(os.environ.get("GENUX_CONFIG", ""))]
    failed = any(finding.status == "problem" for finding in findings)
    if as_json:
        click.echo(json.dumps([{name: getattr(f, name) for name in f.__struct_fields__} for f in findings], indent=2))
    else:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for finding in findings:
            table.add_row(_MARKS[finding.status], finding.code, finding.message)
            if finding.advice:
                table.add_row("", "", f"[dim]{finding.advice}[/]")
        Console().print(table)
    raise SystemExit(1 if failed else 0)


def _payloads(path: str) -> list[sdk.Finding]:
    """What the SDK leaves unchecked in a file of experiments: payloads against the schemas that they name."""
    if not path:
        return []
    try:
        experiments = load_config(path).experiments
    except ConfigError:
        return []  # the SDK's own findings tell
    return [
        sdk.Finding(
            code="payload",
            status="problem",
            message=f"{path}: experiments[{index}]{problem.removeprefix('$')}",
            advice="mend the payload, or the schema",
        )
        for index, spec in enumerate(experiments)
        for problem in payload_problems(spec)
    ]
