"""`/` and `/static/…`: read once, sent with a strict content-security policy."""

import hashlib
from importlib.resources import files
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Header, Path, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from chain.web.application import create_router
from chain.web.problems import not_found
from hub.http.parts import HubParts

_READING: Final = ["GET", "HEAD"]
_MEDIA_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",  # Previews come as data, pictures as blobs that were fetched with the key.
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
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


def page_routes(parts: HubParts) -> APIRouter:
    """None of it is part of the API."""
    router = create_router(tag="pages")
    static_files = read_static_files()
    page = _page(parts)

    @router.api_route("/", methods=_READING, include_in_schema=False)
    async def get_page() -> Response:
        return Response(page, 200, {**HEADERS, "Cache-Control": "no-store"}, "text/html; charset=utf-8")

    @router.api_route("/static/{name}", methods=_READING, include_in_schema=False)
    async def get_static(
        name: Annotated[str, Path(max_length=100)], if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        file = static_files.get(name)
        if file is None:
            raise not_found("no file has this name")
        headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": file.etag}
        if if_none_match is not None and file.etag in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(file.octets, 200, headers, file.media_type)

    return router


def read_static_files() -> dict[str, StaticFile]:
    """All of `static/` by name: no path of a request ever reaches the disk."""
    found: dict[str, StaticFile] = {}
    for entry in (files("hub.http.pages") / "static").iterdir():
        octets = entry.read_bytes()
        media_type = _MEDIA_TYPES[entry.name.rpartition(".")[2]]
        found[entry.name] = StaticFile(octets, media_type, f'"{hashlib.sha256(octets).hexdigest()[:32]}"')
    return found


def _page(parts: HubParts) -> str:
    environment = Environment(
        loader=FileSystemLoader(str(files("hub.http.pages") / "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("hub.html")
    return template.render(hub_id=parts.hub_id, chain_id=parts.chain_id, attester=parts.attester, version=parts.version)
