"""A reading app with one LLM feature on two surfaces: an empty chat box, or a Summary button.

Run it with a local stand-in for the model and no service at all:

    python examples/reader/app.py

With a service (`genux serve`), set GENUX_URL and GENUX_API_KEY; with a real model, OPENAI_API_KEY. Everything that
genux adds is marked with `genux:`.
"""

import os
import uuid
from pathlib import Path

from flask import Flask, make_response, redirect, render_template, request, url_for
from openai import OpenAI, OpenAIError
from werkzeug import Response

import genux

ARTICLE = """\
A generator expression yields its items one at a time, when they are asked for. Nothing is computed before the first
item is requested, and nothing is kept after it was handed over. A list comprehension looks almost the same but builds
the whole list at once, so that it can be indexed, measured and walked twice. For a file of a billion lines the
difference decides whether the program runs at all. A generator remembers where it stopped: local names, the position
in the code, and pending try blocks. Calling close on it raises GeneratorExit at that position, so that it can tidy up.
A generator that was exhausted stays exhausted; a second loop over it does nothing, which surprises people who pass one
generator to two functions. When in doubt, use a list while the data is small, and a generator when it streams."""


def create_app(gx: genux.Client, llm: OpenAI) -> Flask:
    """The app, given a genux client and an OpenAI client (wrapped or not: it cannot tell)."""
    app = Flask(__name__, root_path=str(Path(__file__).parent))

    @app.before_request
    def enter_unit() -> None:
        request.environ["reader"] = request.cookies.get("reader") or uuid.uuid4().hex
        # genux: everything in this request belongs to this reader
        unit = gx.unit(request.environ["reader"], country=request.headers.get("X-Country", "KR"))
        unit.__enter__()
        request.environ["genux.unit"] = unit

    @app.teardown_request
    def leave_unit(error: BaseException | None) -> None:
        del error
        unit = request.environ.pop("genux.unit", None)
        if unit is not None:
            unit.__exit__(None, None, None)

    @app.get("/")
    def read() -> Response:
        entry = gx.variant("ai-entry")  # genux: assigns, and records the exposure
        gx.track("surface_shown")
        response = make_response(render_template("read.html", entry=entry, article=ARTICLE))
        response.set_cookie("reader", request.environ["reader"], max_age=31_536_000, httponly=True, samesite="Lax")
        return response

    @app.post("/answer")
    def answer() -> Response | tuple[str, int]:
        entry = gx.variant("ai-entry")
        question = request.form.get("question") or entry.get("instruction") or "Summarize the article."
        gx.track("prompt_sent")
        try:
            reply = llm.responses.create(model=entry.get("model") or "gpt-5-mini", instructions=question, input=ARTICLE)
        except OpenAIError as error:
            return render_template("failed.html", error=type(error).__name__), 502
        gx.track("answer_seen")
        token = gx.resume_token()  # genux: a signed reference to this call, safe to hand to the browser
        return make_response(render_template("answer.html", entry=entry, answer=reply.output_text, token=token))

    @app.post("/helped")
    def helped() -> Response:
        gx.resume(request.form.get("token", "")).track("answer_accepted")  # genux: joined to the call it answers
        return make_response(redirect(url_for("thanks")))

    @app.get("/thanks")
    def thanks() -> str:
        return render_template("thanks.html")

    return app


def main() -> None:
    """Runs the app on loopback, with a local model unless OPENAI_API_KEY is set."""
    if "GENUX_URL" not in os.environ:
        os.environ.setdefault("GENUX_CONFIG", str(Path(__file__).with_name("genux.yaml")))
    if "OPENAI_API_KEY" in os.environ:
        openai = OpenAI()
    else:
        from genux_server.demo.model_server import create_model_app, serve_in_thread

        url, _ = serve_in_thread(create_model_app())
        openai = OpenAI(base_url=f"{url}/v1", api_key="local-stand-in")
    gx = genux.Client()
    app = create_app(gx, gx.wrap(openai))  # genux: still an OpenAI client, now measured
    app.run(port=int(os.environ.get("PORT", "5000")))


if __name__ == "__main__":
    main()
