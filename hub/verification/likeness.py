"""Whether a picture is a copy of an earlier one, and for which request each was made.

The same request again gives the same picture, and different requests may give pictures that look alike (a logo in
another seed). A file that comes again for another request is most likely false in one of the two places. Which one it
is, if any, cannot be seen: the earlier one may be the false one, or the two requests may differ only in what the model
does not read (beyond the 77 tokens of CLIP, say), so that every honest provider gives the same file. So nobody is
accused of it: the answer is checked, however rarely this provider is sampled, and so it is where a picture only looks
like another one.
"""

import hashlib
import hmac
import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from chain.primitives.worker_fields import PictureRun
from hub.verification.pictures import Look
from hub.verification.suspicion import Suspicion

MAX_DISTANCE: Final = 2
"""Of 64 bits: what counts as looking alike; docs/hub.md says how many bits copies and honest pictures are apart."""
MOST_ALIKE: Final = 3
"""Where more pictures than these look alike, that says nothing: plain motifs. Else a hub that has many small pictures
would examine every answer."""
COPIED: Final = "copied"
"""The suspicion where the same file is there for another request."""
LOOKS_COPIED: Final = "looks_copied"
"""The suspicion where a picture looks like one of another request."""
MOST_FALSE_ALARMS: Final = 8
LAST_JOBS: Final = 64
"""Where so many answers for so many of a client's last jobs came under the same suspicion, and were right or are still
looked at, its requests are alike by themselves: further ones are sampled as rarely as others'. Else it could use up
what providers check for nothing."""
_KEY_TAG: Final = b"aitbc/hub/run-key/1\0"
_MOST_TOKENS: Final = 75
"""That a text encoder of Stable Diffusion reads; beginning and end make it 77."""
_PIECE: Final = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE
)
"""What CLIP's tokenizer cuts a text into first: each becomes one token or several."""
_NOT_THE_PICTURE: Final = ("count", "prompts", "seed", "image_format", "quality")
"""Fields of a run that are those of all its pictures, or of its files alone."""


class EarlierPicture(Protocol):
    """As `hub.store.perceptual.NearPicture`."""

    @property
    def job_id(self) -> str: ...
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
    sha256: str
    run_key: int
    distance: int
    is_certain: bool = False


def run_key(secret: bytes, run: PictureRun, index: int) -> int:
    """63 bits that are the same for two pictures exactly if the same was asked for; a prompt cannot be guessed from
    them without the hub's secret."""
    fields = {name: value for name, value in msgspec.to_builtins(run).items() if name not in _NOT_THE_PICTURE}
    is_guided = run.guidance > 1  # Below, neither guidance nor negative prompt has any effect.
    fields["guidance"] = run.guidance if is_guided else 1.0
    fields["negative_prompt"] = _as_read(run.negative_prompt) if is_guided else ""
    fields["prompt"] = _as_read(run.prompts[index if len(run.prompts) > 1 else 0])
    fields["seed"] = run.seed_of(index)
    text = msgspec.json.encode(fields, order="sorted")
    return int.from_bytes(hmac.digest(secret, _KEY_TAG + text, hashlib.sha256)[:8], "big") >> 1


def _as_read(prompt: str) -> str:
    """As the tokenizers of Stable Diffusion's text encoders read it: two prompts that only differ in what they ignore
    give the same file. No more of them is cut off than what is surely not read: most words are one token or more."""
    text = " ".join(unicodedata.normalize("NFC", prompt).split()).lower()
    ends = [piece.end() for piece in itertools.islice(_PIECE.finditer(text), _MOST_TOKENS)]
    return text[: ends[-1]] if len(ends) == _MOST_TOKENS else text


def judge(look: Look, key: int, near: Sequence[EarlierPicture]) -> Suspicion | None:
    """None where there is nothing odd about it, or where others have found this very file to be what the request gives.

    `near` are earlier pictures, also other ones of the same answer, that are at most MAX_DISTANCE bits apart.
    """
    same = [earlier for earlier in near if earlier.sha256 == look.sha256]
    if any(earlier.run_key == key and earlier.is_certain for earlier in same):
        return None
    others = [earlier for earlier in near if earlier.run_key != key]
    copied = next((earlier for earlier in same if earlier.run_key != key), None)
    if copied is not None:
        detail = f"the picture has been delivered before, for another request (job {copied.job_id})"
        return Suspicion(COPIED, detail)
    if not others or len(others) > MOST_ALIKE:
        return None
    closest = min(others, key=lambda earlier: earlier.distance)
    detail = f"it looks like a picture of job {closest.job_id}: {closest.distance} of 64 bits differ"
    return Suspicion(LOOKS_COPIED, detail)
