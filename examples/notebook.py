"""A walk through genux by hand, cell by cell. Needs no service, no key and no network: python examples/notebook.py.

The file is a script with `# %%` cells, which Jupyter, VS Code and Spyder open as a notebook.
"""

# %% A model. Here a local stand-in that speaks OpenAI's API; `OpenAI()` works just the same.
import csv
import datetime as dt
import random
import tempfile
from pathlib import Path

from openai import OpenAI

import genux
from genux import testing
from genux_server.demo.corpus import articles
from genux_server.demo.model_server import ModelServerConfig, create_model_app, serve_in_thread

url, stop_model = serve_in_thread(create_model_app(ModelServerConfig(slowness=0.1)))

# %% A genux client in local mode: the experiment comes from a file, nothing leaves this machine.
gx = genux.Client(config=Path(__file__).parent / "reader" / "genux.yaml")
llm = gx.wrap(OpenAI(base_url=f"{url}/v1", api_key="local-stand-in"))
print("still an OpenAI client:", isinstance(llm, OpenAI))

# %% Forty readers. Each is assigned by a hash of their name: run it again, and everyone gets the same variant.
article = articles()[0]
with testing.recording() as seen:
    for i in range(40):
        with gx.unit(f"reader-{i}", country="KR"):
            entry = gx.variant("ai-entry")
            instruction = entry.get("instruction", "What is this about?")
            llm.responses.create(model=entry.model, instructions=instruction, input=article.text)
            if i % 3 == 0:
                gx.track("answer_accepted")

# %% What was measured: every call knows its variant, without a tag set by hand.
print(f"{len(seen.exposures)} exposures, {len(seen.calls)} calls, {len(seen.tracks)} outcomes")
for variant in ("ask-ai", "summary"):
    calls = [call for call in seen.calls if call.assignments[0].variant == variant]
    output_tokens = sum(call.tokens.output for call in calls if call.tokens)
    latency_ms = 1_000 * sorted(call.latency_seconds for call in calls)[len(calls) // 2]
    print(f"{variant:8} {len(calls):3} calls, {output_tokens:5} output tokens, median {latency_ms:.0f} ms")

# %% A resume token names the call in another process, minutes later, without naming the reader.
with gx.unit("reader-1"):
    llm.responses.create(model="gpt-5-mini", input=article.text)
    token = gx.resume_token()
with testing.recording() as seen:
    gx.resume(token).track("answer_accepted")
print("joined to its call:", bool(seen.tracks[0].call_id), "- names a reader:", bool(seen.tracks[0].unit_id))

# %% The statistics, without any service: a table with one row per reader. These readers are simulated: 14 % of them
# accept an answer from the chat box, 20 % from the button.
dice = random.Random(7)  # noqa: S311  simulated readers
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "readers.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reader", "variant", "accepted", "seconds"])
        for i in range(4_000):
            variant = dice.choice(["ask-ai", "summary"])
            accepted = dice.random() < (0.20 if variant == "summary" else 0.14)
            writer.writerow([i, variant, accepted, round(dice.lognormvariate(2, 1), 1)])

    from genux_server.engine.file import facts_from_file, parse_metric
    from genux_server.stats import build_report

    facts = facts_from_file(
        path,
        unit="reader",
        variant="variant",
        control="ask-ai",
        metrics=[parse_metric("accepted"), parse_metric("seconds:mean")],
    )
report = build_report(facts, generated_at=dt.datetime.now(dt.UTC))
print(report.verdict.upper(), "-", report.headline.text)

# %% Done.
gx.close()
stop_model()
