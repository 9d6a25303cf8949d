"""The addresses of the pages: parse, ask the service, render."""

import datetime as dt
import re
from typing import cast

from flask import Blueprint, abort, current_app, g, redirect, render_template, request, session, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from genux_server.pages.format import count, duration, moment
from genux_server.pages.listing import build_listing
from genux_server.pages.report_view import build_report_view
from genux_server.pages.snippets import python_snippet
from genux_server.pages.text import gettext, status_word
from genux_server.service import experiments, ingest, keys, metrics, people, reports
from genux_server.service.experiments import ExperimentView
from genux_server.service.keys import KeyInfo
from genux_server.service.scope import Scope, utcnow
from genux_server.service.services import Services

__all__ = ["PLACE", "here", "register", "services"]

PLACE = "/p/<project>/<environment>"
"""Project and environment stand in the address, so that a link means the same to whoever opens it."""

_REJECTED_A_PAGE = 50
_LOCAL = re.compile(r"/(?:p|experiments)/[\w./~-]*")
"""Where a login may lead: an address of these pages, never another site."""
Html = str | Response | tuple[str, int]


def register(pages: Blueprint) -> None:
    """Add the addresses."""
    pages.get("/")(home)
    pages.route("/login", methods=["GET", "POST"])(login)
    pages.post("/logout")(logout)
    pages.get("/experiments/<key>")(find_experiment)
    pages.get(f"{PLACE}/experiments", endpoint="experiments")(experiments_list)
    pages.get(f"{PLACE}/experiments/<key>")(experiment)
    pages.get(f"{PLACE}/start")(start)
    pages.post(f"{PLACE}/start/key")(make_key)
    pages.get(f"{PLACE}/start/progress")(start_progress)
    pages.get(f"{PLACE}/rejected")(rejected)
    pages.get(f"{PLACE}/rejected/rows")(rejected_rows)


def services() -> Services:
    """Store and lake of this process."""
    return cast("Services", current_app.extensions["genux"])


def here() -> Scope:
    """The project and environment of the address, which the signed-in person may see."""
    return cast("Scope", g.scope)


def home() -> Html:
    """The experiments of the place last visited, or of the first one."""
    known = g.scopes
    if not known:
        abort(403, gettext("You are signed in, but belong to no project."))
    last = session.get("environment_id")
    scope = next((s for s in known if s.environment_id == last), known[0])
    return redirect(url_for("pages.experiments", project=scope.project, environment=scope.environment))


def login() -> Html:
    """Email and password; wrong ones say so without saying which."""
    if request.method == "GET":
        return render_template("pages/login.html", email="", error="")
    email = request.form.get("email", "")
    person = people.check_login(services().store, email, request.form.get("password", ""))
    if person is None:
        error = gettext("This email and password do not fit together.")
        return render_template("pages/login.html", email=email, error=error), 401
    session.clear()
    session.permanent = True
    session["person_id"], session["stamp"] = person.id, person.stamp
    target = request.args.get("next", "")
    return redirect(target if _LOCAL.fullmatch(target) else url_for("pages.home"))


def logout() -> Html:
    """Forget the session."""
    session.clear()
    return redirect(url_for("pages.login"))


def find_experiment(key: str) -> Html:
    """An address that names no place, as a terminal prints it: the first environment that has the experiment."""
    store = services().store
    found = (s for s in g.scopes if any(view.key == key for view in experiments.list_experiments(store, s)))
    scope = next(found, None)
    if scope is None:
        raise NotFound
    return redirect(url_for("pages.experiment", project=scope.project, environment=scope.environment, key=key))


def experiments_list() -> Html:
    """Every experiment with its last verdict."""
    store, scope = services().store, here()
    session["environment_id"] = scope.environment_id
    views = experiments.list_experiments(store, scope)
    groups = build_listing(views, reports.current_all(store, scope), utcnow())
    return render_template("pages/experiments.html", groups=groups)


def experiment(key: str) -> Html:
    """One experiment's report; before there is one, what to do until then."""
    store, scope = services().store, here()
    view = experiments.get(store, scope, key)
    report = reports.current(store, scope, key)
    if report is None:
        return render_template("pages/waiting.html", **_waiting(view))
    page = build_report_view(report, now=utcnow(), running=view.status == "running")
    code = "" if report.n_units else _snippet(view)
    return render_template("pages/report.html", view=page, status=status_word(view.status), code=code)


