"""What clients of Automatic1111's API fill their menus with, and the one option that can be set: the model.

Lists of things that this provider does not have are there and empty: clients ask for them when they connect, and take a
404 for another kind of server.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends

from provider.api_keys import Caller
from provider.errors import UnknownModel
from provider.http.automatic1111.choices import ModelChoices
from provider.http.automatic1111.pictures import PREVIEW_EVERY_STEPS
from provider.http.automatic1111.samplers import SAMPLERS, SCHEDULE_TYPES
from provider.http.automatic1111.schemas import CHECKPOINT, ModelItem, SamplerItem, SchedulerItem
from provider.http.guard import Guard

_EMPTY: Final[dict[str, Any]] = {
    "sd-vae": [],
    "loras": [],
    "hypernetworks": [],
    "latent-upscale-modes": [],
    "face-restorers": [],
    "realesrgan-models": [],
    "prompt-styles": [],
    "script-info": [],
    "extensions": [],
    "embeddings": {"loaded": {}, "skipped": {}},
    "scripts": {"txt2img": [], "img2img": []},
    "memory": {"ram": {}, "cuda": {}},
}
"""By path, what is answered; SillyTavern and the Python client read the last three's members."""

_NO_UPSCALER: Final = {"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 1.0}
_FLAGS: Final[dict[str, Any]] = {"api": True, "nowebui": True, "api_log": False, "listen": True, "share": False}


def add_menu_routes(router: APIRouter, guard: Guard, choices: ModelChoices) -> None:
    """Adds the lists, `/options`, `/cmd-flags` and `/refresh-…`."""
    by_key = Depends(guard.by_basic_or_bearer)
    for path, answer in _EMPTY.items():
        router.add_api_route(
            f"/{path}", _always(answer), dependencies=[by_key], summary="Nothing of this kind here", name=path
        )

    @router.get("/sd-models", summary="The models that are served", dependencies=[by_key])
    async def models() -> list[ModelItem]:
        return [ModelItem(title=name, model_name=name, filename=name) for name in choices.names]

    @router.get("/samplers", summary="The samplers", dependencies=[by_key])
    async def samplers() -> list[SamplerItem]:
        return [
            SamplerItem(
                name=sampler.name,
                aliases=list(sampler.aliases),
                options={"scheduler": "karras"} if sampler.is_karras_by_default else {},
            )
            for sampler in SAMPLERS
        ]

    @router.get("/schedulers", summary="The schedule types of noise levels", dependencies=[by_key])
    async def schedulers() -> list[SchedulerItem]:
        return [SchedulerItem(name=name, label=label) for name, label in SCHEDULE_TYPES.items()]

    @router.get("/upscalers", summary="None but the one that does nothing", dependencies=[by_key])
    async def upscalers() -> list[dict[str, str | float | None]]:
        return [_NO_UPSCALER]

    @router.get("/cmd-flags", summary="How that program would have been started", dependencies=[by_key])
    async def flags() -> dict[str, Any]:
        return _FLAGS

    @router.get("/options", summary="The caller's own options")
    async def options(caller: Annotated[Caller, by_key]) -> dict[str, Any]:
        return {
            CHECKPOINT: choices.of(caller),
            "sd_checkpoint_hash": None,
            "sd_vae": "Automatic",
            "CLIP_stop_at_last_layers": 1,
            "samples_format": "png",
            "live_previews_enable": True,
            "show_progress_every_n_steps": PREVIEW_EVERY_STEPS,
        }

    @router.post("/options", summary=f"Choose a model with `{CHECKPOINT}`; other options are ignored")
    async def set_options(wanted: dict[str, Any], caller: Annotated[Caller, by_key]) -> None:
        name = wanted.get(CHECKPOINT)
        if name is None or name == "":
            return
        if not isinstance(name, str):
            raise UnknownModel(f"{CHECKPOINT} must be a model's name")
        choices.choose(caller, name)

    @router.post("/refresh-checkpoints", summary="Nothing to do", dependencies=[by_key])
    async def refresh_checkpoints() -> None:
        return None

    @router.post("/refresh-loras", summary="Nothing to do", dependencies=[by_key])
    async def refresh_loras() -> None:
        return None


def _always(answer: Any) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def endpoint() -> Any:
        return answer

    return endpoint
