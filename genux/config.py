"""Reads what people configure as YAML, and turns an experiment into what the SDK evaluates.

The SDK in local mode and the service both go through these functions, so that one file means the same everywhere.
"""

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from genux.assignment import SCHEME, compile_experiment
from genux.errors import ConfigError, SnapshotError
from genux.specs import ConfigFile, ExperimentSpec
from genux.wire import Snapshot, SnapshotExperiment

__all__ = ["load_config", "parse_config", "snapshot_experiment", "snapshot_from_config"]


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
    try:
        snapshot_from_config(config)
    except SnapshotError as error:
        raise ConfigError(f"{source}: {error}") from None
    return config


def snapshot_from_config(config: ConfigFile) -> Snapshot:
    """The snapshot of a local file: every experiment runs, epoch 1, its key as salt.

    Raises:
        SnapshotError: an experiment contradicts itself; the message names the place.
    """
    experiments = [
        snapshot_experiment(spec, salt=spec.key, path=f"experiments[{index}]")
        for index, spec in enumerate(config.experiments)
    ]
    digest = blake2b(msgspec.json.encode(experiments, order="sorted"), digest_size=8).hexdigest()
    return Snapshot(version=f"local-{digest}", experiments=experiments)


def snapshot_experiment(
    spec: ExperimentSpec,
    *,
    salt: str,
    epoch: int = 1,
    status: Literal["running", "paused", "stopped", "shipped"] = "running",
    coverage: float | None = None,
    allocation: Mapping[str, float] | None = None,
    shipped: str = "",
    path: str = "experiment",
) -> SnapshotExperiment:
    """What the SDK needs to know of an experiment, checked.

    Args:
        spec: as a person wrote it.
        salt: seeds the hash; the same salt gives the same variants.
        epoch: counts changes of shares or salt, from 1.
        status: where the experiment stands.
        coverage: share of eligible units admitted, 0 to 1; the spec's when None.
        allocation: shares per variant key, sum 1; the spec's when None, equal when that is empty too.
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
        scheme=SCHEME,
        unit_kind=spec.unit_kind,
        control=spec.control or keys[0],
        variants=list(spec.variants),
        allocation=[float(shares.get(key, 0.0)) for key in keys] if shares else [1 / len(keys)] * len(keys),
        coverage=spec.coverage if coverage is None else coverage,
        targeting=spec.targeting,
        forced_units=spec.forced_units,
        shipped=shipped,
    )
    compile_experiment(experiment, path)
    return experiment
