"""Whether jobs may be sent here: what a load balancer asks."""

from collections.abc import Callable

from fastapi import APIRouter

from chain.web.application import create_router
from chain.web.problems import Problem


def readiness_routes(readiness: Callable[[], str | None]) -> APIRouter:
    """`readiness`: why not, in a sentence; None where they may."""
    router = create_router(tag="operations")

    @router.get("/readyz", summary="Whether this service takes jobs")
    async def readyz() -> dict[str, str]:
        fault = readiness()
        if fault is not None:
            raise Problem(503, "not_ready", fault, headers={"Retry-After": "5"})
        return {"status": "ok"}

    return router
