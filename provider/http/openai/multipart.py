"""Reads `multipart/form-data` (RFC 7578), which the SDKs upload pictures in: bounded, whole, and in one pass.

The body is in memory already and bounded by the application; here the number of parts and the size of their headers
are. Written for this one use: no nested parts, no transfer encodings, no `filename*`.
"""

import re
from dataclasses import dataclass
from typing import Final

from chain.web.problems import Problem

MAX_PARTS: Final = 64
_MAX_HEADER_BYTES: Final = 4096
_BOUNDARY: Final = re.compile(
    r'multipart/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))(?=\s*(?:;|$))', re.IGNORECASE
)
_PARAMETER: Final = re.compile(rb';\s*(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


@dataclass(frozen=True)
class FormPart:
    """One field of a form; `is_file` where it came with a file name."""

    name: str
    content: bytes
    is_file: bool


def parse_form(content_type: str, body: bytes) -> list[FormPart]:
    """The parts in their order; raises Problem 400 or 415 for anything that is no form."""
    match = _BOUNDARY.match(content_type.strip())
    if match is None:
        raise Problem(415, "unsupported_media_type", "send multipart/form-data", field="Content-Type")
    delimiter = b"\r\n--" + (match[1] or match[2]).encode("latin-1")
    # The first delimiter stands at the very beginning, without a line end of its own.
    pieces = (b"\r\n" + body).split(delimiter, MAX_PARTS + 2)
    if len(pieces) > MAX_PARTS + 2:
        raise _malformed(f"a form has at most {MAX_PARTS} fields")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise _malformed("the form does not end as its boundary says")
    return [_parse_part(piece) for piece in pieces[1:-1]]


def _parse_part(piece: bytes) -> FormPart:
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator or len(head) > _MAX_HEADER_BYTES:
        raise _malformed("a part of the form has no headers, or too many")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-disposition:"):
            parameters = {name.lower(): value for name, value in _PARAMETER.findall(line)}
            if b"name" in parameters:
                return FormPart(_text(parameters[b"name"]), content, b"filename" in parameters)
    raise _malformed("a part of the form has no name")


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("the name of a part is not UTF-8") from None


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed", detail, field="body")
