"""One picture of a job: for its client by key, for anybody by a signed link."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Response

from chain.web.application import create_router
from chain.web.problems import Problem, not_found
from hub.http.job_routes import own_job
from hub.http.parts import HubParts
from hub.orders.request import MAX_PICTURES
from hub.store import results

_HEADERS: Final = {
    "Cache-Control": "private, max-age=3600",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_PICTURE: Final = {"schema": {"type": "string", "format": "binary"}}
_MEDIA: Final = {"content": {"image/png": _PICTURE, "image/jpeg": _PICTURE, "image/webp": _PICTURE}}


def picture_routes(parts: HubParts) -> APIRouter:
    """Under /v1/jobs."""
    router = create_router(prefix="/v1/jobs", tag="jobs")

    @router.get(
        "/{job_id}/pictures/{number}", summary="A picture", response_class=Response, responses={200: {**_MEDIA}}
    )
    async def get_picture(
        job_id: str,
        number: Annotated[int, Path(ge=0, lt=MAX_PICTURES)],
        authorization: Annotated[str | None, Header()] = None,
        expires: Annotated[int | None, Query(ge=0, le=2**53, description="Of a signed link.")] = None,
        signature: Annotated[str | None, Query(max_length=64, description="Of a signed link.")] = None,
    ) -> Response:
        if expires is not None and signature is not None:
            if not parts.links.is_good(job_id, number, expires, signature):
                raise Problem(403, "link_expired", "this link has expired, or is not this hub's", field="signature")
        else:
            await own_job(parts, job_id, parts.guard.reader_of(authorization))
        rows = await parts.store.read(lambda r: results.pictures(r, job_id))
        row = next((each for each in rows if each.picture == number), None)
        if row is None:
            raise not_found("this picture is not there (yet)", field="number")
        content = await parts.artifacts.read(row.sha256)
        if content is None:
            raise Problem(410, "picture_gone", "the picture is not kept here any more", field="number")
        return Response(content, media_type=row.media_type, headers=_HEADERS)

    return router
