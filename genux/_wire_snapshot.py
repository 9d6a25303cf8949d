"""The snapshot, the way from the service to the SDK: public as part of `genux.wire`."""

from typing import Annotated, Literal

import msgspec

from genux.specs import Condition, Name, Prerequisite, PriceRule, Share, TokenKey, VariantSpec

__all__ = ["Band", "Holdout", "Layer", "Snapshot", "SnapshotExperiment"]

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier epoch of an experiment: the units admitted up to `coverage` keep its shares and its number."""

    epoch: Count
    coverage: Share
    allocation: list[Share]


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A way to divide units between experiments that must not meet."""

    key: Name
    salt: Name
    scheme: Name = "genux-1"


class Holdout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A share of the units of one kind that gets control in `experiments`, or in all when that is empty."""

    key: Name
    salt: Name
    share: Share
    unit_kind: Name = "user"
    experiments: list[str] = msgspec.field(default_factory=list)


class SnapshotExperiment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the SDK needs to know of one experiment to assign a unit.

    `allocation` holds one share per variant, in the variants' order, sum 1. `bands` are the earlier epochs, oldest
    first; `epoch`, `allocation` and `coverage` hold for the units that none of them admitted. `targeting` is an OR of
    ANDs; empty admits everyone. `layer` and `layer_ranges` say which part of which layer takes part; an empty `layer`
    is everyone. `shipped` names the variant that everyone gets once the experiment was decided.
    """

    key: Name
    status: Literal["running", "paused", "stopped", "shipped"] = "running"
    epoch: Count = 1
    salt: Name
    scheme: Name = "genux-1"
    unit_kind: Name = "user"
    control: Name
    variants: list[VariantSpec]
    allocation: list[Share]
    coverage: Share = 1.0
    bands: list[Band] = msgspec.field(default_factory=list)
    targeting: list[list[Condition]] = msgspec.field(default_factory=list)
    forced_units: dict[str, str] = msgspec.field(default_factory=dict)
    layer: str = ""
    layer_ranges: list[tuple[Share, Share]] = msgspec.field(default_factory=list)
    prerequisites: list[Prerequisite] = msgspec.field(default_factory=list)
    shipped: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The versioned configuration that the SDK evaluates. `version` is opaque and equal only if the content is.

    `exclusions` is an OR of ANDs; a unit that matches takes part in no experiment. `token_keys` sign resume tokens,
    newest first, and `prices` is the project's own price table; only server keys are handed the two.
    `keeps_text` says that the project keeps the text of prompts and answers, if a host sends it.
    """

    version: str
    project: str = ""
    environment: str = ""
    layers: list[Layer] = msgspec.field(default_factory=list)
    holdouts: list[Holdout] = msgspec.field(default_factory=list)
    exclusions: list[list[Condition]] = msgspec.field(default_factory=list)
    experiments: list[SnapshotExperiment] = msgspec.field(default_factory=list)
    token_keys: list[TokenKey] = msgspec.field(default_factory=list)
    prices: list[PriceRule] = msgspec.field(default_factory=list)
    keeps_text: bool = False
