"""What a client says of itself."""

from typing import Literal

import msgspec

from genux import _segments
from genux._delivery import Delivery
from genux._guard import Guard
from genux._snapshot import SnapshotStore

__all__ = ["RouteStatus", "Status", "TargetStatus", "status_of"]


class TargetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A target of a route, as this process knows it.

    Attributes:
        name: as it is called in the calls' attempts.
        model: that it asks for; empty is the caller's.
        state: `ready`; `cooling` after a rate limit or too many failures; `out` for a refused or exhausted key; `busy`
            at its limit of concurrency or rate, or while one request tries whether it has recovered.
        ready_in_seconds: until it is asked again; 0 when that is not a matter of time.
        last_error: why its last failed attempt failed, such as `rate_limited`; empty when none did.
        ok: attempts that brought an answer.
        errors: attempts that failed, rate limits included.
        rate_limited: those of them that met a rate limit.
        in_flight: attempts under way, streams that are being read included.
    """

    name: str
    model: str = ""
    state: Literal["ready", "cooling", "out", "busy"]
    ready_in_seconds: float = 0.0
    last_error: str = ""
    ok: int = 0
    errors: int = 0
    rate_limited: int = 0
    in_flight: int = 0


class RouteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A route, as this process knows it.

    Attributes:
        waits: times that a request had to wait because no target was ready.
        waiting: requests that wait now.
        targets: in the order of the route.
    """

    waits: int = 0
    waiting: int = 0
    targets: list[TargetStatus]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the client did since the process started; every event is in one of the counts.

    Attributes:
        mode: `service`, or `local` without a url.
        accepted: events kept in the outbox.
        local: events that local mode only counted.
        shipped: events that this process delivered, those left by dead processes included.
        dropped: events given up, by reason.
        rejected: events that the service refused, by code.
        refused: unusable arguments and resume tokens that cost no event, by code.
        controls: answers that were no assignment (excluded, held out, not targeted, undecided, shipped...), by reason.
        failures: faults inside genux, by place.
        in_memory: events that the disk refuses.
        segments: batches on disk, not yet delivered, open ones included.
        parked: batches that the service will never take.
        snapshot_version: what is assigned from; empty for nothing.
        snapshot_age_seconds: since the service last confirmed it; None when it never did.
        routes: keys, models and providers behind `gx.route(...)`, by the route's name.
    """

    mode: str
    accepted: int = 0
    local: int = 0
    shipped: int = 0
    dropped: dict[str, int]
    rejected: dict[str, int] = msgspec.field(default_factory=dict)
    refused: dict[str, int]
    controls: dict[str, int]
    failures: dict[str, int]
    in_memory: int = 0
    segments: int = 0
    parked: int = 0
    snapshot_version: str
    snapshot_age_seconds: float | None
    routes: dict[str, RouteStatus] = msgspec.field(default_factory=dict)


def status_of(
    guard: Guard,
    snapshots: SnapshotStore,
    delivery: Delivery | None,
    n_local: int,
    routes: dict[str, RouteStatus] | None = None,
) -> Status:
    """Gather the counts."""
    status = Status(
        mode="local",
        local=n_local,
        dropped=guard.dropped,
        refused=guard.refused,
        controls=guard.controls,
        failures=guard.failures,
        snapshot_version=snapshots.compiled.version,
        snapshot_age_seconds=snapshots.age_seconds,
        routes=routes or {},
    )
    if delivery is None:
        return status
    outbox, shipper = delivery.outbox, delivery.shipper
    return msgspec.structs.replace(
        status,
        mode="service",
        accepted=outbox.n_accepted,
        shipped=shipper.n_shipped,
        rejected=dict(shipper.rejected),
        in_memory=outbox.n_waiting + shipper.n_in_memory,
        segments=len(_segments.segment_names(outbox.directory)),
        parked=len(_segments.parked_names(outbox.directory)),
    )
