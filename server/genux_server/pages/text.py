"""Every word of the pages passes through here, so that a translation needs one hook and no hunt.

Templates call `_()` and `ngettext()`, which `install` binds to the functions below; Python code imports them.
`sentence` turns a statistics message into text; codes and arguments travel with it for the day there are catalogues.
"""

import re
from typing import TYPE_CHECKING

from genux_server.model import Message

if TYPE_CHECKING:
    from flask import Flask

__all__ = [
    "check_name",
    "gettext",
    "guardrail_word",
    "install",
    "method_name",
    "ngettext",
    "role_name",
    "sentence",
    "sentences",
    "status_word",
    "step_name",
    "surface_name",
    "title",
    "validity_sentence",
    "validity_word",
    "verdict_word",
]

_MINUS = re.compile(r"(?<![\w.])-(?=[$\d])")
_PERCENT = re.compile(r"(?<=\d) %")
_WORD = re.compile(r"[^\W\d_]+[ ,.]")
_P_VALUE = re.compile(r"\bp ([<=]) ")


def gettext(message: str, **args: object) -> str:
    """The message with its `%(name)s` places filled."""
    return message % args if args else message


def ngettext(singular: str, plural: str, n: int, **args: object) -> str:
    """The form that fits `n`; `%(num)s` in it is `n`."""
    args.setdefault("num", n)
    return (singular if n == 1 else plural) % args


def install(app: "Flask") -> None:
    """Give the application's templates `_()`, `gettext()` and `ngettext()`."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    # The extension adds this method; Jinja's types cannot know it.
    app.jinja_env.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]


def sentence(message: Message) -> str:
    """A message of the statistics layer as text, set as in print.

    A true minus, no line break inside a figure, and a capital at the start unless it starts with a key.
    """
    text = _MINUS.sub("\u2212", message.text or message.code)
    if _WORD.match(text):
        text = text[0].upper() + text[1:]
    return _P_VALUE.sub("p\u00a0\\1\u00a0", _PERCENT.sub("\u202f%", text))


def title(label: str, key: str) -> str:
    """A metric's name as a heading: what a person wrote begins with a capital, a key stays as it is."""
    return label[:1].upper() + label[1:] if label and label != key else key


def sentences(messages: list[Message]) -> list[str]:
    """Several messages as text."""
    return [sentence(m) for m in messages]


def verdict_word(verdict: str) -> str:
    """The verdict as a person says it."""
    words = {
        "ship": gettext("Ship"),
        "extend": gettext("Keep running"),
        "discuss": gettext("Discuss"),
        "do_not_ship": gettext("Do not ship"),
        "invalid": gettext("Invalid"),
        "collecting": gettext("Collecting data"),
    }
    return words.get(verdict, verdict)


def status_word(status: str) -> str:
    """An experiment's status, or a check's, as a word."""
    words = {
        "draft": gettext("Draft"),
        "running": gettext("Running"),
        "paused": gettext("Paused"),
        "stopped": gettext("Stopped"),
        "shipped": gettext("Shipped"),
        "archived": gettext("Archived"),
        "ok": gettext("OK"),
        "warn": gettext("Warning"),
        "fail": gettext("Failing"),
        "unknown": gettext("Not known yet"),
    }
    return words.get(status, status)


def surface_name(surface: str) -> str:
    """How a variant offers the model; empty for none."""
    words = {
        "chat": gettext("chat box"),
        "action": gettext("one-click action"),
        "inline": gettext("inline text"),
        "none": "",
    }
    return words.get(surface, surface)


def role_name(role: str) -> str:
    """A metric's part in the decision."""
    words = {
        "primary": gettext("Primary"),
        "secondary": gettext("Secondary"),
        "guardrail": gettext("Guardrail"),
    }
    return words.get(role, role)


def step_name(step: str) -> str:
    """A step of the surface funnel."""
    words = {
        "exposed": gettext("Exposed"),
        "surface_shown": gettext("Shown"),
        "surface_focused": gettext("Focused"),
        "input_started": gettext("First input"),
        "prompt_sent": gettext("Prompt sent"),
        "answer_started": gettext("Answer started"),
        "answer_seen": gettext("Answer seen"),
        "answer_accepted": gettext("Answer accepted"),
        "answer_copied": gettext("Answer copied"),
        "answer_regenerated": gettext("Asked again"),
        "answer_rejected": gettext("Answer rejected"),
        "feedback": gettext("Gave feedback"),
    }
    return words.get(step, step)


def guardrail_word(state: str) -> str:
    """Where a guardrail stands; empty for a metric that is none."""
    words = {
        "safe": gettext("unharmed"),
        "harmed": gettext("harmed"),
        "unclear": gettext("still open"),
        "quiet": gettext("no harm visible"),
    }
    return words.get(state, "")


def check_name(code: str) -> str:
    """A health check's short name; an unknown code reads as words."""
    words = {
        "srm": gettext("Split between variants"),
        "multi_variant": gettext("Units in two variants"),
        "exposure_drift": gettext("Split over time"),
        "data_gap": gettext("Gaps"),
        "lost_events": gettext("Lost events"),
        "little_data": gettext("Amount of data"),
        "twyman": gettext("Plausibility"),
        "novelty": gettext("Novelty"),
        "excluded": gettext("Left out"),
    }
    if code.startswith("srm_epoch_"):
        return gettext("Split in epoch %(number)s", number=code.removeprefix("srm_epoch_"))
    if code.startswith("outlier_"):
        return gettext("Outliers")
    return words.get(code, code.replace("_", " ").capitalize())


def method_name(method: str) -> str:
    """A statistical method's code as words."""
    words = {
        "score": gettext("score test, Mee interval, Koopman lift"),
        "welch_fieller": gettext("Welch's test, Fieller lift"),
        "delta_fieller": gettext("delta method at the unit, Fieller lift"),
        "clustered_quantile": gettext("order statistics with the error between units, Fieller lift"),
        "restricted_mean": gettext("restricted mean survival time, Fieller lift"),
        "confidence_sequence": gettext("confidence sequence"),
        "group_sequential": gettext("group-sequential bound"),
    }
    return words.get(method, method.replace("_", " "))


def validity_word(validity: str) -> str:
    """A comparison's validity, in two or three words."""
    words = {
        "always": gettext("Valid at every look"),
        "planned": gettext("Valid at the planned looks"),
        "fixed": gettext("Valid for one look"),
    }
    return words.get(validity, validity)


def validity_sentence(validity: str) -> str:
    """What a comparison's validity allows its reader to do."""
    words = {
        "always": gettext("Valid at every look: read it as often as you like, and act on it when you like."),
        "planned": gettext("Valid at the planned looks: the promise made before the start holds at this one."),
        "fixed": gettext("Valid for one look only: reading it again and again raises the chance of a false alarm."),
    }
    return words.get(validity, validity)
