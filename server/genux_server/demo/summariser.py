"""A real, small, extractive summariser: which sentences of a document are central, and which answer a question.

LexRank with a continuous similarity graph (Erkan and Radev 2004, doi:10.1613/jair.1523) finds the central sentences;
the query-biased variant (Otterbacher, Erkan and Radev 2005) those near a question. Maximal marginal relevance
(Carbonell and Goldstein 1998) keeps the chosen ones from repeating each other. It quotes; it never makes anything up.
"""

import itertools
import math
import re
from collections import Counter

import numpy as np
import numpy.typing as npt

__all__ = ["answer", "embed", "nearest", "sentences_of", "summarise", "words_of"]

Matrix = npt.NDArray[np.float64]

_DAMPING = 0.85
_RELEVANCE = 0.7
_MAX_SENTENCES = 600
_MIN_WORDS, _MAX_WORDS = 6, 60
# A sentence ends at a full stop that no abbreviation, initial or number explains.
_SENTENCE_END = re.compile(
    r"(?:(?<=[.!?])|(?<=[.!?]\)))(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!vs\.)(?<!\b[A-Z]\.)(?<!^\d\.)\s+(?=[\"'(\[A-Z0-9])"
)
_WORD = re.compile(r"[a-z][a-z_']+|\d+")
_STOP = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "cannot",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "down",
        "during",
        "each",
        "else",
        "few",
        "for",
        "from",
        "further",
        "had",
        "has",
        "have",
        "having",
        "he",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "just",
        "like",
        "made",
        "make",
        "may",
        "me",
        "might",
        "more",
        "most",
        "must",
        "my",
        "no",
        "nor",
        "not",
        "now",
        "of",
        "off",
        "on",
        "once",
        "one",
        "only",
        "or",
        "other",
        "our",
        "out",
        "over",
        "own",
        "same",
        "say",
        "says",
        "see",
        "shall",
        "she",
        "should",
        "since",
        "so",
        "some",
        "such",
        "tell",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "use",
        "used",
        "using",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "whether",
        "which",
        "while",
        "who",
        "whom",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "article",
        "text",
        "please",
    ]
)
# A sentence that leans on its neighbour reads badly alone.
_LEANING = re.compile(
    r"^(this|these|those|that|it|they|he|she|however|therefore|thus|also|but|and|so|for example)\b", re.IGNORECASE
)


def words_of(text: str) -> list[str]:
    """The content words of a text, lower case, with plural and verb endings cut."""
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP]


def _stem(word: str) -> str:
    for ending, replacement in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 4 and not word.endswith("ss"):  # noqa: PLR2004 - a stem
            return word[: -len(ending)] + replacement
    return word


def sentences_of(text: str) -> list[str]:
    """The sentences of a text, in order; paragraphs end sentences."""
    paragraphs = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return [part.strip() for block in paragraphs for part in _SENTENCE_END.split(block) if part.strip()]


def summarise(text: str, n_sentences: int) -> list[str]:
    """The most central sentences of a text, in its order.

    Args:
        text: paragraphs with a blank line between them.
        n_sentences: how many to choose, at least 1.

    Returns:
        At most `n_sentences` sentences of the text, word for word.
    """
    sentences = _candidates(text)
    if len(sentences) <= n_sentences:
        return sentences
    vectors = _tf_idf([words_of(sentence) for sentence in sentences])
    similarity = vectors @ vectors.T
    position = 1.0 / (1.0 + np.arange(len(sentences)) / 5.0)
    scores = _rank(similarity, 0.5 + position) * _suitability(sentences)
    return _pick(sentences, similarity, scores, n_sentences)


def answer(text: str, question: str, n_sentences: int) -> list[str]:
    """The sentences of a text that come nearest to answering a question, in its order.

    Args:
        text: paragraphs with a blank line between them.
        question: in plain words.
        n_sentences: how many to choose, at least 1.

    Returns:
        At most `n_sentences` sentences of the text; its central ones when it shares no word with the question.
    """
    sentences = _candidates(text)
    if len(sentences) <= n_sentences:
        return sentences
    vectors = _tf_idf([*(words_of(sentence) for sentence in sentences), words_of(question)])
    relevance = vectors[:-1] @ vectors[-1]
    if not relevance.any():
        return summarise(text, n_sentences)
    similarity = vectors[:-1] @ vectors[:-1].T
    scores = (relevance / relevance.max() + 0.3 * _normalised(_rank(similarity, relevance))) * _suitability(sentences)
    return _pick(sentences, similarity, scores, n_sentences)


