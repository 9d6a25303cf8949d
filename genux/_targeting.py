"""Targeting rules, compiled once per snapshot into closures over frozensets and compiled patterns.

A rule is an OR of ANDs of conditions. Every closure is total: any JSON value as attribute gives True or False.
Values are compared as JSON: true is not 1, and text never equals a number. Null counts as missing.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from genux.errors import SnapshotError
from genux.specs import Condition

__all__ = ["Matcher", "compile_targeting"]

Matcher = Callable[[Mapping[str, Any]], bool]
Test = Callable[[Any], bool]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
}
_NEGATED = {"ne": "eq", "not_in": "in", "not_exists": "exists"}


def compile_targeting(rules: list[list[Condition]], path: str) -> Matcher | None:
    """Turn an OR of ANDs into one function of the unit's attributes; None when there is no rule.

    Args:
        rules: groups of conditions; a unit matches when every condition of one group holds.
        path: where the rules stand, for messages, such as `experiments[0].targeting`.

    Raises:
        SnapshotError: a condition's value does not fit its operator; the message names the place.
    """
    if not rules:
        return None
    groups = [
        _conjunction([_condition(condition, f"{path}[{i}][{j}]") for j, condition in enumerate(group)])
        for i, group in enumerate(rules)
    ]
    if len(groups) == 1:
        return groups[0]

    def matches(attributes: Mapping[str, Any]) -> bool:
        return any(group(attributes) for group in groups)

    return matches


def _conjunction(conditions: list[Matcher]) -> Matcher:
    """All of the conditions; a single one is returned as it is, which saves the loop on the usual rule."""
    if len(conditions) == 1:
        return conditions[0]

    def matches(attributes: Mapping[str, Any]) -> bool:
        return all(condition(attributes) for condition in conditions)

    return matches


def _condition(condition: Condition, path: str) -> Matcher:
    attribute = condition.attribute
    negated = condition.op in _NEGATED
    op = _NEGATED.get(condition.op, condition.op)
    if op == "exists":

        def exists(attributes: Mapping[str, Any]) -> bool:
            return (attributes.get(attribute) is not None) is not negated

        return exists
    if condition.op in {"eq", "in"} and (texts := _texts(op, condition.value)) is not None:
        return _is_one_of(attribute, texts)
    test = _test(op, condition.value, f"{path}.value")

    def matches(attributes: Mapping[str, Any]) -> bool:
        value = attributes.get(attribute)
        return (value is not None and test(value)) is not negated

    return matches


def _texts(op: str, expected: Any) -> frozenset[str] | None:
    """The texts that `eq` or `in` accepts, None when something else than text is among them."""
    items = [expected] if op == "eq" else expected
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return frozenset(items)
    return None


def _is_one_of(attribute: str, texts: frozenset[str]) -> Matcher:
    """The usual rule in one closure: a second call per assignment would cost a tenth of it."""

    def matches(attributes: Mapping[str, Any]) -> bool:
        try:
            return attributes.get(attribute) in texts
        except TypeError:  # a list or an object is not hashable, and no text
            return False

    return matches


def _test(op: str, expected: Any, path: str) -> Test:  # noqa: PLR0911 one return per operator is the table itself
    if op == "eq":
        return lambda value: _same(value, expected)
    if op == "in":
        return _membership(expected, path)
    if op in _ORDER:
        return _ordering(op, expected, path)
    if op == "contains":
        return lambda value: _contains(value, expected)
    if not isinstance(expected, str):
        raise SnapshotError(f"{path}: `{op}` needs text, got {expected!r}")
    if op == "starts_with":
        return lambda value: isinstance(value, str) and value.startswith(expected)
    if op == "ends_with":
        return lambda value: isinstance(value, str) and value.endswith(expected)
    if op == "matches":
        try:
            search = re.compile(expected).search
        except (re.error, OverflowError, RecursionError, Warning) as error:  # a warning, where those are errors
            raise SnapshotError(f"{path}: not a regular expression: {error}") from None
        return lambda value: isinstance(value, str) and search(value) is not None
    raise SnapshotError(f"{path}: unknown operator `{op}`")


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: Python's own, except that booleans are no numbers, however deep inside."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(value, right[name]) for name, value in left.items())
    return bool(left == right)


def _membership(expected: Any, path: str) -> Test:
    if not isinstance(expected, list):
        raise SnapshotError(f"{path}: `in` needs a list, got {expected!r}")
    return lambda value: any(_same(value, item) for item in expected)


def _contains(value: Any, expected: Any) -> bool:
    if isinstance(value, str):
        return isinstance(expected, str) and expected in value
    return isinstance(value, list | tuple) and any(_same(item, expected) for item in value)


def _ordering(op: str, expected: Any, path: str) -> Test:
    compare = _ORDER[op]
    if isinstance(expected, str):
        return lambda value: isinstance(value, str) and compare(value, expected)
    if isinstance(expected, bool) or not isinstance(expected, int | float):
        raise SnapshotError(f"{path}: `{op}` needs a number or text, got {expected!r}")
    return lambda value: not isinstance(value, bool) and isinstance(value, int | float) and compare(value, expected)
