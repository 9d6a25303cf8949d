"""What is not counted in tokens: images, audio and text turned into speech, as the OpenAI API reports them."""

import http.server
import json
import threading

import openai
import pytest

from genux.llm import manual_call, wrap
from genux.wire import Amounts, Tokens

IMAGE_USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 1_056,
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 1_056},
    "total_tokens": 1_106,
}
ANSWERS = {
    "/images/generations": {
        "created": 1,
        "data": [{"b64_json": "aaaa"}, {"b64_json": "bbbb"}],
        "usage": IMAGE_USAGE,
    },
    "/audio/transcriptions": {"text": "hello", "usage": {"type": "duration", "seconds": 12}},
    "/audio/speech": b"\xff\xfb sound",
}


class Answering(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = ANSWERS[self.path]
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg" if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def client(recorder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client:
        yield wrap(client, recorder)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("raw", [False, True])
def test_images_are_counted_beside_their_tokens(client, recorder, raw):
    images = client.images.with_raw_response if raw else client.images
    images.generate(model="gpt-image-1", prompt="an owl", n=2)
    call = recorder.only()
    assert call.amounts == Amounts(images=2)
    assert call.tokens == Tokens(input=50, input_image=40, output=1_056, output_image=1_056)


def test_transcribed_audio_is_counted_in_seconds(client, recorder):
    client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"sound"))
    call = recorder.only()
    assert (call.amounts, call.tokens) == (Amounts(audio_seconds=12.0), None)


def test_speech_is_counted_in_characters_of_its_text(client, recorder):
    client.audio.speech.create(model="tts-1", voice="alloy", input="안녕, owl")
    call = recorder.only()
    assert (call.amounts, call.tokens) == (Amounts(characters=7), None)


def test_a_call_that_others_are_made_inside_of_used_what_they_used(client, recorder):
    with manual_call(recorder, model="pipeline"):
        client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"sound"))
        client.audio.speech.create(model="tts-1", voice="alloy", input="owl")
    assert recorder.only().amounts == Amounts(audio_seconds=12.0, characters=3)


def test_amounts_are_reported_by_hand_as_well(recorder):
    with manual_call(recorder, model="painter", operation="images") as call:
        call.usage(images=3, audio_seconds=1.5, characters=7)
    assert recorder.only().amounts == Amounts(images=3, audio_seconds=1.5, characters=7)
    assert recorder.only().tokens is None