def nearest(query: str, documents: list[str]) -> int:
    """The index of the document whose words best cover those of a query; the first one when none is shared."""
    vectors = _tf_idf([*(words_of(document) for document in documents), words_of(query)])
    return int(np.argmax(vectors[:-1] @ vectors[-1]))


def embed(text: str, dimensions: int) -> list[float]:
    """A text as a vector of unit length: hashed content words and their pairs, weighted by log frequency.

    Texts that share words are near each other (feature hashing, Weinberger et al. 2009); meaning is not looked at.
    """
    words = words_of(text)
    features = Counter([*words, *(f"{first} {second}" for first, second in itertools.pairwise(words))])
    vector = np.zeros(dimensions)
    for feature, count in features.items():
        code = _hash(feature)
        vector[code % dimensions] += (1.0 if code >> 63 else -1.0) * (1.0 + math.log(count))
    norm = float(np.linalg.norm(vector))
    return list((vector / norm if norm else vector).tolist())


def _hash(feature: str) -> int:
    # FNV-1a of 64 bits: the built-in hash differs from process to process.
    code = 0xCBF29CE484222325
    for byte in feature.encode():
        code = (code ^ byte) * 0x100000001B3 % 2**64
    return code ^ (code >> 29)


def _candidates(text: str) -> list[str]:
    sentences = list(dict.fromkeys(sentences_of(text)))[:_MAX_SENTENCES]
    fit = [sentence for sentence in sentences if _MIN_WORDS <= len(sentence.split()) <= _MAX_WORDS]
    whole = [sentence for sentence in fit if sentence[-1] in ".!?"]
    return whole or fit or sentences


def _suitability(sentences: list[str]) -> Matrix:
    return np.array([0.5 if _LEANING.match(sentence) else 1.0 for sentence in sentences])


def _tf_idf(documents: list[list[str]]) -> Matrix:
    vocabulary = {word: column for column, word in enumerate(sorted({word for words in documents for word in words}))}
    counts = np.zeros((len(documents), max(len(vocabulary), 1)))
    for row, words in enumerate(documents):
        for word, count in Counter(words).items():
            counts[row, vocabulary[word]] = count
    inverse = np.log((1.0 + len(documents)) / (1.0 + (counts > 0).sum(axis=0))) + 1.0
    weights = np.log1p(counts) * inverse
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    normalised: Matrix = weights / np.where(norms == 0.0, 1.0, norms)
    return normalised


def _rank(similarity: Matrix, prior: Matrix) -> Matrix:
    """Stationary distribution of a walk along similar sentences that restarts by `prior`."""
    graph = similarity.copy()
    np.fill_diagonal(graph, 0.0)
    totals = graph.sum(axis=1, keepdims=True)
    restart = prior / prior.sum()
    walk = np.where(totals > 0.0, graph / np.where(totals == 0.0, 1.0, totals), restart)
    scores: Matrix = restart
    for _ in range(50):
        scores = _DAMPING * (scores @ walk) + (1.0 - _DAMPING) * restart
    return scores


def _normalised(scores: Matrix) -> Matrix:
    highest: Matrix = scores / scores.max()
    return highest


def _pick(sentences: list[str], similarity: Matrix, scores: Matrix, n_sentences: int) -> list[str]:
    relevance = _normalised(scores)
    chosen: list[int] = []
    left = set(range(len(sentences)))
    while left and len(chosen) < n_sentences:
        repeats = similarity[:, chosen].max(axis=1) if chosen else np.zeros(len(sentences))
        gain = _RELEVANCE * relevance - (1.0 - _RELEVANCE) * repeats
        best = max(left, key=lambda index: (gain[index], -index))
        chosen.append(best)
        left.remove(best)
    return [sentences[index] for index in sorted(chosen)]
