"""What a call's answer says of itself while it passes: model, tier, usage, failure, and when it came."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from genux.llm._facts import content_began, fields_of, images_in
from genux.llm._recorder import Recorder
from genux.llm._reported import name_of

__all__ = ["Observed"]


class Observed:
    """Reads response bodies and stream events. What it cannot read is the host's to read, and ours to report."""

    __slots__ = (
        "_recorder",
        "answer",
        "chunks",
        "error_type",
        "first_at",
        "first_content_at",
        "hide_usage",
        "images",
        "last",
        "last_at",
        "operation",
        "served_model",
        "service_tier",
        "usage",
    )

    def __init__(self, recorder: Recorder, operation: str) -> None:
        self._recorder = recorder
        self.operation = operation
        self.served_model = self.service_tier = self.error_type = ""
        self.usage: Any = None
        self.answer: Mapping[str, Any] = {}
        self.chunks = 0
        self.first_at = self.first_content_at = self.last_at = 0.0
        self.last: Any = None
        self.hide_usage = False
        self.images = 0

    def guarded(self, where: str, step: Callable[..., Any], *args: Any) -> Any:
        """Runs a step of ours; its failure is the recorder's business and yields `None`."""
        try:
            return step(*args)
        except Exception as error:  # noqa: BLE001 - nothing of ours may reach the host
            self.fail(where, error)
            return None

    def fail(self, where: str, error: BaseException) -> None:
        """Reports a failure of ours."""
        try:
            self._recorder.failed(where, error)
        except Exception:  # noqa: BLE001 - a recorder that cannot even count must still not break the host
            return

    def note(self, item: Any) -> None:
        """Reads model, tier, usage and failure from a response body or a stream event."""
        fields = fields_of(item)
        inner = fields.get("response")
        if inner is not None and fields.get("type") is not None:
            fields = fields_of(inner)
        elif fields.get("event") is not None:
            fields = fields_of(fields.get("data"))
        if fields.get("object") is not None:
            self.answer = fields
        model = fields.get("model")
        if isinstance(model, str) and model:
            self.served_model = name_of(model)
        tier = fields.get("service_tier")
        if isinstance(tier, str):
            self.service_tier = name_of(tier)
        usage = fields.get("usage")
        if usage is not None:
            self.usage = usage
        if self.operation == "images":
            self.images = images_in(fields) or self.images
        if (self.operation == "responses" and fields.get("status") == "failed") or fields.get("type") == "error":
            code = fields_of(fields.get("error")).get("code") or fields.get("code")
            self.error_type = name_of(code) if isinstance(code, str) and code else "response_failed"

    def event(self, item: Any) -> bool:
        """Takes one stream event; false when it is the usage chunk that only we asked for."""
        now = perf_counter()
        try:
            fields = item if type(item) is dict else item.__dict__
            usage = fields.get("usage")
            if usage is not None:
                self.usage = usage
                if self.hide_usage and not fields.get("choices"):
                    self.note(item)
                    return False
            elif self.hide_usage:
                # Asked for usage, servers put `usage: null` into every other chunk; unasked they leave it out.
                item.__pydantic_fields_set__.discard("usage")  # pyright: ignore[reportAttributeAccessIssue] - no dict here
            self.chunks += 1
            self.last = item
            self.last_at = now
            if not self.first_content_at:
                if not self.first_at:
                    self.first_at = now
                    self.note(item)
                if content_began(fields):
                    self.first_content_at = now
        except Exception as error:  # noqa: BLE001 - an event of unknown shape is the host's to read, not ours to refuse
            self.fail("stream", error)
        return True
