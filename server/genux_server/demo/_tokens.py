"""Tokens of the local model: pieces of text that put together are the text."""

import re

__all__ = ["pieces_of"]

_PIECE = re.compile(r"\s*(?:[^\W\d_]{1,7}|\d{1,3}|[^\w\s]|_)|\s+")


def pieces_of(text: str) -> list[str]:
    """Splits a text into pieces of at most seven letters, three digits or one sign, with the white space before them.

    About as many as a byte-pair encoder makes of English; `"".join(pieces_of(text)) == text`.
    """
    return _PIECE.findall(text)
