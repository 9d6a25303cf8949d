"""A project's own prices: self-hosted models, negotiated rates, models that the public list lacks."""

import datetime as dt
import functools
import hashlib
import re
from pathlib import Path
from typing import Any, Self

import msgspec
import yaml

from genux.errors import ConfigError
from genux.specs import PriceRule

__all__ = ["PriceRule", "PriceTable"]


class PriceTable:
    """Rules in order of writing. Of those that match, the one with the latest `since` holds, then the last written.

    Args:
        rules: the rules.
        source: what messages call it.

    Raises:
        ConfigError: a regular expression is malformed, a rate is negative, or a rule states no rate.
    """

    def __init__(self, rules: list[PriceRule], source: str = "price table") -> None:
        self._rules = [
            (_compiled(f"{source}: prices[{index}] ({rule.model})", rule), rule) for index, rule in enumerate(rules)
        ]
        digest = hashlib.sha256(msgspec.json.encode(rules)).hexdigest()[:12]
        self.version = f"table {digest}"
        self._find = functools.lru_cache(maxsize=1024)(self._search)

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Reads `{"prices": [rule, ...]}` as decoded from YAML or JSON.

        Raises:
            ConfigError: the document has another form; the message holds the path inside it.
        """
        try:
            return cls(msgspec.convert(document, _Document, strict=False).prices)
        except msgspec.ValidationError as error:
            raise ConfigError(f"price table: {error}") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a YAML or JSON file.

        Raises:
            ConfigError: the file cannot be read or has another form.
        """
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: {error}") from error
        return cls.parse(document)

    def rule_for(self, provider: str, model: str, day: dt.date) -> PriceRule | None:
        """The rule that holds for a model on a day, if any."""
        return self._find(provider, model, day)

    def _search(self, provider: str, model: str, day: dt.date) -> PriceRule | None:
        best: PriceRule | None = None
        for pattern, rule in self._rules:
            if rule.since > day or rule.provider not in ("", provider) or pattern.fullmatch(model) is None:
                continue
            if best is None or rule.since >= best.since:
                best = rule
        return best


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    prices: list[PriceRule]


def _compiled(place: str, rule: PriceRule) -> re.Pattern[str]:
    rates = [getattr(rule, name) for name in PriceRule.__struct_fields__ if "usd" in name]
    if not any(rate is not None for rate in rates):
        raise ConfigError(f"{place} states no rate")
    rates += rule.tier_multipliers.values()
    if any(rate is not None and (not rate.is_finite() or rate < 0) for rate in rates):
        raise ConfigError(f"{place} has a rate that is not a finite number from 0 up")
    try:
        return re.compile(rule.model, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, Warning) as error:  # a warning, where those are errors
        raise ConfigError(f"{place}: not a regular expression: {error}") from error
