"""What failures mean for a target, told by the exceptions that openai raises."""

import datetime as dt

import httpx2
import openai
import pytest

from genux.llm._verdict import retry_after_seconds, verdict_of, verdict_of_event

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
REQUEST = httpx2.Request("POST", "http://localhost/v1/chat/completions")


def raised(status, code=None, headers=None, **error):
    """The exception for an answer, made as openai makes it."""
    body = {"error": {"message": "m", "type": None, "param": None, "code": code, **error}}
    response = httpx2.Response(status, json=body, headers=headers or {}, request=REQUEST)
    return openai.OpenAI(api_key="k")._make_status_error_from_response(response)


@pytest.mark.parametrize(
    ("error", "code", "effect"),
    [
        (raised(429, "rate_limit_exceeded"), "rate_limited", "cool_key"),
        (raised(429), "rate_limited", "cool_key"),
        (raised(429, "insufficient_quota"), "quota", "key_out"),
        (raised(429, type="insufficient_quota"), "quota", "key_out"),
        (raised(402), "quota", "key_out"),
        (raised(401, "invalid_api_key"), "unauthorized", "key_out"),
        (raised(403), "forbidden", "target_out"),
        (raised(404, "model_not_found"), "model_not_found", "other_model"),
        (raised(404, "DeploymentNotFound"), "model_not_found", "other_model"),
        (raised(408), "http_408", "falter"),
        (raised(409), "http_409", "falter"),
        (raised(500), "server_error", "falter"),
        (raised(503), "server_error", "falter"),
        (raised(529), "server_error", "falter"),
        (raised(425, headers={"x-should-retry": "true"}), "http_425", "falter"),
        (openai.APITimeoutError(REQUEST), "timeout", "falter"),
        (openai.APIConnectionError(request=REQUEST), "connection", "falter"),
        (openai.APIError("m", REQUEST, body={"code": "server_error"}), "server_error", "falter"),
        (openai.APIError("m", REQUEST, body={"code": 502}), "server_error", "falter"),
        (openai.APIError("m", REQUEST, body={"code": "rate_limit_exceeded"}), "rate_limited", "cool_key"),
    ],
)
def test_a_failure_of_the_provider_sends_the_request_elsewhere(error, code, effect):
    verdict = verdict_of(error, NOW)
    assert (verdict.code, verdict.effect) == (code, effect)


@pytest.mark.parametrize(
    "error",
    [
        raised(400, "context_length_exceeded"),
        raised(404),
        raised(413),
        raised(422),
        raised(400, "content_filter", headers={"x-should-retry": "false"}),
        raised(403, "content_policy_violation"),
        raised(403, metadata={"flagged_input": "what a person wrote"}),
        openai.APIError("m", REQUEST, body={"code": "invalid_prompt"}),
        openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), None),
        ValueError("the caller's own parser"),
        KeyboardInterrupt(),
    ],
)
def test_a_failure_of_the_request_is_the_callers(error):
    assert verdict_of(error, NOW) is None


def test_a_failed_response_is_judged_by_its_code():
    assert verdict_of_event("rate_limit_exceeded").effect == "cool_key"
    assert verdict_of_event("server_error").effect == "falter"
    assert verdict_of_event("invalid_prompt") is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "Mon, 23 Nov 2026 00:00:40 GMT"}, 40.0),
        ({"retry-after": "Sun, 22 Nov 2026 23:59:00 GMT"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms_and_no_nonsense_is_believed(headers, seconds):
    assert retry_after_seconds(httpx2.Headers(headers), NOW) == seconds


def test_what_the_provider_says_of_waiting_and_staying_away_is_kept():
    verdict = verdict_of(raised(503, headers={"retry-after": "7", "x-should-retry": "false"}), NOW)
    assert (verdict.retry_after_seconds, verdict.final_here) == (7.0, True)
