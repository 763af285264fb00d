"""Why there is no signature: for good, or for now."""


class NotEndorsed(Exception):
    """The evidence does not hold. `reason` is stable snake_case, `field` the part at fault."""

    def __init__(self, reason: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.field = field


class NotYet(Exception):
    """There may be a signature later: a window is open, an attester or the chain does not answer."""

    def __init__(self, reason: str, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class PicturesWanted(Exception):
    """An attester has found everything else true, and wants to see these of the job's pictures."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        super().__init__(f"pictures {', '.join(map(str, numbers))} are to be shown")
        self.numbers = numbers


class PartsRefused(Exception):
    """Too few are left who may sign this receipt, but for some parts of it: without those there may be another."""

    def __init__(self, reason: str, detail: str, fields: frozenset[str]) -> None:
        """`fields`: `parts[2]…` (of the providers in the order of their parts) and `pictures[17]`."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.fields = fields


class NeverAttested(Exception):
    """There will be no attestation of this receipt."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
