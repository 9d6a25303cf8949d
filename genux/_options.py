"""Where the SDK's settings come from: arguments, then `GENUX_*` variables, then defaults."""

import os
from hashlib import blake2b
from pathlib import Path

import msgspec

__all__ = ["Options", "nearest_folder", "resolve"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What arguments and environment came to.

    Attributes:
        url: address of the service; empty is local mode.
        api_key: names project and environment.
        config: path of a YAML file of experiments to assign from instead of the service's snapshot; empty for none.
        directory: outbox of this url and key; None in local mode.
        forced: experiment -> variant, from `GENUX_FORCE`.
        strict: raise out of measuring calls.
        problems: what in the environment made no sense and was left out, for the client to say.
    """

    url: str
    api_key: str
    config: str
    directory: Path | None
    forced: dict[str, str]
    strict: bool
    problems: tuple[str, ...]


def resolve(
    url: str | None,
    api_key: str | None,
    config: str | Path | None,
    directory: str | Path | None,
    *,
    strict: bool | None = None,
    has_transport: bool = False,
) -> Options:
    """Arguments first, then the environment.

    Args:
        url: None takes `GENUX_URL`.
        api_key: None takes `GENUX_API_KEY`.
        config: None takes `GENUX_CONFIG`.
        directory: None takes `GENUX_DIR`, else a folder below the user's state directory.
        strict: None takes `GENUX_DEBUG=1`.
        has_transport: the host brought its own way to the service, so a missing url is no local mode.
    """
    environment = os.environ
    url = (environment.get("GENUX_URL", "") if url is None else url).strip().rstrip("/")
    api_key = (environment.get("GENUX_API_KEY", "") if api_key is None else api_key).strip()
    base = environment.get("GENUX_DIR", "") if directory is None else directory
    forced, problems = _parse_forced(environment.get("GENUX_FORCE", ""))
    return Options(
        url=url,
        api_key=api_key,
        config=str(environment.get("GENUX_CONFIG", "") if config is None else config),
        directory=_outbox_directory(base, url, api_key) if url or has_transport else None,
        forced=forced,
        problems=problems,
        strict=environment.get("GENUX_DEBUG", "") == "1" if strict is None else strict,
    )


def _outbox_directory(base: str | Path, url: str, api_key: str) -> Path:
    """One folder per service and key: events recorded for one project never reach another."""
    scope = blake2b(f"{url}\0{api_key}".encode(), digest_size=8).hexdigest()
    # os.path and not pathlib: a home that is unknown or may not be looked into is no reason to raise.
    if base:
        return Path(os.path.expanduser(base)) / scope  # noqa: PTH111  as said above
    state = os.path.expanduser(os.environ.get("XDG_STATE_HOME") or "~/.local/state")  # noqa: PTH111  as said above
    if os.path.isabs(state) and os.access(nearest_folder(Path(state)), os.W_OK):  # noqa: PTH117  as said above
        return Path(state) / "genux" / scope
    return _temporary_base() / scope


def nearest_folder(path: Path) -> Path:
    """The path, or the closest of its parents that is there and may be seen."""
    return next((folder for folder in (path, *path.parents) if os.path.exists(folder)), Path("/"))  # noqa: PTH110  one that may not be looked into is not there


def _temporary_base() -> Path:
    """A folder of this user's own for when there is no home; another's folder of that name is not trusted."""
    import stat
    import tempfile

    base = Path(tempfile.gettempdir()) / f"genux-{os.getuid()}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        info = base.lstat()
        if stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid():
            return base
        return Path(tempfile.mkdtemp(prefix="genux-"))
    except OSError:
        return base


def _parse_forced(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    forced: dict[str, str] = {}
    problems: list[str] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        experiment, _, variant = (word.strip() for word in item.partition("="))
        if experiment and variant:
            forced[experiment] = variant
        else:
            problems.append(f"GENUX_FORCE: `{item}` is not experiment=variant; ignored")
    return forced, tuple(problems)
