"""Labels of time series, bounded."""

__all__ = ["OTHER", "BoundedLabels"]

OTHER = "other"
"""The label of whatever came after the bound."""


class BoundedLabels:
    """Lets the first `limit` different label sets through, and calls the rest `other`.

    A time series that a sender invents costs memory here and in Prometheus for as long as both run.

    Args:
        limit: how many different label sets this process will ever pass.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[tuple[str, ...]] = set()

    def __call__(self, *labels: str) -> tuple[str, ...]:
        """The labels themselves, or `other` as often."""
        if labels not in self._known:
            if len(self._known) >= self._limit:
                return (OTHER,) * len(labels)
            self._known.add(labels)
        return labels
