"""Reads what people configure as YAML, and turns an experiment into what the SDK evaluates.

The SDK in local mode and the service both go through these functions, so that one file means the same everywhere.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from genux._compile import NO_PATHS, Compiler
from genux._targeting import compile_targeting
from genux.errors import ConfigError, SnapshotError
from genux.specs import AssignmentRules, ConfigFile, ExperimentSpec
from genux.wire import Band, Holdout, Layer, Snapshot, SnapshotExperiment

__all__ = [
    "check_snapshot",
    "in_order",
    "load_config",
    "parse_config",
    "snapshot_experiment",
    "snapshot_from_config",
    "snapshot_rules",
]


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: `no` is the country Norway, and a key written twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 PyYAML's own signature
        """A mapping whose keys differ."""
        seen: set[Any] = set()
        for key_node, _value in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text; put it in quotes", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key}` stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_BOOLEANS = frozenset("yYnNoO")
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not (tag == "tag:yaml.org,2002:bool" and first in _BOOLEANS) and tag != "tag:yaml.org,2002:timestamp"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_config(path: str | Path) -> ConfigFile:
    """Read a YAML file of experiments and metrics.

    Raises:
        ConfigError: it cannot be read, is not YAML, or does not fit; the message names the file and the place in it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_config(text, str(path))