def start() -> Html:
    """From nothing to the first event."""
    return _render_start(secret="")


def make_key() -> Html:
    """A server key for this environment, shown this once."""
    made = keys.create(services().store, here(), "server", gettext("made on the page"))
    return _render_start(secret=made.secret)


def start_progress() -> Html:
    """The last step of the start page, looked at again every few seconds."""
    return render_template("pages/_progress.html", **_progress(_newest_running(), _server_keys()))


def rejected() -> Html:
    """Events that were refused, newest first."""
    before = request.args.get("before", type=int)
    return render_template("pages/rejected.html", older=before is not None, **_rejected(before))


def rejected_rows() -> Html:
    """The newest refused events alone, looked at again every few seconds."""
    return render_template("pages/_rejected_rows.html", **_rejected(None))


def _waiting(view: ExperimentView) -> dict[str, object]:
    draft = view.status == "draft"
    headline = (
        gettext("Not started: nobody is assigned, everyone sees what they saw before.")
        if draft
        else gettext("Started. The first report appears here within a minute.")
    )
    return {
        "title": view.spec.question or view.key,
        "key": view.key,
        "status_word": status_word(view.status),
        "icon_name": "draft" if draft else "collecting",
        "word": status_word("draft") if draft else gettext("Collecting data"),
        "headline": headline,
        "code": _snippet(view),
    }


def _snippet(view: ExperimentView) -> str:
    outcome = ""
    if view.spec.primary:
        found = metrics.list_metrics(services().store, here(), [view.spec.primary])
        outcome = next((m.numerator.event for m in found if m.numerator.source == "event"), "")
    return python_snippet(view.spec, outcome)


def _newest_running() -> ExperimentView | None:
    running = experiments.list_experiments(services().store, here(), ["running"])
    return running[-1] if running else None


def _render_start(secret: str) -> str:
    newest, own = _newest_running(), _server_keys()
    return render_template(
        "pages/start.html",
        url=request.host_url.rstrip("/"),
        secret=secret,
        has_key=any(key.revoked_at is None for key in own),
        example=newest.key if newest else "",
        code=_snippet(newest) if newest else python_snippet(None),
        **_progress(newest, own),
    )


def _server_keys() -> list[KeyInfo]:
    found = keys.list_keys(services().store, here())
    return [key for key in found if key.environment == here().environment and key.kind == "server"]


def _progress(newest: ExperimentView | None, own: list[KeyInfo]) -> dict[str, object]:
    store, scope, now = services().store, here(), utcnow()
    used = [key.last_used_at for key in own if key.last_used_at]
    report = reports.current(store, scope, newest.key) if newest else None
    n_units = report.n_units if report else 0
    steps = [
        {
            "done": bool(used),
            "text": gettext("A server key of this environment was used"),
            "detail": gettext("%(age)s ago", age=_coarse(now - max(used))) if used else "",
        },
        {
            "done": newest is not None,
            "text": gettext("An experiment is running"),
            "detail": newest.key if newest else "",
        },
        {
            "done": n_units > 0,
            "text": gettext("The first exposure was counted"),
            "detail": gettext("%(count)s so far", count=count(n_units)) if n_units else "",
        },
    ]
    refused = ingest.list_rejected(store, scope, limit=1)
    return {"progress": steps, "rejected": bool(refused), "report_key": newest.key if newest and n_units else ""}


def _coarse(age: dt.timedelta) -> str:
    """Minutes at the finest: a figure that changed every second would be read out every second."""
    return duration(age.total_seconds()) if age.total_seconds() >= 60 else gettext("less than a minute")  # noqa: PLR2004


def _rejected(before: int | None) -> dict[str, object]:
    found = ingest.list_rejected(services().store, here(), before_id=before, limit=_REJECTED_A_PAGE)
    rows = [
        {
            "id": row.id,
            "received": moment(row.received_at, to_seconds=True),
            "received_iso": row.received_at.isoformat(),
            "code": row.code,
            "message": row.message,
            "path": row.path,
            "index": row.index,
            "batch": row.batch_id,
            "body": row.body,
        }
        for row in found
    ]
    return {"rows": rows, "older_than": found[-1].id if len(found) == _REJECTED_A_PAGE else None}
