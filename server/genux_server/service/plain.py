"""Structs as plain JSON types, every field written out."""

from typing import Any

import msgspec

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """The value with structs as objects that name every field.

    msgspec leaves out a field whose value *is* its default, not one that equals it, so the same content can encode in
    two ways: no base for a digest, and a riddle for readers of JSON who do not know the defaults.
    """
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
