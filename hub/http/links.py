"""What works without an API key: links to pictures until they expire, and the token of a job that was only signed.

Both are HMACs of what they open, by one secret of the hub.
"""

import hmac
import re
import time
from typing import Final

VALID_S: Final = 3_600
_SIGNATURE_DIGITS: Final = 64
_TOKEN: Final = re.compile(r"job\.([0-9A-Za-z]{1,64})\.([0-9a-f]{64})")


class Links:
    """With one secret, which processes that serve the same hub share."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def picture(self, job_id: str, number: int) -> str:
        """The path and query of a link that is good for an hour."""
        expires = int(time.time()) + VALID_S
        return f"/v1/jobs/{job_id}/pictures/{number}?expires={expires}&signature={self._sign(job_id, number, expires)}"

    def is_good(self, job_id: str, number: int, expires: int, signature: str) -> bool:
        """Whether this hub made it, and not too long ago."""
        if expires < time.time() or len(signature) != _SIGNATURE_DIGITS or not signature.isascii():
            return False
        return hmac.compare_digest(self._sign(job_id, number, expires), signature)

    def _sign(self, job_id: str, number: int, expires: int) -> str:
        return self._digits(f"picture\n{job_id}\n{number}\n{expires}")

    def token(self, job_id: str) -> str:
        """Opens this job as the API key would with which it was ordered, as long as the hub knows it."""
        return f"job.{job_id}.{self._of_job(job_id)}"

    def job_of(self, token: str) -> str | None:
        """The job that it opens; None for what is no token of this hub's."""
        match = _TOKEN.fullmatch(token)
        if match is None or not hmac.compare_digest(self._of_job(match[1]), match[2]):
            return None
        return match[1]

    def _of_job(self, job_id: str) -> str:
        return self._digits(f"job\n{job_id}")

    def _digits(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), "sha256").hexdigest()
