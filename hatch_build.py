"""Ships migrations/ inside the wheel; an editable install finds them in the checkout instead."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MigrationsHook(BuildHookInterface[Any]):
    """Adds migrations/ to a standard wheel only: in an editable one a copy would go stale."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it writes a wheel; `version` is `standard` or `editable`."""
        if version == "standard":
            build_data["force_include"]["migrations"] = "genux_server/migrations"
