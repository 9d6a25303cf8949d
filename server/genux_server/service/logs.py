"""Logs: for people on a terminal, one JSON object a line for machines, with the request's id in every line.

The standard library's logging does it, since every library here speaks it already. What no line may hold are secrets:
addresses are logged without their query, headers and bodies never, and whatever still looks like a key or a password
in a URL is cut out of the finished line.
"""

import datetime as dt
import logging
import logging.config
import re
import sys
import uuid
from contextvars import ContextVar
from typing import Any

import msgspec

from genux_server.config import Config

__all__ = ["JsonFormatter", "TextFormatter", "configure", "new_request_id", "request_id", "settings"]

request_id: ContextVar[str] = ContextVar("genux_request_id", default="")
"""The id of the request that this thread is answering; empty outside of one."""

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,127}")
_KEY = re.compile(r"\b(gx[sba]_[A-Za-z0-9_-]{5})[A-Za-z0-9_-]+")
_PASSWORD = re.compile(r"(://[^/:@\s]*:)[^/@\s]+@")


def new_request_id(offered: str = "") -> str:
    """The id that a proxy or caller offered, when it is a short word of harmless characters; else a new one."""
    return offered if _SANE_ID.fullmatch(offered) else uuid.uuid4().hex


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, then request_id, fields of the event, and error."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {
            "at": dt.datetime.fromtimestamp(record.created, dt.UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return _without_secrets(msgspec.json.encode(line, enc_hook=str).decode())


class TextFormatter(logging.Formatter):
    """A line for people; a failure's traceback follows it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC).astimezone()
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        words = [f"{at:%Y-%m-%d %H:%M:%S}", f"{record.levelname:<7}", f"{record.name}:", record.getMessage(), fields]
        if request_id.get():
            words.append(f"[{request_id.get()}]")
        text = " ".join(filter(None, words))
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return _without_secrets(text)


def settings(config: Config) -> dict[str, Any]:
    """What `logging.config.dictConfig` takes, with names only, so that granian can hand it to its processes."""
    is_json = config.log_format == "json" or (config.log_format == "auto" and not sys.stderr.isatty())
    kind = JsonFormatter if is_json else TextFormatter
    level = config.log_level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"genux": {"()": f"{kind.__module__}.{kind.__qualname__}"}},
        "handlers": {"genux": {"class": "logging.StreamHandler", "formatter": "genux", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["genux"], "level": "WARNING"},
        "loggers": {"genux_server": {"level": level}, "_granian": {"level": "WARNING"}},
    }


def configure(config: Config) -> None:
    """Send this process's log where `config` says."""
    logging.config.dictConfig(settings(config))


def _without_secrets(text: str) -> str:
    return _PASSWORD.sub(r"\1…@", _KEY.sub(r"\1…", text))
