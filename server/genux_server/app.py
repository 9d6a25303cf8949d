"""The Flask application: a list of registrations."""

from flask import Flask, Response, request
from flask_wtf.csrf import CSRFProtect  # type: ignore[import-untyped]  # it publishes no types
from werkzeug.exceptions import HTTPException

from genux_server.api import create_api, observe, on_http_error
from genux_server.config import Config
from genux_server.service import bootstrap
from genux_server.service.sentry import watch_errors
from genux_server.service.services import Services

__all__ = ["create_app"]

_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_MAX_BODY_BYTES = 10 * 2**20


def create_app(config: Config | None = None) -> Flask:
    """The service over the store that `config` names, whose tables are there (see `genux_server.migrate`).

    Args:
        config: settings; None reads them from the environment.
    """
    config = config or Config.from_env()
    app = Flask(__name__, static_folder=None)
    services = Services(config)
    app.extensions["genux"] = services
    app.config.update(
        SECRET_KEY=bootstrap.session_secret(services.store),
        MAX_CONTENT_LENGTH=_MAX_BODY_BYTES,
        SESSION_COOKIE_NAME="genux_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.secure_cookies,
        PERMANENT_SESSION_LIFETIME=43_200,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: a form left open over lunch still works
        WTF_CSRF_SSL_STRICT=config.secure_cookies,
    )
    watch_errors(config)
    observe(app)
    csrf = CSRFProtect(app)
    api = create_api()
    csrf.exempt(api)  # a bearer key is no ambient authority: a foreign page cannot make a browser send it
    app.register_blueprint(api)
    _register_pages(app)
    app.register_error_handler(HTTPException, _no_such_address)
    app.after_request(_secure)
    return app


def _no_such_address(error: HTTPException) -> Response | HTTPException:
    """An address that no view owns belongs to no blueprint; a program below `/v1` still gets its problem document."""
    return on_http_error(error) if request.path.startswith("/v1/") else error


def _register_pages(app: Flask) -> None:
    from genux_server.pages import create_pages

    app.register_blueprint(create_pages())


def _secure(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
    headers.setdefault("Cache-Control", "no-store")
    return response
