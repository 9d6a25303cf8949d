"""The text of prompts and answers, for hosts that opted in: made fit to be kept before anything else sees it."""

from collections.abc import Callable

from genux._guard import Guard
from genux.errors import UsageError
from genux.wire import MAX_CAPTURED_LENGTH, CallText

__all__ = ["TextCapture"]


class TextCapture:
    """Keeps text when both the host and the project want it.

    Args:
        redact: the host's function, given each text whole, on the thread that made the call; what it answers is kept.
        allowed: whether the project keeps text.
        guard: where a failing redactor is counted.
    """

    def __init__(self, redact: Callable[[str], str] | None, allowed: Callable[[], bool], guard: Guard) -> None:
        self._redact: Callable[[str], object] | None = redact
        self._allowed = allowed
        self._guard = guard

    def now(self) -> "Callable[[str, str], CallText | None] | None":
        """What makes the text of a call that begins now fit to be kept; None when none is kept."""
        if self._allowed():
            return self._keep
        self._guard.say_once("text", "text is captured only once the project on the service allows it; keeping none")
        return None

    def _keep(self, prompt: str, answer: str) -> CallText | None:
        try:
            return CallText(prompt=self._fit(prompt), answer=self._fit(answer))
        except Exception as error:  # noqa: BLE001 the redactor is the host's code; its message may hold the text
            self._guard.failed("redact", UsageError("redactor_failed", f"{type(error).__name__}; the text is not kept"))
            return None

    def _fit(self, text: str) -> str:
        redacted = self._redact(text) if text and self._redact is not None else text
        if not isinstance(redacted, str):
            raise TypeError
        # Cut after redaction: half a secret is not recognised as one. The service takes neither NUL nor half a pair.
        return redacted[:MAX_CAPTURED_LENGTH].replace("\0", "\ufffd").encode(errors="replace").decode()
