"""What is wrong with an outbox, seen from outside: nothing in it is locked, moved or changed."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from genux._finding import Finding, counts_text, span_text
from genux._options import nearest_folder
from genux._segments import PARKED, parked_names, reason_parked, segment_names, untold_losses, used_bytes

__all__ = ["check_outbox", "check_stranded"]

_LITTLE_ROOM_BYTES = 16 * 2**20
_EPHEMERAL = {"tmpfs": "in memory", "ramfs": "in memory", "overlay": "in the container's own layer"}
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs"})
_OLD_BATCH_SECONDS = 300.0


def check_outbox(directory: Path) -> Iterator[Finding]:
    """Its folder, what waits in it, what was given up, what the service refused."""
    nearest = nearest_folder(directory)
    if not os.access(nearest, os.W_OK):
        advice = "set GENUX_DIR to a folder that this user may write to"
        message = f"{directory} cannot be written: events are kept in memory only"
        yield Finding(code="outbox_unwritable", status="problem", message=message, advice=advice)
    elif shutil.disk_usage(nearest).free < _LITTLE_ROOM_BYTES:
        advice = "make room, or set GENUX_DIR to a folder on another disk; while it is full events are kept in memory"
        message = f"the disk of {directory} is full, or nearly"
        yield Finding(code="disk_full", status="warning", message=message, advice=advice)
    filesystem = _filesystem(nearest)
    if filesystem in _NETWORK:
        advice = "set GENUX_DIR to a folder on a disk of this machine: the outbox relies on its locks and appends"
        message = f"{directory} is on a network file system ({filesystem})"
        yield Finding(code="outbox_network", status="warning", message=message, advice=advice)
    kind = _EPHEMERAL.get(filesystem, "")
    if not kind and nearest.is_relative_to(tempfile.gettempdir()):
        kind = "in the folder for temporary files"
    if kind:
        advice = "set GENUX_DIR to a folder on a disk that outlives this machine's or container's restart"
        message = f"{directory} is {kind}: a restart may lose what was not yet sent"
        yield Finding(code="outbox_ephemeral", status="warning", message=message, advice=advice)
    waiting = segment_names(directory)
    age_seconds = max(0.0, time.time() - _made_at(waiting[0])) if waiting else 0.0
    stuck = age_seconds > _OLD_BATCH_SECONDS
    message = f"{directory}: {_depth(directory, waiting)}"
    if waiting:
        message += f", the oldest {span_text(age_seconds)} old"
    advice = "nothing has been sent since then; see above, or start an app that ships this outbox" if stuck else ""
    yield Finding(code="outbox", status="warning" if stuck else "ok", message=message, advice=advice)
    if untold := untold_losses(directory):
        advice = "the service is told with the next batches that arrive; the log of genux said what each was, once"
        message = f"events given up, the service not told yet: {counts_text(untold)}"
        yield Finding(code="losses", status="problem", message=message, advice=advice)
    if parked := parked_names(directory):
        message = f"{_batches(len(parked))} that the service refused for good in {directory / PARKED}"
        if said := reason_parked(directory, parked[-1]):
            message += f"; to the last it said: {said}"
        advice = "upgrade service or SDK, then move them back one folder; or delete them"
        yield Finding(code="parked", status="problem", message=message, advice=advice)


def check_stranded(directory: Path) -> Iterator[Finding]:
    """Outboxes of other urls and keys beside this one: a key that was rotated leaves its last events in one."""
    with contextlib.suppress(OSError):
        for other in sorted(directory.parent.iterdir()):
            waiting = segment_names(other)
            if other == directory or not waiting:
                continue
            age_seconds = max(0.0, time.time() - _made_at(waiting[0]))
            message = (
                f"{other}: {_depth(other, waiting)}, the oldest {span_text(age_seconds)} old, "
                "recorded under another url or key; they wait for an app that uses those"
            )
            advice = (
                "was the key rotated? Run an app once with the old one while the service takes it; or, when both keys "
                f"are of the same project and environment, stop the apps that use the old one and move {other}/*.jsonl "
                f"to {directory}"
            )
            yield Finding(code="other_outbox", status="warning", message=message, advice=advice)


def _depth(directory: Path, waiting: list[str]) -> str:
    return f"{_batches(len(waiting))} waiting, {used_bytes(directory) / 1_024:,.0f} KiB of disk"


def _batches(n_batches: int) -> str:
    return "1 batch" if n_batches == 1 else f"{n_batches:,} batches"


def _made_at(name: str) -> float:
    """Unix time in a segment's UUIDv7 name, in seconds; now when the name is no such thing."""
    try:
        return int(name[:8] + name[9:13], 16) / 1_000
    except ValueError:
        return time.time()


def _filesystem(folder: Path) -> str:
    """Type of the file system that a folder is on; empty where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    best, found = -1, ""
    resolved = folder.resolve()
    for line in lines:
        mount, _, rest = line.partition(" - ")
        point = Path(mount.split(" ")[4].replace("\\040", " "))
        if len(point.parts) >= best and resolved.is_relative_to(point):
            best, found = len(point.parts), rest.split(" ")[0]
    return found
