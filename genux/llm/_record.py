"""What a finished probe leaves: the call's record, or its place among the attempts of another call."""

from typing import TYPE_CHECKING, Literal

from genux.wire import Amounts, Attempt, Call, CallText, Tokens

if TYPE_CHECKING:
    from genux.llm._probe import Probe

__all__ = ["Status", "attempt_of", "call_of", "retried_attempt"]

Status = Literal["ok", "error", "cancelled", "abandoned"]

# What openai would have raised for the statuses that it tries again.
_STATUS_ERRORS = {
    408: "APIStatusError",
    409: "ConflictError",
    429: "RateLimitError",
    **dict.fromkeys(range(500, 600), "InternalServerError"),
}


def attempt_of(
    probe: "Probe",
    status: Status,
    latency_seconds: float,
    tokens: Tokens | None,
    *,
    target: str = "",
    key_id: str = "",
    waited_seconds: float = 0.0,
) -> Attempt:
    """The probe as one try of its own call or of another; along a route, at which target and after which wait."""
    return Attempt(
        target=target,
        key_id=key_id,
        model=probe.served_model or probe.requested_model,
        provider=probe.provider,
        status=status,
        error_type=probe.error_type,
        http_status=probe.http_status,
        latency_seconds=latency_seconds,
        waited_seconds=waited_seconds,
        tokens=tokens,
    )


def retried_attempt(
    probe: "Probe", error: BaseException | None, latency_seconds: float, waited_seconds: float
) -> Attempt:
    """A try that the client's own loop gave up.

    Args:
        probe: the call.
        error: what ended the attempt, as the HTTP library raised it.
        latency_seconds: how long it took.
        waited_seconds: how long the loop waits before the next.
    """
    http_status = getattr(getattr(error, "response", None), "status_code", 0)
    return Attempt(
        model=probe.requested_model,
        provider=probe.provider,
        status="error",
        error_type=_STATUS_ERRORS.get(http_status) or type(error).__name__,
        http_status=http_status,
        latency_seconds=latency_seconds,
        waited_seconds=waited_seconds,
    )


def _text_of(probe: "Probe") -> CallText | None:
    keep = probe.context.keep_text
    if keep is None or not (probe.prompt_text or probe.answer_text):
        return None
    return keep(probe.prompt_text, probe.answer_text)


def _amounts_of(probe: "Probe") -> Amounts | None:
    if not (probe.images or probe.audio_seconds or probe.characters):
        return None
    return Amounts(images=probe.images, audio_seconds=probe.audio_seconds, characters=probe.characters)


def call_of(
    probe: "Probe", status: Status, now: float, *, routed: list[Attempt] | None = None, fallback_reason: str = ""
) -> Call:
    """The record.

    Args:
        probe: the call, whose tokens and attempts are complete.
        status: how it ended.
        now: `perf_counter()` of the last byte that the app read.
        routed: every attempt of a call along a route, in place of the probe's own.
        fallback_reason: why another model answered than was intended; empty when none did.
    """
    context = probe.context
    attempts = probe.attempts if routed is None else routed
    if routed is None and attempts and attempts[-1].waited_seconds:
        # The loop's last try: its tokens are the call's, so they are not repeated here.
        attempts = [*attempts, attempt_of(probe, status, max(now - probe.attempt_at, 0.0), None)]
    return Call(
        event_id=probe.event_id or probe.call_id,
        call_id=probe.call_id,
        at=probe.at,
        unit_id=context.unit_id,
        unit_kind=context.unit_kind,
        units=context.units,
        feature=probe.feature or context.feature,
        operation=probe.operation,
        provider=probe.provider,
        requested_model=probe.requested_model,
        served_model=probe.served_model,
        service_tier=probe.service_tier,
        streaming=probe.streaming,
        status=status,
        error_type=probe.error_type,
        http_status=probe.http_status,
        latency_seconds=max(now - probe.started, 0.0),
        ttfb_seconds=probe.first_at - probe.started if probe.first_at else None,
        ttft_seconds=probe.first_content_at - probe.started if probe.first_content_at else None,
        chunks=probe.chunks,
        tokens=probe.tokens,
        amounts=_amounts_of(probe),
        usage_reason=probe.usage_reason,
        prompt=probe.prompt,
        prompt_version=probe.prompt_version,
        text=_text_of(probe),
        attempts=attempts,
        fallback=bool(fallback_reason),
        fallback_reason=fallback_reason,
        retrieval=probe.retrieval,
        scores=probe.scores,
        assignments=list(context.assignments),
    )
