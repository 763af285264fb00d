"""One picture against the same one computed by another provider, from the first step to the last. Pure.

Equal bits end it. They are demanded where both declare the same profile on hardware that the profile names. Elsewhere
rounding adds up over all steps, so the latents at the end and the pixels may be apart by what was measured for the
coarser of the two precisions (docs/hub.md): less than for another seed by far, but more than for a single step.
"""

import io
import math
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from chain.primitives.latents import BYTES_OF_DTYPE, compare_latents, widened
from chain.primitives.picture_distance import EQUAL, PictureTolerance, measure_distance
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.worker_fields import PictureRun, ProfileClaim
from hub.verification.errors import FaultReason

RUN_TOLERANCE: Final = {"float32": 1e-2, "float16": 1e-1, "bfloat16": 5e-1}
"""By the coarser dtype: the relative distance that the last latents of two honest runs may have."""

RUN_PICTURES: Final = {
    "float32": PictureTolerance(1.0, (0.01, 0.001)),
    "float16": PictureTolerance(4.0, (0.1, 0.02)),
    "bfloat16": PictureTolerance(8.0, (0.25, 0.05)),
}
"""By the coarser dtype: how far their pixels may be apart."""

RUN_GROWTH: Final = {"LMSDiscreteScheduler": 50.0, "PNDMScheduler": 10.0}
"""By scheduler, if it is not 1: how many times as far two honest runs may end apart. Adams and Bashforth's method of
order four carries every rounding on; measured are 40 to 47 times in each precision, which in bfloat16 is another
picture. PNDM's first steps have factors below float16's normal numbers; measured are 0.17, and 72% of the pixels off by
more than 8 levels."""

_COARSENESS: Final = ("float32", "float16", "bfloat16")
_NAMELESS_HARDWARE: Final = "cpu"
"""A profile says no more of a CPU, and two of them need not add in the same order."""


@dataclass(frozen=True, slots=True)
class ComputedPicture:
    """A picture, and what is known of how it was made."""

    content: bytes
    profile: ProfileClaim | None = None
    """None where the provider has declared none: then it is judged as the coarsest precision."""
    latents: bytes | None = None
    """The last ones."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`fault` is None where the picture holds."""

    fault: FaultReason | None
    detail: str
    figures: dict[str, Any]
    """As JSON."""


def compare_pictures(run: PictureRun, claimed: ComputedPicture, again: ComputedPicture) -> Comparison:
    """The picture of a run of one, in the run's format, against the one that a checker has made as PNG.

    Raises Rejected where the checker's is no picture, or its latents are none.
    """
    dtype = coarser_dtype(claimed.profile, again.profile)
    _check_checker(again)
    differing = None if claimed.profile is None or again.profile is None else unlike(claimed.profile, again.profile)
    if differing is not None:
        return _unequal(FaultReason.WRONG_PROFILE, differing, dtype)
    if claimed.content == again.content:
        return Comparison(None, "", {"bit_equal": True, "dtype": dtype})
    latents = _compare_latents(claimed, again)
    if latents == 0.0 and run.image_format == "png" and demands_equal_bits(claimed.profile, again.profile):
        return _unequal(FaultReason.WRONG_PICTURE, "the same latents give another picture", dtype)
    if latents != 0.0 and demands_equal_bits(claimed.profile, again.profile):
        return _unequal(FaultReason.WRONG_LATENTS, "other bits under the same profile", dtype)
    distance = measure_distance(claimed.content, again.content)
    own = EQUAL if run.image_format == "png" else measure_distance(_encoded(again.content, run), again.content)
    bound, tolerance = _tolerances(dtype, again.profile or claimed.profile)
    figures = {"bit_equal": False, "dtype": dtype, "latents": latents, **distance.to_object()}
    if latents is not None and latents > bound:
        detail = f"the run ends {latents:.2g} away, rounding explains {bound}"
        return Comparison(FaultReason.WRONG_LATENTS, detail, figures)
    if not distance.is_explained_by(own, tolerance):
        detail = f"the pixels are {distance.mean_levels:.2g} levels off, rounding explains {tolerance.mean_levels}"
        return Comparison(FaultReason.WRONG_PICTURE, detail, figures)
    return Comparison(None, "", figures)


def unlike(claim: ProfileClaim, checker: ProfileClaim) -> str | None:
    """What a profile declares that such a run cannot have, by what the checker's says; None where there is nothing.

    Which scheduler and which size of latents follow from the request and the model, on any machine. The weights' digest
    need not be the same: the same model is kept in files of several precisions.
    """
    for name in ("scheduler", "latent_shape"):
        declared, usual = getattr(claim, name), getattr(checker, name)
        if declared != usual:
            return f"{name} is declared as {declared}, but such a run has {usual}"
    return None


def coarser_dtype(one: ProfileClaim | None, other: ProfileClaim | None) -> str:
    """Of two profiles; the coarsest where one is missing."""
    return max((_COARSENESS[-1] if each is None else each.dtype for each in (one, other)), key=_COARSENESS.index)


def demands_equal_bits(one: ProfileClaim | None, other: ProfileClaim | None) -> bool:
    """Whether both say that they compute in the same way, on hardware of the same name."""
    return one is not None and one == other and one.device_class != _NAMELESS_HARDWARE


def _tolerances(dtype: str, profile: ProfileClaim | None) -> tuple[float, PictureTolerance]:
    growth = 1.0 if profile is None else RUN_GROWTH.get(profile.scheduler, 1.0)
    pixels = RUN_PICTURES[dtype]
    return growth * RUN_TOLERANCE[dtype], PictureTolerance(
        growth * pixels.mean_levels, tuple(growth * share for share in pixels.shares)
    )


def _check_checker(again: ComputedPicture) -> None:
    """Raises Rejected for latents that are not of the checker's own profile: they must not be the provider's fault."""
    if again.latents is None or again.profile is None:
        return
    expected = math.prod(again.profile.latent_shape) * BYTES_OF_DTYPE[again.profile.dtype]
    if len(again.latents) != expected:
        detail = f"{len(again.latents)} bytes of latents, where its profile gives {expected}"
        raise Rejected(RejectionReason.MALFORMED, detail, field="latents")


def _compare_latents(claimed: ComputedPicture, again: ComputedPicture) -> float | None:
    """Their relative distance, None where either side has shown none; raises Rejected."""
    if claimed.latents is None or again.latents is None or claimed.profile is None or again.profile is None:
        return None
    first = widened(claimed.latents, claimed.profile.dtype)
    second = widened(again.latents, again.profile.dtype)
    return compare_latents(second, first, "float32").relative


def _encoded(png: bytes, run: PictureRun) -> bytes:
    """The pixels as a provider encodes them."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        picture.convert("RGB").save(buffer, format=run.image_format.upper(), quality=run.quality)
    return buffer.getvalue()


def _unequal(fault: FaultReason, detail: str, dtype: str) -> Comparison:
    return Comparison(fault, detail, {"bit_equal": False, "dtype": dtype})
