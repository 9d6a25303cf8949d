"""Which price table a call is priced with, on the shipping thread."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from genux._imports import load
from genux._snapshot import SnapshotStore
from genux.wire import Call

if TYPE_CHECKING:
    from genux.llm import PriceTable
    from genux.specs import PriceRule

__all__ = ["Pricing", "own_table"]


class Pricing:
    """Prices calls with the project's own table, and with the public list what that does not name.

    Args:
        own: the table that the host handed over; it wins as a whole over that of the snapshot.
        snapshots: where the table of the file of experiments, or else of the service, is found.
    """

    def __init__(self, own: "PriceTable | None", snapshots: SnapshotStore) -> None:
        self._own = own
        self._snapshots = snapshots
        self._rules: list[PriceRule] = []
        self._table: PriceTable | None = None

    def price(self, call: Call) -> Call:
        """The call with its cost, or with the reason why that is unknown.

        Raises:
            ConfigError: the service's table holds a rule that this version cannot read.
        """
        try:
            pricing = load("genux.llm.pricing")
            with suppress(ImportError):  # without the list, the own table still prices
                load("genai_prices.data")  # half a second, which the list's first use would otherwise take
        except ImportError:
            return msgspec.structs.replace(call, cost_reason="pricing_unavailable")
        priced: Call = pricing.price(call, self._own or self._of_snapshot())
        return priced

    def _of_snapshot(self) -> "PriceTable | None":
        rules = self._snapshots.prices
        if rules is not self._rules:
            from genux.llm import PriceTable

            self._table = PriceTable(rules) if rules else None
            self._rules = rules
        return self._table


def own_table(prices: "str | Path | PriceTable | None") -> "PriceTable | None":
    """The table itself, or the one in a file.

    Raises:
        ConfigError: the file cannot be read, or holds no price table.
    """
    if not isinstance(prices, str | Path):
        return prices
    from genux.llm import PriceTable

    return PriceTable.load(Path(prices))
