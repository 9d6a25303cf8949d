"""The Python that a reader copies into an app: for one experiment where there is one, else for an example."""

import json
from collections.abc import Sequence

from genux.specs import ExperimentSpec, VariantSpec

__all__ = ["python_snippet"]

_EXAMPLE = (VariantSpec(key="chat", surface="chat"), VariantSpec(key="summary", surface="action"))

_CODE = """\
import genux
from openai import OpenAI

gx = genux.Client()       # reads GENUX_URL and GENUX_API_KEY
llm = gx.wrap(OpenAI())   # the same client, measured

with gx.unit({unit}):
    entry = gx.variant({key})   # call it where you render: it records the exposure
{branches}
    gx.track({outcome})   # the outcome that decides
"""

_MOST_BRANCHES = 3
_CALL = 'llm.responses.create(model=entry.get("model") or "gpt-5-mini", input=question)'


def python_snippet(spec: ExperimentSpec | None, outcome: str = "") -> str:
    """Code that asks for the variant, branches on it, calls the model and tracks the outcome.

    Args:
        spec: the experiment; None for an example called `ai-entry`.
        outcome: the event that its primary metric counts; `answer_accepted` when empty.
    """
    variants = spec.variants if spec else _EXAMPLE
    return _CODE.format(
        unit="user_id" if spec is None or spec.unit_kind == "user" else f"unit_id, kind={_quote(spec.unit_kind)}",
        key=_quote(spec.key if spec else "ai-entry"),
        branches=_branches(variants),
        outcome=_quote(outcome or "answer_accepted"),
    )


def _branches(variants: Sequence[VariantSpec]) -> str:
    if len(variants) > _MOST_BRANCHES:
        names = ", ".join(variant.key for variant in variants[:_MOST_BRANCHES])
        return f"    ...   # render by entry.key: {names} and so on\n    reply = {_CALL}"
    lines: list[str] = []
    for i, variant in enumerate(variants):
        word = "if" if i == 0 else "elif"
        what = {"chat": "show the chat box", "action": "show the button", "inline": "show the text in place"}
        lines += [
            f"    {word} entry.key == {_quote(variant.key)}:",
            f"        ...   # {what.get(variant.surface, 'render this variant')}",
        ]
    lines.append(f"    reply = {_CALL}")
    return "\n".join(lines)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
