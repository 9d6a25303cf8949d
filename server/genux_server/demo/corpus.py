"""Real long articles to read in the demonstration: the language reference that ships with Python."""

import dataclasses
import functools
import pydoc_data.topics
import re

__all__ = ["Article", "articles"]

_MIN_PROSE_CHARACTERS = 2_500
_UNDERLINE = re.compile(r"^([*=\-~^\"])\1{2,}$")


@dataclasses.dataclass(frozen=True, slots=True)
class Article:
    """An article. `text` is paragraphs of plain text with a blank line between them, headings and code left out."""

    title: str
    text: str


@functools.cache
def articles() -> list[Article]:
    """All topics long enough to be worth a summary, longest first. Which ones depends on the version of Python."""
    found = [_article(source) for source in pydoc_data.topics.topics.values()]
    long = [article for article in found if len(article.text) >= _MIN_PROSE_CHARACTERS]
    unique = {article.title: article for article in sorted(long, key=lambda article: len(article.text))}
    return sorted(unique.values(), key=lambda article: (-len(article.text), article.title))


def _article(source: str) -> Article:
    lines = source.expandtabs().splitlines()
    headings = {
        number
        for number in range(len(lines) - 1)
        if _UNDERLINE.match(lines[number + 1].strip()) and len(lines[number + 1].strip()) >= len(lines[number].strip())
    }
    title = next((_plain(lines[number]) for number in sorted(headings)), "")
    kept = ["" if number in headings or number - 1 in headings else line for number, line in enumerate(lines)]
    blocks = re.split(r"\n\s*\n", "\n".join(kept))
    return Article(title=title, text="\n\n".join(text for block in blocks if (text := _prose(block))))


def _prose(block: str) -> str:
    text = " ".join(block.split())
    # Grammar rules, code, signatures and lists of names are not sentences.
    if "::=" in text or ">>>" in text or not text or text[0] in '*|+"(-' or not re.search(r"[.:!?]\)?$", text):
        return ""
    return _plain(text) if len(text.split()) >= 8 else ""  # noqa: PLR2004 - shorter blocks are captions


def _plain(text: str) -> str:
    text = re.sub(r"\*{1,2}([^*\s][^*]*)\*{1,2}", r"\1", text)
    return re.sub(r"\"([^\"\s]+)\"", r"\1", text).strip()
