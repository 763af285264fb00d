"""The reader of forms: what httpx sends comes out as it went in, and nothing else does harm."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.web.problems import Problem
from provider.http.openai.multipart import MAX_PARTS, FormPart, parse_form


def encoded(data: dict[str, str], files: dict[str, bytes]) -> tuple[str, bytes]:
    parts = {name: (f"{name}.bin", content) for name, content in files.items()}
    request = httpx.Request("POST", "http://x/", data=data, files=parts)
    return request.headers["content-type"], request.read()


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=50)), st.binary(max_size=2000))
def test_what_a_client_sends(data: dict[str, str], content: bytes) -> None:
    parts = parse_form(*encoded(data, {"image": content}))
    assert {part.name: part.content.decode() for part in parts if not part.is_file} == data
    assert [part.content for part in parts if part.is_file] == [content]


def test_line_ends_belong_to_the_content() -> None:
    content = b"\r\n--\r\n\r\na\r\n"
    assert parse_form(*encoded({}, {"image": content}))[0] == FormPart("image", content, is_file=True)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 415),
        ("application/json", 415),
        ("multipart/form-data", 415),
        ("multipart/mixed; boundary=x", 415),
        ("multipart/form-data; boundary=", 415),
        ("multipart/form-data; boundary=" + "x" * 100, 415),
        ("multipart/form-data; boundary=x", 400),
    ],
)
def test_what_is_no_form(content_type: str, status: int) -> None:
    with pytest.raises(Problem) as problem:
        parse_form(content_type, b"nothing of the kind")
    assert problem.value.status == status


def test_too_many_fields() -> None:
    field = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    content_type = "multipart/form-data; boundary=x"
    assert len(parse_form(content_type, field * MAX_PARTS + b"--x--\r\n")) == MAX_PARTS
    with pytest.raises(Problem, match="at most"):
        parse_form(content_type, field * (MAX_PARTS + 1) + b"--x--\r\n")


def test_a_form_that_is_cut_off() -> None:
    content_type, body = encoded({"a": "1"}, {"image": b"0123456789"})
    for length in range(len(body) - 4):
        with pytest.raises(Problem):
            parse_form(content_type, body[:length])


@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    try:
        parts = parse_form("multipart/form-data; boundary=x", b"--x" + body + b"\r\n--x--")
    except Problem as problem:
        status = problem.status
    else:
        status = 200 if 1 <= len(parts) <= MAX_PARTS else 500
    assert status in (200, 400)
