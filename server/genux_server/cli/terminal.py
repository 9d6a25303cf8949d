"""A report in the terminal."""

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from genux_server.cli.outline import Section, outline
from genux_server.model import Report
from genux_server.pages import format as fmt

__all__ = ["VERDICT_STYLES", "print_report"]

VERDICT_STYLES = {
    "ship": ("✓ ship", "green"),
    "extend": ("… extend", "yellow"),
    "discuss": ("? discuss", "yellow"),
    "do_not_ship": ("✗ do not ship", "red"),
    "invalid": ("✗ invalid", "red"),
    "collecting": ("… collecting data", "cyan"),
}
_CHECK_STYLES = {"FAIL": "bold red", "WARN": "bold yellow", "UNKNOWN": "bold cyan"}


def print_report(report: Report, console: Console | None = None) -> None:
    """Prints `report` to `console` (standard output by default)."""
    console = console or Console()
    word, style = VERDICT_STYLES[report.verdict]
    parts: list[Text] = [Text(report.headline.text, style="bold")]
    parts += [Text(f"• {reason.text}") for reason in report.reasons]
    parts += [Text(f"↻ {change.text}", style="dim") for change in report.change_mind]
    if report.simulated:
        parts.append(Text(f"Simulated: {report.simulated}", style="magenta"))
    title = f"[bold {style}]{word}[/]  {report.experiment}"
    console.print(Panel(Group(*parts), title=title, title_align="left", border_style=style, padding=(1, 2)))
    for section in outline(report):
        _print_section(section, console)
    read = f"{fmt.count(report.n_units)} units"
    if report.first_exposure_day and report.last_exposure_day and report.source != "file":
        read += f", {fmt.day(report.first_exposure_day)} to {fmt.day(report.last_exposure_day)}"
    console.print(f"[dim]{read}. Computed {fmt.moment(report.generated_at)} by genux {report.code_version}.[/]")


def _print_section(section: Section, console: Console) -> None:
    console.print(f"\n[bold]{section.title}[/]" if section.title else "")
    for line in section.lines:
        text = Text(line)
        word = line.split(":", 1)[0]
        if word in _CHECK_STYLES:
            text.stylize(_CHECK_STYLES[word], 0, len(word))
        console.print(text)
    if not section.rows:
        return
    kept = [i for i, name in enumerate(section.header) if name]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i in kept:
        words = i == 0 or section.header[i] in {"valid at", "served models"}
        table.add_column(section.header[i], justify="left" if words else "right")
    for row in section.rows:
        table.add_row(*(row[i] for i in kept))
    console.print(table)
