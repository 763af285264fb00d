"""Links to pictures that work without an API key until they expire: an HMAC over the picture's place and the time."""

import hmac
import time
from typing import Final

VALID_S: Final = 3_600
_SIGNATURE_DIGITS: Final = 64


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
        text = f"picture\n{job_id}\n{number}\n{expires}".encode()
        return hmac.new(self._secret, text, "sha256").hexdigest()
