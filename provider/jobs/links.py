"""Links to pictures that need no API key: an HMAC over the job, the picture's index and the moment the link expires."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from provider.jobs.errors import LinkRefused

_DOMAIN: Final = b"aitbc provider artifact link v1\n"
SIGNATURE_CHARACTERS: Final = 64


class ArtifactLinks:
    """Makes links and checks them; the key lies in the data folder, so links outlive a restart."""

    def __init__(self, key: bytes, lifetime_s: int, now_s: Callable[[], float]) -> None:
        self._key = key
        self._lifetime_s = lifetime_s
        self._now_s = now_s

    def path(self, job_id: str, index: int) -> str:
        """The link's path and query, good for the configured time."""
        expires_s = int(self._now_s()) + self._lifetime_s
        signature = self._signature(job_id, index, expires_s)
        return f"/v1/jobs/{job_id}/artifacts/{index}?expires={expires_s}&signature={signature}"

    def check(self, job_id: str, index: int, expires_s: int, signature: str) -> None:
        """Raises LinkRefused for a link that was not made here (`bad_link`) or is too old (`link_expired`)."""
        if not hmac.compare_digest(self._signature(job_id, index, expires_s).encode(), signature.encode()):
            raise LinkRefused("this link was not made by this provider")
        if self._now_s() > expires_s:
            raise LinkRefused("this link has expired", reason="link_expired")

    def _signature(self, job_id: str, index: int, expires_s: int) -> str:
        message = _DOMAIN + f"{job_id}\n{index}\n{expires_s}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()
