"""Which variant a unit gets: a pure function of a snapshot, shared by the SDK, the service and the engine.

Scheme `genux-1`, frozen with `tests/conformance/assignment.json`:

    digest   = BLAKE2b(salt || 0x00 || unit_id, digest size 16 bytes, no key), texts in UTF-8
    coverage = first 8 bytes of digest, big-endian unsigned;  admitted when coverage < floor(share * 2^64)
    choice   = last 8 bytes of digest, big-endian unsigned;   variant i when cut[i-1] <= choice < cut[i]
    cut[i]   = floor((share[0] + ... + share[i]) * 2^64), summed from the left in IEEE doubles;
               2^64 from the last variant with a share above 0 on

The two halves are independent, so raising coverage admits new units and moves nobody.
"""

import copy
from bisect import bisect_right
from collections.abc import Callable, Mapping
from hashlib import blake2b
from struct import Struct
from typing import Any

import msgspec

from genux._targeting import compile_targeting
from genux.errors import SnapshotError
from genux.specs import Surface, TokenKey, VariantSpec
from genux.wire import Reason, Snapshot, SnapshotExperiment

__all__ = [
    "NO_ATTRIBUTES",
    "SCHEME",
    "Assignment",
    "CompiledSnapshot",
    "assign",
    "compile_experiment",
    "compile_snapshot",
    "control",
    "force",
]

SCHEME = "genux-1"
NO_ATTRIBUTES: Mapping[str, Any] = {}

_CONTROL = VariantSpec(key="control")
_SPACE = 2**64
_SHARE_TOLERANCE = 1e-9
_halves = Struct(">QQ").unpack

Assigner = Callable[[str, Mapping[str, Any]], "Assignment"]


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A unit's variant in one experiment, and why.

    Attributes:
        experiment: key of the experiment.
        variant: the arm; `control` when there is nothing better to say.
        reason: `ASSIGNED` and `FORCED` are what a person can be exposed to; all others are control or shipped.
        epoch: counts changes of shares or salt, from 1.
        unit_kind: what is randomised.
        scheme: name of the hashing scheme.
    """

    experiment: str
    variant: VariantSpec
    reason: Reason
    epoch: int = 1
    unit_kind: str = "user"
    scheme: str = SCHEME

    @property
    def key(self) -> str:
        """The variant's key."""
        return self.variant.key

    @property
    def surface(self) -> Surface:
        """How the variant offers the model: chat, action, inline or none."""
        return self.variant.surface

    @property
    def label(self) -> str:
        """The variant's name for people."""
        return self.variant.label

    @property
    def model(self) -> str:
        """The model that the variant asks for; empty when it leaves the choice to the host."""
        return self.variant.model

    @property
    def forced(self) -> bool:
        """Set by an override, and left out of the analysis."""
        return self.reason == "FORCED"

    def get(self, name: str, default: Any = None) -> Any:
        """A value of the variant: from its payload, else its model, prompt, prompt_version or label when not empty.

        Lists and objects are copies: changing one changes nobody else's variant.
        """
        value = self.variant.payload.get(name)
        if value is None and name in {"model", "prompt", "prompt_version", "label"}:
            value = getattr(self.variant, name) or None
        if value is None:
            return default
        return copy.deepcopy(value) if isinstance(value, dict | list) else value


class CompiledSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot ready to assign from.

    Attributes:
        version: the snapshot's version; empty when there is none.
        assigners: one function per experiment.
        experiments: the experiments as configured.
        problems: experiment key -> why it has no function and answers control, `ERROR`.
        token_keys: sign resume tokens, newest first.
    """

    version: str = ""
    assigners: dict[str, Assigner] = msgspec.field(default_factory=dict)
    experiments: dict[str, SnapshotExperiment] = msgspec.field(default_factory=dict)
    problems: dict[str, str] = msgspec.field(default_factory=dict)
    token_keys: tuple[TokenKey, ...] = ()


def compile_snapshot(snapshot: Snapshot) -> CompiledSnapshot:
    """Compile every experiment; one that is broken lands in `problems` and spoils no other."""
    compiled = CompiledSnapshot(version=snapshot.version, token_keys=tuple(snapshot.token_keys))
    for index, experiment in enumerate(snapshot.experiments):
        key = experiment.key
        compiled.experiments[key] = experiment
        try:
            compiled.assigners[key] = compile_experiment(experiment, f"experiments[{index}]")
        except SnapshotError as error:
            compiled.problems[key] = str(error)
    return compiled


def assign(compiled: CompiledSnapshot, key: str, unit_id: str, attributes: Mapping[str, Any]) -> Assignment:
    """The unit's variant in the experiment `key`. Pure and total: never raises, whatever the attributes hold.

    Args:
        compiled: from `compile_snapshot`.
        key: the experiment's key.
        unit_id: what is randomised.
        attributes: what targeting looks at; JSON values.

    Returns:
        An assignment; `UNKNOWN_EXPERIMENT` or `NO_SNAPSHOT` with a control when there is nothing to assign from.
    """
    assigner = compiled.assigners.get(key)
    if assigner is None:
        return control(compiled, key, "ERROR")
    try:
        return assigner(unit_id, attributes)
    except Exception:  # noqa: BLE001 total by contract: a hostile attribute (say, one whose __eq__ raises) is an ERROR
        return control(compiled, key, "ERROR")


def control(compiled: CompiledSnapshot, key: str, reason: Reason) -> Assignment:
    """The control of the experiment `key`, for the given reason.

    An experiment that is not in the snapshot answers a bare control called `control`, and says so instead of the
    reason asked for.
    """
    experiment = compiled.experiments.get(key)
    if experiment is None:
        missing: Reason = "UNKNOWN_EXPERIMENT" if compiled.version else "NO_SNAPSHOT"
        return Assignment(experiment=key, variant=_CONTROL, reason=missing)
    variant = next((variant for variant in experiment.variants if variant.key == experiment.control), _CONTROL)
    return _answer(experiment, variant, reason)


def force(compiled: CompiledSnapshot, key: str, variant_key: str) -> Assignment | None:
    """The forced variant of an experiment, None when the experiment has no such variant.

    An experiment that the snapshot does not know gives a bare variant, so that tests run without a service.
    """
    experiment = compiled.experiments.get(key)
    if experiment is None:
        return Assignment(experiment=key, variant=VariantSpec(key=variant_key), reason="FORCED")
    for variant in experiment.variants:
        if variant.key == variant_key:
            return _answer(experiment, variant, "FORCED")
    return None


def compile_experiment(experiment: SnapshotExperiment, path: str = "experiment") -> Assigner:
    """Check one experiment and turn it into a function of (unit_id, attributes).

    Args:
        experiment: as configured.
        path: where it stands, for messages.

    Raises:
        SnapshotError: it contradicts itself; the message names the place.
    """
    variants = _checked_variants(experiment, path)
    fallback = variants[experiment.control]
    matches = compile_targeting(experiment.targeting, f"{path}.targeting")
    forced = {
        unit_id: _answer(experiment, _named(variants, key, f"{path}.forced_units.{unit_id}"), "FORCED")
        for unit_id, key in experiment.forced_units.items()
    }
    if experiment.status == "shipped":
        shipped = _answer(experiment, _named(variants, experiment.shipped, f"{path}.shipped"), "SHIPPED")
        return lambda _unit_id, _attributes: shipped
    if experiment.status != "running":
        stopped = _answer(experiment, fallback, "STOPPED")
        return lambda _unit_id, _attributes: stopped

    start = blake2b(experiment.salt.encode() + b"\0", digest_size=16).copy
    coverage_cut = int(experiment.coverage * _SPACE)
    cuts = _cuts(experiment.allocation)
    assigned = [_answer(experiment, variant, "ASSIGNED") for variant in experiment.variants]
    not_targeted = _answer(experiment, fallback, "NOT_TARGETED")
    not_covered = _answer(experiment, fallback, "NOT_IN_COVERAGE")

    def assigner(unit_id: str, attributes: Mapping[str, Any]) -> Assignment:
        if forced and unit_id in forced:
            return forced[unit_id]
        if matches is not None and not matches(attributes):
            return not_targeted
        digest = start()
        digest.update(unit_id.encode())
        coverage, choice = _halves(digest.digest())
        if coverage >= coverage_cut:
            return not_covered
        return assigned[bisect_right(cuts, choice)]

    return assigner


def _checked_variants(experiment: SnapshotExperiment, path: str) -> dict[str, VariantSpec]:
    variants = {variant.key: variant for variant in experiment.variants}
    if experiment.scheme != SCHEME:
        raise SnapshotError(f"{path}.scheme: this version of genux does not know `{experiment.scheme}`")
    if len(variants) != len(experiment.variants):
        raise SnapshotError(f"{path}.variants: two variants have the same key")
    if len(experiment.allocation) != len(variants):
        raise SnapshotError(f"{path}.allocation: {len(experiment.allocation)} shares for {len(variants)} variants")
    total = sum(experiment.allocation)
    if abs(total - 1) > _SHARE_TOLERANCE:
        raise SnapshotError(f"{path}.allocation: the shares sum to {total:g}, not 1")
    _named(variants, experiment.control, f"{path}.control")
    return variants


def _named(variants: dict[str, VariantSpec], key: str, path: str) -> VariantSpec:
    if key not in variants:
        raise SnapshotError(f"{path}: no variant `{key}`; there are {', '.join(sorted(variants))}")
    return variants[key]


def _answer(experiment: SnapshotExperiment, variant: VariantSpec, reason: Reason) -> Assignment:
    return Assignment(
        experiment=experiment.key,
        variant=variant,
        reason=reason,
        epoch=experiment.epoch,
        unit_kind=experiment.unit_kind,
        scheme=experiment.scheme,
    )


def _cuts(allocation: list[float]) -> list[int]:
    """Upper ends of the variants' ranges. Doubles times a power of two are exact, so any language gets the same."""
    last = max(index for index, share in enumerate(allocation) if share > 0)
    cuts: list[int] = []
    total = 0.0
    for index, share in enumerate(allocation):
        total += share
        cuts.append(_SPACE if index >= last else int(total * _SPACE))
    return cuts
