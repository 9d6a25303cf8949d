"""A report as Markdown, for a pull request, a wiki or a mail."""

from genux_server.cli.outline import outline
from genux_server.cli.terminal import VERDICT_STYLES
from genux_server.model import Report
from genux_server.pages import format as fmt

__all__ = ["to_markdown"]


def to_markdown(report: Report) -> str:
    """The whole report as GitHub-flavoured Markdown."""
    lines = [
        f"# {report.experiment}: {VERDICT_STYLES[report.verdict][0]}",
        "",
        f"**{_escape(report.headline.text)}**",
        "",
    ]
    lines += [f"- {_escape(reason.text)}" for reason in report.reasons]
    lines += [f"- _{_escape(change.text)}_" for change in report.change_mind]
    if report.simulated:
        lines += ["", f"> Simulated: {_escape(report.simulated)}"]
    for section in outline(report):
        if section.title:
            lines += ["", f"## {_escape(section.title)}", ""]
        lines += [f"- {_escape(line)}" for line in section.lines]
        if section.rows:
            kept = [i for i, name in enumerate(section.header) if name]
            lines += [
                "",
                "| " + " | ".join(_escape(section.header[i]) for i in kept) + " |",
                "|" + "|".join("---" if i == 0 else "--:" for i in kept) + "|",
                *("| " + " | ".join(_escape(row[i]) for i in kept) + " |" for row in section.rows),
            ]
    computed = f"Computed {fmt.moment(report.generated_at)} by genux {report.code_version}."
    lines += ["", f"_{fmt.count(report.n_units)} units. {computed}_"]
    return "\n".join(lines)


def _escape(text: str) -> str:
    for mark in ("\\", "|", "*", "_", "<", "`", "["):
        text = text.replace(mark, "\\" + mark)
    return text
