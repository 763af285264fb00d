"""Automatic1111's API in one router: pictures and their progress, and what clients fill their menus with."""

from fastapi import APIRouter

from provider.http.automatic1111.choices import ModelChoices
from provider.http.automatic1111.errors import ERROR_RESPONSES, Automatic1111Route
from provider.http.automatic1111.menus import add_menu_routes
from provider.http.automatic1111.pictures import add_picture_routes
from provider.http.guard import Guard
from provider.http.parts import ProviderParts


def create_automatic1111_router(parts: ProviderParts, guard: Guard) -> APIRouter:
    """The router; every route but the ping asks for a key."""
    router = APIRouter(
        prefix="/sdapi/v1", tags=["automatic1111"], route_class=Automatic1111Route, responses=ERROR_RESPONSES
    )
    choices = ModelChoices(tuple(parts.settings.public_models))
    add_picture_routes(router, parts, guard, choices)
    add_menu_routes(router, guard, choices)
    outer = APIRouter()
    outer.include_router(router)

    @outer.get("/internal/ping", tags=["automatic1111"], summary="Whether anybody is there")
    async def ping() -> dict[str, str]:
        return {}

    return outer
