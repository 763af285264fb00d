"""The job file: all that its client knows of a finished job, for `aitbc provider verify` and for later disputes.

It holds the prompt and the salt under which the receipt hides it, so it is for its owner's eyes.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_hex
from provider.ordering.verification import Pictures

VERSION: Final = 1
SUFFIX: Final = ".job.json"


def job_file_object(
    made: Pictures, *, provider_url: str, file_names: Sequence[str], source_name: str | None
) -> dict[str, Any]:
    """The JSON object. `file_names` of the pictures and `source_name` are relative to the job file's folder."""
    order = made.order
    return {
        "version": VERSION,
        "provider_url": provider_url,
        "receipt": made.receipt.to_object(),
        "receipt_hash": to_hex(made.receipt_hash),
        "provider_signature": to_hex(made.provider_signature),
        "prompt_salt": to_hex(made.prompt_salt),
        "request": {
            "prompt": order.prompt,
            "negative_prompt": order.negative_prompt,
            "steps": order.steps,
            "guidance": order.guidance,
            "width": order.width,
            "height": order.height,
            "seed": made.seeds[0],
            "count": order.count,
            "scheduler": order.scheduler,
            "model": made.model,
            "strength": None if order.source is None else order.strength,
            "source_sha256": None if order.source is None else sha256(order.source).hex(),
            "format": order.output_format,
            "quality": order.quality,
        },
        "parameters": order.parameters(made.prompt_salt).to_object(),
        "source": source_name,
        "profiles": list(made.profiles) or None,
        "client_request": None if made.claim is None else made.claim.to_object(),
        "pictures": [
            {"file": name, "seed": seed, "sha256": hashlib.sha256(picture).hexdigest()}
            for name, seed, picture in zip(file_names, made.seeds, made.pictures, strict=True)
        ],
    }
