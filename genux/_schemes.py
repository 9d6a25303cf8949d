"""How a unit's id becomes a number between 0 and 1, and that number a variant. docs/assignment.md is the specification.

Every scheme keeps two promises: raising the coverage moves nobody, and neither does a change of shares, which applies
only to units that no earlier epoch had admitted.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

__all__ = ["GROWTHBOOK", "Stage", "chooser", "genux_cuts", "genux_seed", "growthbook_number", "in_holdout", "in_layer"]

T = TypeVar("T")

_SPACE = 2**64
# Greater than every digest, whatever its bytes: the upper end of the last range, 2^64, has no eight bytes.
_END = b"\xff" * 17

GROWTHBOOK = {"growthbook-1": 1, "growthbook-2": 2}
"""Scheme -> GrowthBook's own number of the hash."""


class Stage(NamedTuple, Generic[T]):
    """An epoch: who is admitted up to `coverage` gets one of `answers` by `allocation`."""

    coverage: float
    allocation: Sequence[float]
    answers: Sequence[T]


def chooser(scheme: str, salt: str, stages: Sequence[Stage[T]], otherwise: T) -> Callable[[str], T]:
    """A function of the unit's id.

    Args:
        scheme: a known one.
        salt: seeds the hash.
        stages: epochs, oldest first, with rising coverage.
        otherwise: the answer for who is not admitted.
    """
    if scheme in GROWTHBOOK:
        return _growthbook_chooser(GROWTHBOOK[scheme], salt, stages, otherwise)
    return _genux_chooser(salt, stages, otherwise)


def in_layer(scheme: str, salt: str, ranges: Sequence[tuple[float, float]]) -> Callable[[str], bool]:
    """Whether a unit falls into the ranges that an experiment takes of the layer with this salt."""
    if scheme in GROWTHBOOK:
        version, seed = GROWTHBOOK[scheme], f"__{salt}"

        def in_namespace(unit_id: str) -> bool:
            number = growthbook_number(version, seed, unit_id)
            return any(start <= number < end for start, end in ranges)

        return in_namespace
    seeded = genux_seed(f"layer:{salt}")
    cuts = [(_cut(start), _cut(end)) for start, end in ranges]

    def in_ranges(unit_id: str) -> bool:
        digest = seeded()
        digest.update(unit_id.encode())
        place = digest.digest()
        for start, end in cuts:  # noqa: SIM110 a generator for any() would cost as much as the hash
            if start <= place < end:
                return True
        return False

    return in_ranges


def in_holdout(salt: str, share: float) -> Callable[[str], bool]:
    """Whether a unit belongs to the share that the holdout with this salt keeps out."""
    seeded, cut = genux_seed(f"holdout:{salt}"), _cut(share)

    def held_out(unit_id: str) -> bool:
        digest = seeded()
        digest.update(unit_id.encode())
        return digest.digest() < cut

    return held_out


def genux_seed(salt: str) -> Callable[[], "blake2b"]:
    """A function that gives a fresh hash which has read the salt; the unit's id and `digest()` follow."""
    return blake2b(salt.encode() + b"\0", digest_size=16).copy


def genux_cuts(allocation: Sequence[float]) -> list[bytes]:
    """Upper ends of the variants' ranges, to be compared with a digest as bytes.

    Bytes compare like the big-endian numbers that they spell, and a digest is longer than a cut, so a digest that
    begins with a cut lies above it, as it must. Doubles times a power of two are exact in every language.
    """
    last = max(index for index, share in enumerate(allocation) if share > 0)
    cuts: list[bytes] = []
    total = 0.0
    for index, share in enumerate(allocation):
        total += share
        cuts.append(_END if index >= last else _cut(total))
    return cuts


def growthbook_number(version: int, seed: str, unit_id: str) -> float:
    """GrowthBook's hash (growthbook/core.py, `gbhash`): version 1 in thousandths, version 2 in ten-thousandths."""
    if version == 1:
        return (_fnv1a32(unit_id + seed) % 1_000) / 1_000
    return (_fnv1a32(str(_fnv1a32(seed + unit_id))) % 10_000) / 10_000


def _fnv1a32(text: str) -> int:
    """FNV-1a over UTF-16 code units, which is what JavaScript's `charCodeAt` sees."""
    value = 0x811C9DC5
    if text.isascii():
        for byte in text.encode():
            value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
        return value
    data = text.encode("utf-16-le")
    for low, high in zip(data[::2], data[1::2], strict=True):
        value = ((value ^ (low | high << 8)) * 0x01000193) & 0xFFFFFFFF
    return value


def _cut(share: float) -> bytes:
    """floor(share * 2^64) as eight bytes; everything lies below a share of 1."""
    number = int(share * _SPACE)
    return number.to_bytes(8, "big") if number < _SPACE else _END


def _genux_chooser(salt: str, stages: Sequence[Stage[T]], otherwise: T) -> Callable[[str], T]:
    seeded = genux_seed(salt)
    bounds = [_cut(stage.coverage) for stage in stages]
    cuts = [genux_cuts(stage.allocation) for stage in stages]
    answers = [stage.answers for stage in stages]
    n_stages = len(stages)

    def choose(unit_id: str) -> T:
        digest = seeded()
        digest.update(unit_id.encode())
        place = digest.digest()
        stage = bisect_right(bounds, place[8:])
        if stage == n_stages:
            return otherwise
        return answers[stage][bisect_right(cuts[stage], place)]

    return choose


def _growthbook_chooser(version: int, salt: str, stages: Sequence[Stage[T]], otherwise: T) -> Callable[[str], T]:
    taken: list[tuple[float, float, T]] = []
    before = 0.0
    for stage in stages:
        if stage.coverage > before:
            taken = sorted([*taken, *_laid_out(stage, before, _gaps(taken))], key=lambda piece: piece[:2])
            before = stage.coverage
    starts, ends, answers = [p[0] for p in taken], [p[1] for p in taken], [p[2] for p in taken]

    def choose(unit_id: str) -> T:
        number = growthbook_number(version, salt, unit_id)
        index = bisect_right(starts, number) - 1
        return answers[index] if index >= 0 and number < ends[index] else otherwise

    return choose


def _gaps(taken: Sequence[tuple[float, float, T]]) -> list[tuple[float, float]]:
    """The parts of 0 to 1 that no earlier epoch has taken."""
    edges = [0.0, *(edge for start, end, _ in taken for edge in (start, end)), 1.0]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in pairs if end > start]


def _laid_out(stage: Stage[T], before: float, gaps: Sequence[tuple[float, float]]) -> list[tuple[float, float, T]]:
    """The ranges of an epoch: GrowthBook's own, laid over what earlier epochs left free, the gaps pushed together.

    Each variant begins at the sum of the shares before it and takes of its share what the coverage admits, so that a
    higher coverage only lengthens ranges.
    """
    room = sum(end - start for start, end in gaps)
    portion = (stage.coverage - before) / (1 - before)
    pieces: list[tuple[float, float, T]] = []
    total = 0.0
    for share, answer in zip(stage.allocation, stage.answers, strict=True):
        first = total * room
        total += share
        last = total * room if portion == 1 else first + portion * share * room
        offset = 0.0
        for start, end in gaps:
            low, high = max(first - offset, 0.0), min(last - offset, end - start)
            if high > low:
                pieces.append((start + low, start + high, answer))
            offset += end - start
    return pieces
