"""The pages: server-rendered, no script needed to read them, everything from this origin."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Blueprint

__all__ = ["create_pages"]


def create_pages() -> "Blueprint":
    """Login, experiments, report, getting started, rejected events.

    Expects `app.extensions["genux"]` to be the `Services`, a secret key, and flask-wtf's CSRF protection. Imported
    late, so that a terminal that only writes numbers as the pages do (`pages.format`) loads no engine.
    """
    from genux_server.pages.blueprint import build

    return build()
