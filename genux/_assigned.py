"""The answer to which variant a unit gets."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from genux.specs import Surface, VariantSpec
from genux.wire import Reason, SnapshotExperiment

__all__ = ["SCHEME", "Assigner", "Assignment", "answer"]

SCHEME = "genux-1"


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A unit's variant in one experiment, and why.

    Attributes:
        experiment: key of the experiment.
        variant: the arm; `control` when there is nothing better to say.
        reason: `ASSIGNED` and `FORCED` are what a person can be exposed to; all others are control or shipped.
        epoch: counts changes of shares, from 1.
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


Assigner = Callable[[str, Mapping[str, Any]], Assignment]


def answer(
    experiment: SnapshotExperiment, variant: VariantSpec, reason: Reason, epoch: int | None = None
) -> Assignment:
    """The assignment of one variant; of the current epoch unless another is given."""
    return Assignment(
        experiment=experiment.key,
        variant=variant,
        reason=reason,
        epoch=experiment.epoch if epoch is None else epoch,
        unit_kind=experiment.unit_kind,
        scheme=experiment.scheme,
    )
