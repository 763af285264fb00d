"""Whether a picture is a copy of an earlier one, and for which request each was made.

The same request again gives the same picture, and different requests may give pictures that look alike (a logo in
another seed). A file that comes again for another request is false in one of the two places. It is refused where it is
the same provider's, or where the earlier one has been checked; else the earlier one may be the false one, made so that
an honest picture of a later request looks copied. Then, and where a picture only looks like one, the answer is checked,
however rarely this provider is sampled.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from chain.primitives.worker_fields import PictureRun
from hub.verification.errors import AnswerRefused, FaultReason
from hub.verification.pictures import Look
from hub.verification.suspicion import Suspicion

MAX_DISTANCE: Final = 2
"""Of 64 bits: what counts as looking alike; docs/hub.md says how many bits copies and honest pictures are apart."""
MOST_ALIKE: Final = 3
"""Where more pictures than these look alike, that says nothing: plain motifs. Else a hub that has many small pictures
would examine every answer."""
COPIED: Final = "copied"
"""The suspicion where the same file is there for another request."""
_KEY_TAG: Final = b"aitbc/hub/run-key/1\0"
_NOT_THE_PICTURE: Final = ("count", "prompts", "seed", "image_format", "quality")
"""Fields of a run that are those of all its pictures, or of its files alone."""


class EarlierPicture(Protocol):
    """As `hub.store.perceptual.NearPicture`."""

    @property
    def job_id(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def run_key(self) -> int: ...
    @property
    def distance(self) -> int: ...
    @property
    def is_certain(self) -> bool:
        """Whether it is what was asked for then, as others have found."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A picture that was accepted before, and how many bits its perceptual hash is apart."""

    job_id: str
    provider: str
    sha256: str
    run_key: int
    distance: int
    is_certain: bool = False


def run_key(secret: bytes, run: PictureRun, index: int, source_sha256: str | None) -> int:
    """63 bits that are the same for two pictures exactly if the same was asked for; a prompt cannot be guessed from
    them without the hub's secret."""
    fields = {name: value for name, value in msgspec.to_builtins(run).items() if name not in _NOT_THE_PICTURE}
    is_guided = run.guidance > 1  # Below, neither guidance nor negative prompt has any effect.
    fields["guidance"] = run.guidance if is_guided else 1.0
    fields["negative_prompt"] = _as_read(run.negative_prompt) if is_guided else ""
    fields["prompt"] = _as_read(run.prompts[index if len(run.prompts) > 1 else 0])
    fields["seed"] = run.seed_of(index)
    fields["source_sha256"] = source_sha256
    text = msgspec.json.encode(fields, order="sorted")
    return int.from_bytes(hmac.digest(secret, _KEY_TAG + text, hashlib.sha256)[:8], "big") >> 1


def _as_read(prompt: str) -> str:
    """As the tokenizers of Stable Diffusion's text encoders read it: two prompts that only differ in what they ignore
    give the same file."""
    return " ".join(unicodedata.normalize("NFC", prompt).split()).lower()


def judge(look: Look, key: int, near: Sequence[EarlierPicture], *, provider: str) -> Suspicion | None:
    """Raises AnswerRefused (copied_picture) for a file that this provider has delivered for another request, or that is
    certainly another request's.

    `near` are earlier pictures, also other ones of the same answer, that are at most MAX_DISTANCE bits apart.
    """
    others = [earlier for earlier in near if earlier.run_key != key]
    same = [earlier for earlier in others if earlier.sha256 == look.sha256]
    false = next((earlier for earlier in same if earlier.is_certain or earlier.provider == provider), None)
    if false is not None:
        raise AnswerRefused(FaultReason.COPIED_PICTURE, _copied(false))
    if same:
        return Suspicion(COPIED, _copied(same[0]))
    if not others or len(others) > MOST_ALIKE:
        return None
    closest = min(others, key=lambda earlier: earlier.distance)
    detail = f"it looks like a picture of job {closest.job_id}: {closest.distance} of 64 bits differ"
    return Suspicion("looks_copied", detail)


def _copied(earlier: EarlierPicture) -> str:
    return f"the picture has been delivered before, for another request (job {earlier.job_id})"
