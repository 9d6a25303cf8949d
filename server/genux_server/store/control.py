"""Tables of the control store: what people configure, who may, and what was computed."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from genux_server.store.base import NAMING, BigId, UtcDateTime

__all__ = [
    "ApiKey",
    "AuditEntry",
    "ControlBase",
    "Environment",
    "Experiment",
    "ExperimentEpoch",
    "Member",
    "Membership",
    "Metric",
    "Project",
    "Setting",
    "StoredReport",
    "TokenSecret",
]


class ControlBase(DeclarativeBase):
    """Root of the control store's tables."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {int: BigId, dt.datetime: UtcDateTime, str: sa.Text()}  # noqa: RUF012  # SQLAlchemy's own hook


class Project(ControlBase):
    """A project: the wall that no key, page or report looks over.

    `prices` is JSON: its own price rules. `keeps_text` says that prompts and answers may be kept, if SDKs send them.
    """

    __tablename__ = "project"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    prices: Mapped[str] = mapped_column(default="[]", server_default="[]")
    keeps_text: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    created_at: Mapped[dt.datetime]


class Environment(ControlBase):
    """A scope of a project, such as dev or prod, with keys and experiments of its own.

    `snapshot_version` is the version of the configuration that its SDKs should hold. `assignment_rules` is JSON:
    layers, holdouts and exclusions.
    """

    __tablename__ = "environment"
    __table_args__ = (sa.UniqueConstraint("project_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"))
    key: Mapped[str]
    snapshot_version: Mapped[str] = mapped_column(default="")
    assignment_rules: Mapped[str] = mapped_column(default="{}", server_default="{}")
    created_at: Mapped[dt.datetime]


class Member(ControlBase):
    """A person who may log in. What they may see stands in `Membership`."""

    __tablename__ = "member"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    created_at: Mapped[dt.datetime]
    disabled_at: Mapped[dt.datetime | None]
    last_login_at: Mapped[dt.datetime | None]


class Membership(ControlBase):
    """A person's role in a project."""

    __tablename__ = "membership"

    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"), primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("member.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str]


class ApiKey(ControlBase):
    """A machine's key. Only its SHA-256 is kept: 256 random bits need no salt and no slow hash.

    `origins` are the web origins whose pages may use a browser key, with spaces between them.
    """

    __tablename__ = "api_key"
    __table_args__ = (sa.CheckConstraint("kind IN ('server', 'browser', 'admin')", name="kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"), index=True)
    environment_id: Mapped[int] = mapped_column(sa.ForeignKey("environment.id", ondelete="CASCADE"))
    kind: Mapped[str]
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    origins: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[dt.datetime]
    revoked_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]


class TokenSecret(ControlBase):
    """A secret that signs resume tokens. SDKs need it in clear, so it is kept in clear."""

    __tablename__ = "token_secret"
    __table_args__ = (sa.UniqueConstraint("project_id", "key_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"))
    key_id: Mapped[str]
    secret: Mapped[str]
    created_at: Mapped[dt.datetime]
    retired_at: Mapped[dt.datetime | None]


class Experiment(ControlBase):
    """An experiment. `spec` is what a person wrote; coverage and allocation in force stand beside it."""

    __tablename__ = "experiment"
    __table_args__ = (
        sa.UniqueConstraint("environment_id", "key"),
        sa.CheckConstraint("status IN ('draft', 'running', 'paused', 'stopped', 'shipped', 'archived')", name="status"),
        sa.CheckConstraint("coverage >= 0 AND coverage <= 1", name="coverage"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"), index=True)
    environment_id: Mapped[int] = mapped_column(sa.ForeignKey("environment.id", ondelete="CASCADE"))
    key: Mapped[str]
    status: Mapped[str]
    spec: Mapped[str]
    coverage: Mapped[float] = mapped_column(sa.Double())
    shipped: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]
    started_at: Mapped[dt.datetime | None]
    ended_at: Mapped[dt.datetime | None]


class ExperimentEpoch(ControlBase):
    """The units that an experiment admitted by one allocation (a JSON list of shares).

    They are those whose place lies at or above `coverage_from`, and below that of the next epoch, or else below the
    experiment's coverage.
    """

    __tablename__ = "experiment_epoch"
    __table_args__ = (sa.UniqueConstraint("experiment_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"))
    experiment_id: Mapped[int] = mapped_column(sa.ForeignKey("experiment.id", ondelete="CASCADE"))
    number: Mapped[int]
    allocation: Mapped[str]
    coverage_from: Mapped[float] = mapped_column(sa.Double(), default=0.0, server_default="0")
    salt: Mapped[str]
    started_at: Mapped[dt.datetime]
    ended_at: Mapped[dt.datetime | None]


class Metric(ControlBase):
    """A measured quantity, shared by a project's experiments in every environment."""

    __tablename__ = "metric"
    __table_args__ = (sa.UniqueConstraint("project_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"))
    key: Mapped[str]
    spec: Mapped[str]
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]


class StoredReport(ControlBase):
    """A report as it was computed, never changed. `pending` says that conversion windows were still open.

    `chunk` is the last chunk of the lake that held facts of the experiment's environment.
    """

    __tablename__ = "report"
    __table_args__ = (sa.Index(None, "experiment_id", "definition_hash", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"))
    experiment_id: Mapped[int] = mapped_column(sa.ForeignKey("experiment.id", ondelete="CASCADE"))
    definition_hash: Mapped[str]
    chunk: Mapped[int]
    lake_version: Mapped[str]
    pending: Mapped[bool]
    body: Mapped[str]
    as_of: Mapped[dt.datetime]


class AuditEntry(ControlBase):
    """Who changed what, when. `detail` is JSON; written in the transaction that makes the change."""

    __tablename__ = "audit_entry"
    __table_args__ = (sa.Index(None, "project_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"))
    at: Mapped[dt.datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[str]


class Setting(ControlBase):
    """A value that belongs to the installation, not to a project, such as the key that signs sessions."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
