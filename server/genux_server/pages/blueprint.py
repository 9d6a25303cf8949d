"""The blueprint: addresses, who may see them, what every template knows, and what an error looks like."""

import functools
import hashlib
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, g, redirect, render_template, request, session, url_for
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response

from genux.errors import ServiceError
from genux_server.pages import text, views
from genux_server.service import people
from genux_server.store import StorageError

__all__ = ["build"]

_STATIC = Path(__file__).parent / "static"
_A_YEAR_SECONDS = 31_536_000


class _Pages(Blueprint):
    def get_send_file_max_age(self, filename: str | None) -> int:
        """For ever: an asset's address carries a digest of its content."""
        del filename
        return _A_YEAR_SECONDS


def build() -> Blueprint:
    """The blueprint with everything registered."""
    pages = _Pages(
        "pages", "genux_server.pages", template_folder="templates", static_folder="static", static_url_path="/static"
    )
    views.register(pages)
    pages.url_value_preprocessor(_take_place)
    pages.before_request(_sign_in)
    pages.context_processor(_template_names)
    pages.register_error_handler(ServiceError, _on_service_error)
    pages.register_error_handler(StorageError, _on_storage_error)
    pages.register_error_handler(HTTPException, _on_http_error)
    pages.record_once(_install_text)
    return pages


def _install_text(state: BlueprintSetupState) -> None:
    assert isinstance(state.app, Flask)
    text.install(state.app)


def _take_place(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Take project and environment out of every address, so that a view sees only what is its own."""
    del endpoint
    g.place = (values.pop("project", ""), values.pop("environment", "")) if values else ("", "")


def _sign_in() -> Response | None:
    """Only the login page and static files are for strangers; a place someone may not see does not exist for them."""
    g.scope, g.scopes = None, []
    if request.endpoint in {"pages.static", "pages.login"}:
        return None
    person_id = session.get("person_id")
    if person_id is not None:
        g.scopes = people.scopes(views.services().store, person_id, session.get("stamp", ""))
    if not g.scopes:
        session.pop("person_id", None)
        here = request.path if request.method == "GET" and request.path != "/" else None
        return redirect(url_for("pages.login", next=here))
    if any(g.place):
        g.scope = next((s for s in g.scopes if (s.project, s.environment) == g.place), None)
        if g.scope is None:
            raise NotFound
    return None


def _template_names() -> dict[str, object]:
    return {"here": g.get("scope"), "scopes": g.get("scopes", []), "place": _place, "asset": _asset}


def _place(endpoint: str, **values: Any) -> str:
    """An address within the project and environment of this request."""
    scope = views.here()
    return url_for(endpoint, project=scope.project, environment=scope.environment, **values)


@functools.cache
def _digest(filename: str) -> str:
    return hashlib.sha256((_STATIC / filename).read_bytes()).hexdigest()[:10]


def _asset(filename: str) -> str:
    return url_for("pages.static", filename=filename, v=_digest(filename))


def _on_service_error(error: ServiceError) -> tuple[str, int]:
    return _error_page(str(error), error.status)


def _on_storage_error(error: StorageError) -> tuple[str, int]:
    del error  # it names tables and files; the log has it
    return _error_page(text.gettext("The database cannot be reached now. Nothing is lost; try again in a moment."), 503)


def _on_http_error(error: HTTPException) -> Response | tuple[str, int]:
    if error.response is not None or error.code is None:
        return error.get_response()
    return _error_page(error.description or error.name, error.code)


def _error_page(sentence: str, status: int) -> tuple[str, int]:
    titles = {403: text.gettext("Not for you"), 404: text.gettext("There is nothing here")}
    title = titles.get(status, text.gettext("That did not work"))
    plain = sentence if status != 404 else text.gettext("It may have been renamed, or live in another environment.")  # noqa: PLR2004
    return render_template("pages/error.html", title=title, text=plain), status
