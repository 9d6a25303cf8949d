"""Structured output: fills a JSON schema with sentences."""

from typing import Any

__all__ = ["filled"]

_LIST_LENGTH = 3


def filled(schema: dict[str, Any], sentences: list[str]) -> Any:
    """A value of a JSON schema whose strings are the sentences, in turn.

    Knows `object`, `array`, `string`, `integer`, `number`, `boolean`, `null`, `enum`, `const`, `anyOf` and `$ref` into
    `$defs`: what structured outputs allow. Numbers count the sentences.
    """
    return _Filler(schema, sentences).value(schema)


class _Filler:
    def __init__(self, root: dict[str, Any], sentences: list[str]) -> None:
        self._root = root
        self._left = list(sentences)
        self._count = len(sentences)

    def value(self, schema: dict[str, Any]) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            return {name: self.value(part) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            return [self.value(schema.get("items", {})) for _ in range(min(_LIST_LENGTH, max(len(self._left), 1)))]
        return (
            {"integer": self._count, "number": float(self._count), "boolean": self._count > 0, "null": None}.get(
                str(kind), self._sentence()
            )
            if kind != "string"
            else self._sentence()
        )

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while True:
            if "$ref" in schema:
                schema = self._root["$defs"][schema["$ref"].rpartition("/")[2]]
            elif "anyOf" in schema:
                schema = schema["anyOf"][0]
            else:
                return schema

    def _sentence(self) -> str:
        return self._left.pop(0) if self._left else ""
