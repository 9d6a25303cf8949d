"""Every surface beside chat and responses: what its caller asks, what the server answers, what must be recorded.

name: (path, what the server answers, resource, method, arguments, operation, tokens, cost or the reason for none)
"""

import io

from genux.wire import Tokens

__all__ = ["SURFACES"]

PICTURE = {"created": 1, "data": [{"b64_json": "aGk="}], "model": "gpt-image-1"}
PICTURE_USAGE = {
    "input_tokens": 60,
    "output_tokens": 1_000,
    "total_tokens": 1_060,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 50},
}
HEARD = {
    "type": "tokens",
    "input_tokens": 1_000,
    "output_tokens": 100,
    "total_tokens": 1_100,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 1_000},
}
FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 3,
    "created_at": 1,
    "filename": "in.jsonl",
    "purpose": "batch",
    "status": "processed",
}
BATCH = {
    "id": "batch_9",
    "object": "batch",
    "completion_window": "24h",
    "created_at": 1,
    "endpoint": "/v1/responses",
    "input_file_id": "file-1",
    "status": "validating",
}
TEXT = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt-3.5-turbo-instruct"}
USED = {"prompt_tokens": 1_000, "completion_tokens": 500, "total_tokens": 1_500}


def text_chunks(request):
    asked = (request.get("stream_options") or {}).get("include_usage")
    if not request.get("stream"):
        return {
            **TEXT,
            "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop", "logprobs": None}],
            "usage": USED,
        }
    texts = [("H", None), ("i", None), ("", "stop")]
    chunks = [
        {**TEXT, "choices": [{"index": 0, "text": text, "finish_reason": reason, "logprobs": None}]}
        for text, reason in texts
    ]
    return (
        [*({**chunk, "usage": None} for chunk in chunks), {**TEXT, "choices": [], "usage": USED}] if asked else chunks
    )


def pictures(request):
    if not request.get("stream"):
        return {**PICTURE, "usage": PICTURE_USAGE}
    common = {"b64_json": "aGk=", "created_at": 1, "size": "1024x1024", "quality": "low", "background": "opaque"}
    partial = {"type": "image_generation.partial_image", "partial_image_index": 0, "output_format": "png", **common}
    done = {"type": "image_generation.completed", "output_format": "png", **common, "usage": PICTURE_USAGE}
    return [partial, {**partial, "partial_image_index": 1}, done]


def transcript(request):
    if not request.get("stream"):
        return {"text": "Hi there", "usage": HEARD}
    delta = {"type": "transcript.text.delta", "delta": "Hi "}
    return [delta, {**delta, "delta": "there"}, {"type": "transcript.text.done", "text": "Hi there", "usage": HEARD}]


def listing(request):
    return {"object": "list", "data": [FILE], "has_more": False, "first_id": "file-1", "last_id": "file-1"}


def sound():
    return ("hi.wav", io.BytesIO(b"RIFF"), "audio/wav")


SURFACES = {
    "completions": (
        "/completions",
        text_chunks,
        lambda client: client.completions,
        "create",
        lambda: {"model": "gpt-3.5-turbo-instruct", "prompt": "Say hi"},
        "completions",
        Tokens(input=1_000, output=500),
        "0.0025",
    ),
    "embeddings": (
        "/embeddings",
        {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": [{"object": "embedding", "index": 0, "embedding": "AACAPwAAAEA="}],
            "usage": {"prompt_tokens": 500_000, "total_tokens": 500_000},
        },
        lambda client: client.embeddings,
        "create",
        lambda: {"model": "text-embedding-3-small", "input": ["a"]},
        "embeddings",
        Tokens(input=500_000),
        "0.01",
    ),
    "images": (
        "/images/generations",
        pictures,
        lambda client: client.images,
        "generate",
        lambda: {"model": "gpt-image-1", "prompt": "a cat"},
        "images",
        {"input": 60, "output": 1_000},
        "0.04055",  # 10 * 5 + 50 * 10 + 1,000 * 40, in millionths
    ),
    "edits": (
        "/images/edits",
        {**PICTURE, "usage": PICTURE_USAGE},
        lambda client: client.images,
        "edit",
        lambda: {"model": "gpt-image-1", "prompt": "a dog", "image": ("a.png", io.BytesIO(b"PNG"), "image/png")},
        "images",
        {"input": 60, "output": 1_000},
        "0.04055",  # 10 * 5 + 50 * 10 + 1,000 * 40, in millionths
    ),
    "speech": (
        "/audio/speech",
        b"RIFF....",
        lambda client: client.audio.speech,
        "create",
        lambda: {"model": "tts-1", "voice": "alloy", "input": "Hi"},
        "audio.speech",
        None,
        "unsupported_modality",
    ),
    "transcriptions": (
        "/audio/transcriptions",
        transcript,
        lambda client: client.audio.transcriptions,
        "create",
        lambda: {"model": "gpt-4o-transcribe", "file": sound()},
        "audio.transcriptions",
        Tokens(input=1_000, output=100, input_audio=1_000),
        "0.007",
    ),
    "translations": (
        "/audio/translations",
        "Hi there",
        lambda client: client.audio.translations,
        "create",
        lambda: {"model": "whisper-1", "file": sound(), "response_format": "text"},
        "audio.translations",
        None,
        "no_usage",
    ),
    "moderations": (
        "/moderations",
        {"id": "modr-1", "model": "omni-moderation-latest", "results": []},
        lambda client: client.moderations,
        "create",
        lambda: {"model": "omni-moderation-latest", "input": "Hi"},
        "moderations",
        None,
        "0",
    ),
    "upload": (
        "/files",
        FILE,
        lambda client: client.files,
        "create",
        lambda: {"file": ("in.jsonl", io.BytesIO(b"{}"), "application/jsonl"), "purpose": "batch"},
        "files.post",
        None,
        "0",
    ),
    "files": ("/files", listing, lambda client: client.files, "list", dict, "files.get", None, "0"),
    "download": (
        "/files/file-1/content",
        b'{"id": 1}',
        lambda client: client.files,
        "content",
        lambda: {"file_id": "file-1"},
        "files.get",
        None,
        "0",
    ),
    "deletion": (
        "/files/file-1",
        {"id": "file-1", "object": "file", "deleted": True},
        lambda client: client.files,
        "delete",
        lambda: {"file_id": "file-1"},
        "files.delete",
        None,
        "0",
    ),
    "batches": (
        "/batches",
        BATCH,
        lambda client: client.batches,
        "create",
        lambda: {"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"},
        "batches.post",
        None,
        "0",
    ),
    "poll": (
        "/batches/batch_9",
        BATCH,
        lambda client: client.batches,
        "retrieve",
        lambda: {"batch_id": "batch_9"},
        "batches.get",
        None,
        "0",
    ),
    "token count": (
        "/responses/input_tokens",
        {"object": "response.input_tokens", "input_tokens": 12},
        lambda client: client.responses.input_tokens,
        "count",
        lambda: {"model": "gpt-5-mini", "input": "Hi"},
        "responses.count",
        None,
        "0",
    ),
    "compaction": (
        "/responses/compact",
        {
            "id": "resp_c",
            "object": "response.compaction",
            "created_at": 1,
            "output": [],
            "usage": {
                "input_tokens": 1_000_000,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 1_000_000,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 2_000_000,
            },
        },
        lambda client: client.responses,
        "compact",
        lambda: {"model": "gpt-5-mini", "input": "Hi"},
        "responses.compact",
        Tokens(input=1_000_000, output=1_000_000),
        "2.25",
    ),
}
