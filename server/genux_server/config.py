"""What an operator sets, read once from the environment into one frozen object."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from genux.errors import ConfigError

__all__ = ["Config"]

_PREFIX = "GENUX_"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the service. Every field has a variable: `GENUX_` and its name in capitals, except where said.

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
        lease_seconds: how long a worker that went silent keeps others waiting.
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
    lease_seconds: float = 6.0
    sentry_dsn: str = field(default="", repr=False)
    admin_email: str = "admin@localhost"
    admin_password: str = field(default="", repr=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> "Config":
        """Read the settings; `overrides` that are not None win over the environment.

        Raises:
            ConfigError: a variable holds something that its type cannot be read from.
        """
        env = os.environ if environ is None else environ
        values: dict[str, object] = {}
        for name, spec in cls.__dataclass_fields__.items():
            override = overrides.pop(name, None)
            if override is not None:
                values[name] = override
                continue
            variable = "SENTRY_DSN" if name == "sentry_dsn" else _PREFIX + name.upper()
            if env.get(variable):
                values[name] = _parse(variable, env[variable], spec.default)
        if overrides:
            raise TypeError(f"no such setting: {', '.join(overrides)}")
        return cls(**values)  # type: ignore[arg-type]  # each value was parsed to its field's type above

    def to_env(self) -> dict[str, str]:
        """The variables that make `from_env` return an equal object in another process."""
        return {
            "SENTRY_DSN" if name == "sentry_dsn" else _PREFIX + name.upper(): str(getattr(self, name))
            for name in self.__dataclass_fields__
        }

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


def _parse(variable: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        word = text.strip().lower()
        if word not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
            raise ConfigError(f"{variable} must be true or false, not {text!r}")
        return word in {"1", "true", "yes", "on"}
    kind = type(default) if isinstance(default, int | float) else Path if isinstance(default, Path) else str
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{variable} must be a number, not {text!r}") from error


def _postgres(url: str) -> str:
    """Accept the forms that hosts hand out, and name the driver that genux uses."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise ConfigError("GENUX_DATABASE_URL must be a postgresql:// URL; leave it empty to use SQLite")
    return f"postgresql+psycopg://{rest}"
