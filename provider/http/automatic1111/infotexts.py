"""The text and JSON in which Automatic1111's answers describe finished pictures; they hold the prompt.

They go to the client that sent the prompt and nowhere else: not into the picture's metadata either, whose hash stands
in the receipt.
"""

import json
from datetime import UTC, datetime
from typing import Any

from provider.generation import ImageRequest
from provider.http.automatic1111.samplers import sampler_of
from provider.jobs.answers import FinishedAnswer


def info_json(request: ImageRequest, answer: FinishedAnswer, *, batch_size: int, version: str) -> str:
    """The `info` member of an answer."""
    sampler, _ = sampler_of(request.scheduler)
    count = len(answer.seeds)
    fields: dict[str, Any] = {
        "prompt": request.prompt,
        "all_prompts": [request.prompt] * count,
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [request.negative_prompt] * count,
        "seed": answer.seeds[0],
        "all_seeds": list(answer.seeds),
        "subseed": answer.seeds[0],
        "all_subseeds": list(answer.seeds),
        "subseed_strength": 0,
        "width": request.width,
        "height": request.height,
        "sampler_name": sampler,
        "cfg_scale": request.guidance,
        "steps": request.steps,
        "batch_size": batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": answer.model,
        "sd_model_hash": None,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": None if request.source is None else request.source.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [infotext(request, seed, model=answer.model, version=version) for seed in answer.seeds],
        "styles": [],
        "job_timestamp": timestamp(answer.created_at_s),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": version,
    }
    return json.dumps(fields)


def infotext(request: ImageRequest, seed: int, *, model: str, version: str) -> str:
    """The lines that people paste elsewhere to have the same picture again."""
    sampler, schedule_type = sampler_of(request.scheduler)
    facts = {
        "Steps": request.steps,
        "Sampler": sampler,
        "Schedule type": schedule_type,
        "CFG scale": request.guidance,
        "Seed": seed,
        "Size": f"{request.width}x{request.height}",
        "Model": model,
    }
    if request.source is not None:
        facts["Denoising strength"] = request.source.strength
    facts["Version"] = version
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in facts.items()))
    return "\n".join(lines)


def timestamp(unix_s: float) -> str:
    """Their form of a time, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y%m%d%H%M%S")
