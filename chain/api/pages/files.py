"""Templates and static files of the pages, read once, and the headers that they go out with."""

import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

from fastapi import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",  # Wallets name themselves with an icon of this kind (EIP-6963).
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",  # Nobody lays a page of theirs over the button that signs.
}
HEADERS: Final = {
    "Content-Security-Policy": "; ".join(f"{name} {source}" for name, source in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class StaticFile(NamedTuple):
    """One file as it is sent."""

    octets: bytes
    media_type: str
    etag: str


def read_static_files() -> dict[str, StaticFile]:
    """All of `static/`, by path below it: no path of a request ever reaches the disk."""
    found: dict[str, StaticFile] = {}
    folders = [("", files("chain.api.pages") / "static")]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            name = prefix + entry.name
            if entry.is_dir():
                folders.append((f"{name}/", entry))
                continue
            octets = entry.read_bytes()
            media_type = _MEDIA_TYPES["." + entry.name.rsplit(".", 1)[-1]]
            found[name] = StaticFile(octets, media_type, f'"{hashlib.sha256(octets).hexdigest()[:32]}"')
    return found


def templates() -> Environment:
    """Everything that a template shows is escaped: assets' names are their issuers' words."""
    folder = files("chain.api.pages") / "templates"
    return Environment(
        loader=FileSystemLoader(str(folder)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_response(text: str, status: int = 200) -> Response:
    """A page: as of now, so nobody keeps it."""
    return Response(text, status, {**HEADERS, "Cache-Control": "no-store"}, "text/html; charset=utf-8")


def static_response(file: StaticFile, known_etags: str | None) -> Response:
    """A static file, or 304 where the browser has it: asked for each time, so that an updated node is seen at once."""
    headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": file.etag}
    if known_etags is not None and (known_etags.strip() == "*" or file.etag in known_etags):
        return Response(status_code=304, headers=headers)
    return Response(file.octets, 200, headers, file.media_type)
