"""Forgetting a unit: what the worker does when somebody asked for it, and what keeps the unit forgotten.

Every step can be done twice, so that after a crash all of them are done again. The order matters: the hashes that keep
late events out come first, the rows that lead to the others go last, the new state of the lake is published before the
files of the old one are deleted, and the id itself is forgotten when nothing needs it any more.
"""

import datetime as dt
import secrets
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
import zstandard

from genux_server.model import IngestedBatch
from genux_server.service import audit
from genux_server.service import experiments as verbs
from genux_server.service.scope import Scope, utcnow
from genux_server.store import Store, erasures, experiments, inbox, parking, projects
from genux_server.store.inbox_tables import Erasure

if TYPE_CHECKING:
    from genux_server.lake import FoundUnit, Lake

__all__ = ["Forgotten", "Outcome", "digest_of", "erase_unit", "names_unit"]

_SECRET = "erasure_secret"  # noqa: S105  # its name in the store
_WHOLE_PROJECT = 0

_RawEvent = Mapping[str, Any]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure found and took away.

    Attributes:
        ids: how many ids the unit had, over all environments.
        exposures: rows of the lake; so are `events` and `calls`.
        rejected: refused events.
        parked: batches that were set aside as unreadable, and held such an id or could not be looked into.
        reports: stored reports that named the unit as an outlier. All others of the project are computed anew.
        experiments: those that forced a variant on the unit, and no longer do.
        still_named_in: rules that a person wrote and that name the unit: `ENVIRONMENT` or `ENVIRONMENT/EXPERIMENT`.
    """

    ids: int = 0
    exposures: int = 0
    events: int = 0
    calls: int = 0
    rejected: int = 0
    parked: int = 0
    reports: int = 0
    experiments: list[str] = msgspec.field(default_factory=list)
    still_named_in: list[str] = msgspec.field(default_factory=list)


class Forgotten:
    """Tells the events of units that were erased after they happened: an outbox may bring some a week later.

    Args:
        store: where the key of the hashes is.
        erased_at: by project and hash.

    Attributes:
        n_dropped: how many events were told so far.
    """

    def __init__(self, store: Store, erased_at: Mapping[tuple[int, str], dt.datetime]) -> None:
        self.n_dropped = 0
        self._secret = _secret(store)
        self._erased_at = erased_at
        self._projects = {project_id for project_id, _ in erased_at}
        self._found: dict[tuple[int, int, str, str], dt.datetime | None] = {}

    def __call__(self, batch: IngestedBatch, at: dt.datetime, units: Iterable[tuple[str, str]]) -> bool:
        """Whether an event that happened at a moment in these units (kind, id) is to be dropped."""
        if batch.project_id not in self._projects:
            return False
        for kind, unit_id in units:
            erased_at = self._look_up(batch.project_id, batch.environment_id, kind, unit_id)
            if erased_at is not None and at <= erased_at:
                self.n_dropped += 1
                return True
        return False

    def _look_up(self, *unit: *tuple[int, int, str, str]) -> dt.datetime | None:
        if unit not in self._found:
            self._found[unit] = self._erased_at.get((unit[0], _digest(self._secret, *unit)))
        return self._found[unit]


def digest_of(store: Store, project_id: int, environment_id: int | None, unit_kind: str, unit_id: str) -> str:
    """The keyed hash by which an erasure is known once the id is forgotten."""
    return _digest(_secret(store), project_id, environment_id or _WHOLE_PROJECT, unit_kind, unit_id)


def erase_unit(store: Store, lake: "Lake", row: sa.Row[tuple[Erasure]], hold: Callable[[sa.Connection], None]) -> None:
    """Take a unit out of everything that is kept.

    Args:
        store: inbox and control store.
        lake: in which nothing is half-way.
        row: what was asked for.
        hold: raises unless the caller still has the worker's lease; called in each transaction that depends on it.
    """
    if row.unit_id:
        _erase(store, lake, row, hold)
    erasures.compact(store)
    with store.inbox_writing() as connection:
        erasures.finish(connection, row.id, utcnow())


def _erase(store: Store, lake: "Lake", row: sa.Row[tuple[Erasure]], hold: Callable[[sa.Connection], None]) -> None:
    scopes = _scopes(store, row)
    found = lake.find(row.project_id, list(scopes), row.unit_kind, row.unit_id)
    secret = _secret(store)
    digests = {
        _digest(secret, row.project_id, environment_id, row.unit_kind, each)
        for environment_id, ids in found.ids.items()
        for each in ids
    }
    with store.inbox_writing() as connection:
        hold(connection)
        erasures.add_erased_units(connection, row.project_id, digests, row.requested_at)
        rejected = erasures.delete_rejected(
            connection,
            row.project_id,
            lambda environment_id, body: names_unit(body, row.unit_kind, found.ids.get(environment_id, [])),
        )
        parked = parking.delete(
            connection,
            row.project_id,
            lambda environment_id, body: _is_in(body, found.ids.get(environment_id, [])),
        )
        chunk = inbox.lake_versions(connection).chunk + 1
    unforced = [key for scope in scopes.values() for key in _unforce(store, scope, row.unit_kind, found.ids)]
    versions = lake.delete(found, chunk)
    with store.inbox_writing() as connection:
        hold(connection)
        inbox.publish_change(connection, versions, [(row.project_id, each) for each in scopes], utcnow())
    lake.vacuum()
    outcome = _record(store, row, scopes, found, Outcome(rejected=rejected, parked=parked, experiments=unforced))
    with store.inbox_writing() as connection:
        hold(connection)
        erasures.forget_id(connection, row.id, msgspec.json.encode(outcome).decode())


def names_unit(body: bytes, unit_kind: str, ids: Iterable[str]) -> bool:
    """Whether a refused event, whatever it holds, is of one of these units.

    One that cannot be read counts when such an id stands in quotes in what is left of it.
    """
    wanted = set(ids)
    try:
        event: _RawEvent = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return any(msgspec.json.encode(each) in body for each in wanted)
    units = event.get("units")
    named = [event.get("known_id"), units.get(unit_kind) if isinstance(units, dict) else None]
    if event.get("unit_kind", "user") == unit_kind:
        named.append(event.get("unit_id"))
    return any(isinstance(each, str) and each in wanted for each in named)


def _is_in(body: bytes, ids: Iterable[str]) -> bool:
    try:
        text = zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError:
        return True
    return any(msgspec.json.encode(each) in text for each in ids)


def _scopes(store: Store, row: sa.Row[tuple[Erasure]]) -> dict[int, Scope]:
    with store.reading() as session:
        found = projects.environments(session, row.project_id)
    return {
        environment.id: Scope(
            project_id=project.id,
            project=project.key,
            environment_id=environment.id,
            environment=environment.key,
            actor=row.actor,
        )
        for project, environment in found
        if row.environment_id in {None, environment.id}
    }


def _unforce(store: Store, scope: Scope, unit_kind: str, ids: Mapping[int, list[str]]) -> list[str]:
    """Take the unit out of the experiments that force a variant on it."""
    mine = set(ids[scope.environment_id])
    changed = []
    for view in verbs.list_experiments(store, scope):
        forced = view.spec.forced_units
        if view.spec.unit_kind == unit_kind and mine & forced.keys():
            kept = {unit: variant for unit, variant in forced.items() if unit not in mine}
            verbs.update(store, scope, msgspec.structs.replace(view.spec, forced_units=kept))
            changed.append(f"{scope.environment}/{view.key}")
    return changed


def _record(
    store: Store, row: sa.Row[tuple[Erasure]], scopes: Mapping[int, Scope], found: "FoundUnit", so_far: Outcome
) -> Outcome:
    """Take out the reports that name the unit, see who else does, and write down what was done, without the id."""
    quoted = {msgspec.json.encode(each).decode() for ids in found.ids.values() for each in ids}
    with store.writing() as session:
        n_reports = sum(experiments.delete_reports(session, row.project_id, each) for each in quoted)
        still = []
        for scope in scopes.values():
            rules = experiments.environment(session, scope.environment_id).assignment_rules
            specs = {each.key: each.spec for each in experiments.list_experiments(session, scope.environment_id)}
            texts = {scope.environment: rules, **{f"{scope.environment}/{key}": spec for key, spec in specs.items()}}
            still += [place for place, text in texts.items() if any(each in text for each in quoted)]
        outcome = msgspec.structs.replace(
            so_far,
            ids=len(set().union(*found.ids.values())),
            exposures=len(found.exposures),
            events=len(found.events),
            calls=len(found.calls),
            reports=n_reports,
            still_named_in=still,
        )
        scope = next(iter(scopes.values()))
        audit.record(session, scope, "unit.erase", row.digest, {"erasure": row.id, **msgspec.structs.asdict(outcome)})
    return outcome


def _secret(store: Store) -> bytes:
    with store.writing() as session:
        return projects.setting_once(session, _SECRET, secrets.token_hex(32)).encode()


def _digest(secret: bytes, project_id: int, environment_id: int, unit_kind: str, unit_id: str) -> str:
    content = msgspec.json.encode([project_id, environment_id, unit_kind, unit_id])
    return blake2b(content, key=secret, digest_size=16).hexdigest()
