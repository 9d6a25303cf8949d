"""What servers say of themselves."""

import msgspec
import pytest

from genux.llm import CallContext
from genux.llm._probe import Probe
from genux.wire import Call


class Recorder:
    def __init__(self):
        self.calls = []

    def call_started(self, _call_id):
        return CallContext()

    def call_finished(self, call):
        self.calls.append(call)

    def failed(self, where, error):
        raise AssertionError(where) from error


@pytest.mark.parametrize(
    ("name", "kept"), [("m" * 5_000, "m" * 2_048), ("half \ud800", "half ?"), ("\N{OWL}", "\N{OWL}")]
)
def test_a_server_that_gives_impossible_names_costs_no_call(name, kept):
    recorder = Recorder()
    probe = Probe(recorder, operation="responses", provider="", model="m")
    probe.enter()
    probe.note({"model": name, "service_tier": name, "status": "failed", "error": {"code": name}})
    probe.leave()
    probe.finish("ok", probe.started)
    (call,) = recorder.calls
    assert (call.served_model, call.service_tier, call.error_type) == (kept, kept, kept)
    assert msgspec.json.decode(msgspec.json.encode(call), type=Call) == call
