"""What an operator sets, read once from a file and the environment into one frozen object.

Forty lines instead of pydantic-settings: the standard library reads TOML, the fields are flat and of five types, and
pydantic would be the service's only use of it.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genux.errors import ConfigError

__all__ = ["Config"]

_PREFIX = "GENUX_"
_FILE_VARIABLE = "GENUX_CONFIG"
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})
_CHOICES = {"log_format": ("auto", "text", "json"), "log_level": ("debug", "info", "warning", "error")}
_HIGHEST = {"port": 65_535, "worker_metrics_port": 65_535, "keep_reports_days": 36_500, "keep_rejected_days": 36_500}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the service.

    Every field has a variable: `GENUX_` and its name in capitals, except where said; and a line in the TOML file that
    `GENUX_CONFIG` names, under its own name. An option of the command line wins over the variable, and that over the
    file.

    Attributes:
        data: directory of everything the service keeps on disk.
        database_url: SQLAlchemy URL of PostgreSQL; empty keeps `control.db` and `inbox.db` (SQLite) under `data`.
        lake: directory of the Delta tables; empty means `lake` under `data`.
        host: address to listen on. A public one belongs behind TLS, with `secure_cookies` on.
        port: TCP port, 0 to 65535; 0 picks a free one.
        web_processes: processes that answer HTTP; 0 takes one per core, two at most.
        web_threads: requests each of them serves at once.
        secure_cookies: send session cookies over HTTPS only.
        inbox_max_batches: batches waiting for the lake before ingest answers 429.
        inbox_max_bytes: compressed bytes waiting for the lake before ingest answers 429.
        archive_seconds: how long the worker lets batches gather before it writes a chunk; fewer chunks, fewer files.
        refresh_seconds: least time between two scheduled reports of one experiment.
        keep_reports_days: how long a report stays, each day's last one after two days; the newest of an experiment
            always does. 0 keeps all for ever.
        keep_rejected_days: how long a refused event can be looked at, and counts in reports. 0 keeps all for ever.
        lease_seconds: how long a worker that went silent keeps others waiting.
        metrics_token: who holds it may read `/metrics`; empty lets only this machine, and nobody through a proxy.
        worker_metrics_port: where a `genux worker` of its own shows its metrics; 0 shows none. The worker inside
            `genux serve` needs none: the service's `/metrics` tells of both.
        log_format: `text`, `json` (one object a line), or `auto`: text on a terminal, else JSON.
        log_level: `debug`, `info`, `warning` or `error`.
        sentry_dsn: where errors go; empty sends nothing (variable `SENTRY_DSN`).
        admin_email: login of the first administrator.
        admin_password: password of the first administrator; empty invents one and prints it once.
    """

    data: Path = Path("genux-data")
    database_url: str = field(default="", repr=False)
    lake: str = ""
    host: str = "127.0.0.1"
    port: int = 8321
    web_processes: int = 0
    web_threads: int = 4
    secure_cookies: bool = False
    inbox_max_batches: int = 200_000
    inbox_max_bytes: int = 4 * 2**30
    archive_seconds: float = 1.0
    refresh_seconds: float = 15.0
    keep_reports_days: int = 400
    keep_rejected_days: int = 90
    lease_seconds: float = 6.0
    metrics_token: str = field(default="", repr=False)
    worker_metrics_port: int = 0
    log_format: str = "auto"
    log_level: str = "info"
    sentry_dsn: str = field(default="", repr=False)
    admin_email: str = "admin@localhost"
    admin_password: str = field(default="", repr=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> "Config":
        """Read the settings; `overrides` that are not None win over the environment, and that over the file.

        Raises:
            ConfigError: the file cannot be read or holds a name that is none, or a value is not of its field's type
                or range; the message names file or variable, and the value unless it is a secret.
        """
        env = os.environ if environ is None else environ
        values = _read_file(env[_FILE_VARIABLE]) if env.get(_FILE_VARIABLE) else {}
        for name in cls.__dataclass_fields__:
            override = overrides.pop(name, None)
            variable = _variable(name)
            if override is not None:
                values[name] = override
            elif env.get(variable):
                values[name] = _parse(variable, name, env[variable])
        if overrides:
            raise TypeError(f"no such setting: {', '.join(overrides)}")
        return cls(**values)

    def to_env(self) -> dict[str, str]:
        """The variables that make `from_env` return an equal object in another process."""
        return {_variable(name): str(getattr(self, name)) for name in self.__dataclass_fields__}

    @property
    def lake_path(self) -> str:
        """Where the Delta tables are."""
        return self.lake or str(self.data / "lake")

    @property
    def control_url(self) -> str:
        """SQLAlchemy URL of the control store."""
        return _postgres(self.database_url) if self.database_url else f"sqlite:///{self.data / 'control.db'}"

    @property
    def inbox_url(self) -> str:
        """SQLAlchemy URL of the inbox: a file of its own on SQLite, so that a long write elsewhere delays no ingest."""
        return _postgres(self.database_url) if self.database_url else f"sqlite:///{self.data / 'inbox.db'}"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the service."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::", ""} else self.host  # noqa: S104  # read, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def _variable(name: str) -> str:
    return "SENTRY_DSN" if name == "sentry_dsn" else _PREFIX + name.upper()


def _read_file(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: the configuration file cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
    names = list(Config.__dataclass_fields__)
    for name in content:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise ConfigError(
                f"{path}: {name}: there is no such setting" + "".join(f"; did you mean {each}?" for each in near)
            )
    return {name: _check(f"{path}: {name}", name, value) for name, value in content.items()}


def _parse(place: str, name: str, text: str) -> Any:
    """A variable's text as its field's type."""
    default = Config.__dataclass_fields__[name].default
    if isinstance(default, bool):
        word = text.strip().lower()
        return _check(place, name, word in _YES if word in _YES | _NO else text)
    if isinstance(default, int | float):
        for kind in (int, float):
            try:
                return _check(place, name, kind(text))
            except ValueError:
                continue
    return _check(place, name, text)


def _check(place: str, name: str, value: object) -> Any:
    """A value as its field's type, within its range."""
    spec = Config.__dataclass_fields__[name]
    default = spec.default
    wanted = ""
    if isinstance(default, bool):
        wanted = "" if isinstance(value, bool) else "true or false"
    elif isinstance(default, int | float):
        is_number = isinstance(value, int if isinstance(default, int) else int | float) and not isinstance(value, bool)
        highest = _HIGHEST.get(name, float("inf"))
        if not is_number or not 0 <= value < float("inf") or value > highest:  # type: ignore[operator]  # a number
            kind = "a whole number" if isinstance(default, int) else "a number"
            wanted = f"{kind} from 0" + (f" to {highest}" if name in _HIGHEST else "")
    elif not isinstance(value, str):
        wanted = "text"
    elif name in _CHOICES and value not in _CHOICES[name]:
        wanted = " or ".join(_CHOICES[name])
    if wanted:
        shown = f", not {value!r}" if spec.repr else ""
        raise ConfigError(f"{place}: must be {wanted}{shown}")
    if isinstance(default, Path):
        return Path(str(value))
    return float(value) if isinstance(default, float) else value  # type: ignore[arg-type]  # a number, checked above


def _postgres(url: str) -> str:
    """Accept the forms that hosts hand out, and name the driver that genux uses."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise ConfigError("GENUX_DATABASE_URL must be a postgresql:// URL; leave it empty to use SQLite")
    return f"postgresql+psycopg://{rest}"