def parse_config(text: str, source: str = "config") -> ConfigFile:
    """Parse a YAML text of experiments and metrics, and check that its experiments can be assigned from.

    Args:
        text: YAML (JSON is YAML too).
        source: what messages call it.

    Raises:
        ConfigError: it is not YAML or does not fit; the message names the place.
    """
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {error}") from None
    try:
        config = msgspec.convert({} if data is None else data, ConfigFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from None
    for kind, keys in (
        ("experiments", [experiment.key for experiment in config.experiments]),
        ("metrics", [metric.key for metric in config.metrics]),
    ):
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise ConfigError(f"{source}: {kind}[{index}].key: `{key}` stands twice")
    if config.prices:
        from genux.llm import PriceTable

        PriceTable(config.prices, source)
    try:
        snapshot_from_config(config)
    except SnapshotError as error:
        raise ConfigError(f"{source}: {error}") from None
    return config


def snapshot_from_config(config: ConfigFile) -> Snapshot:
    """The snapshot of a local file: every experiment runs, epoch 1, its key as salt unless it names one.

    Raises:
        SnapshotError: an experiment contradicts itself or another; the message names the place.
    """
    experiments = [
        snapshot_experiment(spec, salt=spec.salt or spec.key, path=f"experiments[{index}]")
        for index, spec in enumerate(config.experiments)
    ]
    layers, holdouts = snapshot_rules(config)
    content = [experiments, layers, holdouts, config.exclusions, config.prices]
    snapshot = Snapshot(
        version=f"local-{blake2b(msgspec.json.encode(content, order='sorted'), digest_size=8).hexdigest()}",
        layers=layers,
        holdouts=holdouts,
        exclusions=config.exclusions,
        experiments=experiments,
        prices=config.prices,
    )
    check_snapshot(snapshot)
    return snapshot


def snapshot_rules(rules: AssignmentRules) -> tuple[list[Layer], list[Holdout]]:
    """What the SDK needs to know of layers and holdouts: their salts written out."""
    layers = [Layer(key=layer.key, salt=layer.salt or layer.key, scheme=layer.scheme) for layer in rules.layers]
    holdouts = [
        Holdout(
            key=holdout.key,
            salt=holdout.salt or holdout.key,
            share=holdout.share,
            unit_kind=holdout.unit_kind,
            experiments=holdout.experiments,
        )
        for holdout in rules.holdouts
    ]
    return layers, holdouts


def in_order(experiments: Sequence[ExperimentSpec]) -> list[ExperimentSpec]:
    """The experiments of a checked file, each after its prerequisites, else as they stand: so they can be started."""
    waiting = {spec.key: spec for spec in experiments}
    ordered: list[ExperimentSpec] = []

    def take(key: str) -> None:
        spec = waiting.pop(key, None)
        if spec is not None:
            for prerequisite in spec.prerequisites:
                take(prerequisite.experiment)
            ordered.append(spec)

    for experiment in experiments:
        take(experiment.key)
    return ordered


def check_snapshot(snapshot: Snapshot, paths: Mapping[str, str] = NO_PATHS) -> None:
    """Check that the experiments agree with each other, with the layers and with the holdouts.

    Args:
        snapshot: everything that is served together.
        paths: experiment key -> where it stands, for messages; `experiments[0]` and so on for those not in it.

    Raises:
        SnapshotError: the first contradiction; the message names the place.
    """
    by_key = {experiment.key: experiment for experiment in snapshot.experiments}
    for name, keys in (
        ("layers", [layer.key for layer in snapshot.layers]),
        ("holdouts", [holdout.key for holdout in snapshot.holdouts]),
    ):
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise SnapshotError(f"{name}[{index}].key: `{key}` stands twice")
    compile_targeting(snapshot.exclusions, "exclusions")
    for index, holdout in enumerate(snapshot.holdouts):
        for number, key in enumerate(holdout.experiments):
            place = f"holdouts[{index}].experiments[{number}]"
            if key not in by_key:
                raise SnapshotError(f"{place}: there is no experiment `{key}`")
            if by_key[key].unit_kind != holdout.unit_kind:
                raise SnapshotError(f"{place}: `{key}` assigns a {by_key[key].unit_kind}, not a {holdout.unit_kind}")
    compiler = Compiler(snapshot, paths)
    for key in by_key:
        compiler.compile(key)
    _check_layers(snapshot, paths)


def _check_layers(snapshot: Snapshot, paths: Mapping[str, str]) -> None:
    """No part of a layer goes to two experiments; those that ended have given theirs back."""
    taken: dict[str, list[tuple[float, float, SnapshotExperiment]]] = {}
    for index, experiment in enumerate(snapshot.experiments):
        if not experiment.layer or experiment.status not in {"running", "paused"}:
            continue
        path = paths.get(experiment.key, f"experiments[{index}]")
        others = taken.setdefault(experiment.layer, [])
        for number, (start, end) in enumerate(experiment.layer_ranges):
            for low, high, other in others:
                if other.unit_kind != experiment.unit_kind:
                    raise SnapshotError(
                        f"{path}.layer: `{other.key}` divides the layer `{experiment.layer}` by {other.unit_kind}, "
                        f"this one by {experiment.unit_kind}"
                    )
                if start < high and low < end:
                    raise SnapshotError(
                        f"{path}.layer.ranges[{number}]: {start:g} to {end:g} of the layer `{experiment.layer}` "
                        f"overlaps with {low:g} to {high:g}, which `{other.key}` takes"
                    )
            others.append((start, end, experiment))


def snapshot_experiment(  # noqa: PLR0913 what the store keeps beside the spec, by name
    spec: ExperimentSpec,
    *,
    salt: str,
    epoch: int = 1,
    status: Literal["running", "paused", "stopped", "shipped"] = "running",
    coverage: float | None = None,
    allocation: Mapping[str, float] | None = None,
    bands: Sequence[Band] = (),
    shipped: str = "",
    path: str = "experiment",
) -> SnapshotExperiment:
    """What the SDK needs to know of an experiment, checked by itself; `check_snapshot` checks it beside the others.

    Args:
        spec: as a person wrote it.
        salt: seeds the hash; the same salt gives the same variants.
        epoch: counts changes of shares, from 1.
        status: where the experiment stands.
        coverage: share of eligible units admitted, 0 to 1; the spec's when None.
        allocation: shares per variant key, sum 1; the spec's when None, equal when that is empty too.
        bands: earlier epochs, oldest first.
        shipped: the variant that everyone gets, with status `shipped`.
        path: where the spec stands, for messages.

    Raises:
        SnapshotError: the spec contradicts itself; the message names the place.
    """
    keys = [variant.key for variant in spec.variants]
    shares = spec.allocation if allocation is None else allocation
    for name in shares:
        if name not in keys:
            raise SnapshotError(f"{path}.allocation.{name}: no variant `{name}`; there are {', '.join(keys)}")
    experiment = SnapshotExperiment(
        key=spec.key,
        status=status,
        epoch=epoch,
        salt=salt,
        scheme=spec.scheme,
        unit_kind=spec.unit_kind,
        control=spec.control or keys[0],
        variants=list(spec.variants),
        allocation=[float(shares.get(key, 0.0)) for key in keys] if shares else [1 / len(keys)] * len(keys),
        coverage=spec.coverage if coverage is None else coverage,
        bands=list(bands),
        targeting=spec.targeting,
        forced_units=spec.forced_units,
        layer=spec.layer.key if spec.layer is not None else "",
        layer_ranges=spec.layer.ranges if spec.layer is not None else [],
        prerequisites=spec.prerequisites,
        shipped=shipped,
    )
    alone = msgspec.structs.replace(experiment, layer="", layer_ranges=[], prerequisites=[])
    Compiler(Snapshot(version="", experiments=[alone]), {spec.key: path}).compile(spec.key)
    return experiment
