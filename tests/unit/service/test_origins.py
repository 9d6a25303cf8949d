import pytest

from genux.errors import ServiceError
from genux_server.service.origins import allows, join_origins, parse_origin, split_origins


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.com/", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("*", "*"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(written, origin):
    assert parse_origin(written) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app.example.com",
        "https://",
        "https://app.example.com/page",
        "https://app.example.com?x",
        "https://user:pw@app.example.com",
        "https://a b",
        "https://*.example.com",
        "https://exämple.com",
        "https://x:99999",
        "file:///x",
        "null",
        "https://a\nhttps://b",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ServiceError, match="is no origin"):
        parse_origin(text)


def test_a_list_is_stored_once_each_and_comes_back():
    stored = join_origins(["https://b.example", "https://a.example/", "https://b.example:443"])
    assert split_origins(stored) == ("https://b.example", "https://a.example")
    assert split_origins(join_origins([])) == ()


def test_only_the_same_origin_is_allowed_and_a_star_allows_all():
    origins = ("https://a.example",)
    assert allows(origins, "https://a.example")
    for other in ("http://a.example", "https://a.example:8443", "https://a.example.evil.com", "null", ""):
        assert not allows(origins, other)
        assert allows(("*",), other)
