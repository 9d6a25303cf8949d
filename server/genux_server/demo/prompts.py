"""Reads a prompt the way the local model understands it: what is asked, of which document, in what form."""

import dataclasses
import re
from collections.abc import Sequence

from genux_server.demo.corpus import articles
from genux_server.demo.summariser import answer, nearest, summarise

__all__ = ["Task", "read_prompt", "respond"]

_MAX_INSTRUCTION_CHARACTERS = 600
_MIN_DOCUMENT_CHARACTERS = 200
_DEFAULT_SUMMARY, _DEFAULT_ANSWER = 4, 3
_SHORT, _LONG = 2, 8
_MAX_SENTENCES = 30

_NUMBERS = {
    word: number
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
} | {"a": 1, "single": 1}
_COUNT = rf"(\d+|{'|'.join(_NUMBERS)})"
_FORM = re.compile(
    rf"\b{_COUNT}[- ](?:\w+[- ]){{0,2}}?(sentences?|bullets?(?: points?)?|points?|takeaways?|lines?)\b", re.IGNORECASE
)
_WORD_LIMIT = re.compile(rf"\b{_COUNT} words?\b", re.IGNORECASE)
_BULLETS = re.compile(r"\b(bullets?|bullet points?|list)\b", re.IGNORECASE)
_SUMMARY = re.compile(
    r"\b(summar\w+|tl;?dr|abstract|overview|gist|key points|main points|condense|shorten)\b", re.IGNORECASE
)
_QUESTION_WORD = re.compile(
    r"^\s*(question:|what|when|where|which|who|why|how|is|are|does|do|can|should|must)\b", re.IGNORECASE
)
_INSTRUCTION = re.compile(
    r"\b(you are|you answer|answer|summar\w+|tl;?dr|explain|describe|list|write|respond|reply|use|keep|give|bullets?|"
    r"words?|sentences?)\b",
    re.IGNORECASE,
)
_BRIEF = re.compile(r"\b(brief\w*|short\w*|concise\w*|terse\w*|quick\w*)\b", re.IGNORECASE)
_DETAILED = re.compile(r"\b(detail\w*|thorough\w*|long|comprehensive\w*|in depth|in-depth)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """What a prompt asks for.

    Attributes:
        question: what to look for in the document; empty asks for a summary.
        document: the text to read.
        n_sentences: how many sentences to give.
        bullets: whether each sentence gets a line of its own.
        max_words: upper bound on words; 0 is none.
    """

    question: str
    document: str
    n_sentences: int
    bullets: bool = False
    max_words: int = 0


def read_prompt(messages: Sequence[tuple[str, str]]) -> Task:
    """Reads messages, each a role and a text.

    Short paragraphs that instruct or ask, at the edges of a message, say what to do; the rest is the document. Without
    a document of some length the nearest article of the corpus is taken.
    """
    instructions: list[str] = []
    document: list[str] = []
    for role, text in messages:
        if role == "assistant":
            continue
        blocks = [block.strip() for block in re.split(r"\n\s*\n", text) if block.strip()]
        for number, block in enumerate(blocks):
            edge = number < 2 or number >= len(blocks) - 2  # noqa: PLR2004 - two paragraphs at either end
            (instructions if edge and _instructs(block, alone=len(blocks) == 1) else document).append(block)
    return _task(instructions, "\n\n".join(document))


def _instructs(block: str, *, alone: bool) -> bool:
    if len(block) > _MAX_INSTRUCTION_CHARACTERS:
        return False
    if block.endswith("?") or _SUMMARY.search(block) or _QUESTION_WORD.match(block):
        return True
    return bool(_INSTRUCTION.search(block)) and (alone or block.endswith(":") or len(block) < 160)  # noqa: PLR2004


def _task(instructions: list[str], document: str) -> Task:
    wish = " ".join(instructions)
    asked = [block for block in instructions if block.endswith("?") or _QUESTION_WORD.match(block)]
    question = "" if not asked or _SUMMARY.search(asked[-1]) else asked[-1]
    if len(document) < _MIN_DOCUMENT_CHARACTERS:
        library = articles()
        document = library[nearest(f"{document} {question or wish}", [f"{a.title} {a.text}" for a in library])].text
    form = _FORM.search(wish)
    if form:
        count = _number(form.group(1))
    elif _BRIEF.search(wish):
        count = _SHORT
    elif _DETAILED.search(wish):
        count = _LONG
    else:
        count = _DEFAULT_ANSWER if question else _DEFAULT_SUMMARY
    words = _WORD_LIMIT.search(wish)
    return Task(
        question=question,
        document=document,
        n_sentences=min(max(count, 1), _MAX_SENTENCES),
        bullets=bool(_BULLETS.search(wish)),
        max_words=_number(words.group(1)) if words else 0,
    )


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word.lower()]


def respond(task: Task) -> list[str]:
    """The sentences that do the task, within its word limit; the first one always, cut if it must be."""
    if task.question:
        found = answer(task.document, task.question, task.n_sentences)
    else:
        found = summarise(task.document, task.n_sentences)
    if not task.max_words:
        return found
    kept: list[str] = []
    left = task.max_words
    for sentence in found:
        words = sentence.split()
        if len(words) <= left:
            kept.append(sentence)
            left -= len(words)
    if not kept and found:
        kept = [" ".join(found[0].split()[: task.max_words])]
    return kept
