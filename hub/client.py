"""A client of a hub over HTTP: sends jobs and follows them, for `aitbc hub`. `client_checks` judges what comes back."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, Final, Self

import httpx
import msgspec

from chain.primitives.client_request import ClientClaim, check_hub_id_is_no_address, sign_client_request
from chain.primitives.keys import Signer, SignerUnavailable
from chain.primitives.prompts import prompt_text
from chain.primitives.rejection import Rejected
from chain.primitives.strict_json import count_containers
from chain.primitives.types import Hash32
from hub.orders.request import SALT_BYTES, JobRequest

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_MAX_CONTAINERS: Final = 16_384
"""Arrays and objects in an answer; a page of 200 jobs with all their shards has fewer."""
CONNECT_TIMEOUT_S: Final = 5.0
ENDS: Final = frozenset({"done", "failed", "cancelled"})
_POLL_S: Final = 0.3
_SIGNED_FOR_S: Final = 3_600
_LONGEST_WAIT_S: Final = 30.0
_MAX_EVENT_CHARACTERS: Final = 4 * 1024 * 1024
_NEXT_STEPS: Final = {
    "deposit_too_small": "put more aside: `aitbc wallet escrow deposit HUB AMOUNT`; or sign for a lower --max-price",
    "deadline_unreachable": "give it more time with --deadline-s, or ask for less",
    "invalid_api_key": "is --api-key (or AITBC_HUB_API_KEY) one of this hub's?",
    "payment_required": "pay from a deposit with --escrow, or use an API key",
    "price_too_low": "--dry-run without a maximum says what it costs",
    "too_little_vram": "`aitbc hub providers --json` says who has how much",
    "unknown_model": "`aitbc hub providers` says which there are",
}
"""What somebody at a shell can do about a refusal; the hub's own words are for programs of every kind."""


class HubClientError(Exception):
    """The hub could not be asked, said no, or answered with something false; the message is for people."""


class HubAway(HubClientError):
    """Nobody answers, or only what stands before the hub: another time it may be there."""


@dataclass(frozen=True)
class HubSigning:
    """The key that signs a job, and the one hub on the one network that may use it.

    Both are known to the client beforehand: a hub that named others could use the request there itself.
    """

    key: Signer
    hub_id: str
    chain_id: int


class _Receipt(msgspec.Struct):
    units: int | float
    unit_type: str
    amount: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,78}$")]


class _Mint(msgspec.Struct):
    state: str
    transaction_hash: str | None


class _Picture(msgspec.Struct):
    number: int
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    media_type: str


class _Shard(msgspec.Struct):
    pictures: Annotated[int, msgspec.Meta(ge=1)]
    receipt_hash: str | None


class _Payout(msgspec.Struct):
    provider: str
    amount: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,78}$")]


class _Job(msgspec.Struct):
    """What is read of a job, here and by commands; a hub may answer anything."""

    job_id: Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z]{1,64}$")]
    status: str
    reason: str | None
    detail: str | None
    seed: int
    pictures_asked: int
    pictures_done: int
    pictures: list[_Picture]
    shards: list[_Shard]
    payouts: list[_Payout]
    provider: str | None
    receipt: _Receipt | None
    receipt_hash: str | None
    mint: _Mint
    job_token: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,256}$")] | None = None


class _Estimate(msgspec.Struct):
    least_amount: str
    most_amount: str
    ends_in_s: float


class _Hub(msgspec.Struct):
    hub_id: str
    chain_id: int


class _Providers(msgspec.Struct):
    items: list[dict[str, Any]]


class HubClient:
    """One hub, and one API key or none: then jobs are signed, and their tokens open them. Use as a context manager."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float) -> None:
        """`timeout_s` bounds each request."""
        if not url.startswith(("http://", "https://")):
            raise HubClientError(f"{url[:200]!r} is not the URL of a hub: it must begin with http:// or https://")
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/"),
                headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
                timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            )
            self._tokens: dict[str, str] = {}
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise HubClientError(f"cannot use this URL or API key: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # Jobs

    def submit(self, request: JobRequest, *, signing: HubSigning | None = None) -> tuple[dict[str, Any], JobRequest]:
        """The job as it was taken, and the request as it was sent: signed first where a key is given.

        A request that is to be signed must have a maximum price: without one, the signature would be a blank cheque.
        """
        if signing is not None:
            request = self._signed(request, signing)
        body = request.model_dump(exclude_none=True)
        # The key makes a repetition after a broken connection harmless.
        job = self._ask("POST", "/v1/jobs", _Job, body, {"Idempotency-Key": secrets.token_hex(16)})
        if job.get("job_token") is not None:
            self._tokens[job["job_id"]] = job["job_token"]
        return job, request

    def estimate(self, request: JobRequest, *, signing: HubSigning | None = None) -> dict[str, Any]:
        """What it would cost, and when it would be done; signed, where there is no API key."""
        if signing is not None:
            request = self._signed(request, signing)
        return self._ask("POST", "/v1/estimate", _Estimate, request.model_dump(exclude_none=True))

    def job(self, job_id: str) -> dict[str, Any]:
        """A job by its id."""
        return self._ask("GET", f"/v1/jobs/{_checked_id(job_id)}", _Job, None, self._opening(job_id))

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Takes it back; the job as it is then."""
        return self._ask("POST", f"/v1/jobs/{_checked_id(job_id)}/cancel", _Job, None, self._opening(job_id))

    def picture(self, job_id: str, number: int) -> bytes:
        """The bytes of one."""
        path = f"/v1/jobs/{_checked_id(job_id)}/pictures/{number}"
        return self._read("GET", path, None, self._opening(job_id))[1]

    def events(self, job_id: str, timeout_s: float) -> Iterator[dict[str, Any]]:
        """What happens to it until its end; taken up again where a connection breaks off. Raises HubClientError."""
        last, deadline = 0, time.monotonic() + timeout_s
        while True:
            try:
                for event in self._stream(job_id, last):
                    last = event.get("sequence", last)
                    yield event
                    if event.get("kind") in ENDS:
                        return
                    if time.monotonic() > deadline:
                        return
                if self.job(job_id)["status"] in ENDS or time.monotonic() > deadline:
                    return
            except HubAway:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _stream(self, job_id: str, after: int) -> Iterator[dict[str, Any]]:
        headers = {"Last-Event-ID": str(after)} | self._opening(job_id)
        try:
            with self._http.stream("GET", f"/v1/jobs/{_checked_id(job_id)}/events", headers=headers) as answer:
                if answer.status_code != 200:
                    raise _refusal(answer.status_code, _content(answer))
                for line in answer.iter_lines():
                    if not line.startswith("data: ") or len(line) > _MAX_EVENT_CHARACTERS:
                        continue
                    event = _json_object(line[6:].encode())
                    if event is None:
                        raise HubClientError("the hub sends events that are no JSON objects")
                    yield event
        except httpx.HTTPError as error:
            raise self._away(error) from None

    def wait_for_end(self, job_id: str, timeout_s: float) -> dict[str, Any]:
        """The job once it has ended, or as it is when the time is over; a hub that is away is waited for."""
        deadline = time.monotonic() + timeout_s

        def ask() -> dict[str, Any]:
            left_s = max(0.0, min(_LONGEST_WAIT_S, deadline - time.monotonic()))
            path = f"/v1/jobs/{_checked_id(job_id)}?wait_s={left_s:.1f}"
            return self._ask("GET", path, _Job, None, self._opening(job_id))

        while True:
            job = _patiently(ask, deadline)
            if job["status"] in ENDS or time.monotonic() >= deadline:
                return job

    def wait_for_mint(self, job_id: str, timeout_s: float) -> dict[str, Any]:
        """The job once its mint is final, or as it is when the time is over; a hub that is away is waited for."""
        deadline = time.monotonic() + timeout_s
        while True:
            job = _patiently(lambda: self.job(job_id), deadline)
            is_hopeless = job["status"] in ENDS and job["receipt"] is None
            if job["mint"]["state"] == "minted" or is_hopeless or time.monotonic() > deadline:
                return job
            time.sleep(_POLL_S)

    def providers(self) -> list[dict[str, Any]]:
        """Those that the hub knows."""
        items: list[dict[str, Any]] = self._ask("GET", "/v1/providers", _Providers)["items"]
        return items

    def hub(self) -> dict[str, Any]:
        """Who it is."""
        return self._ask("GET", "/v1/hub", _Hub)

    def _opening(self, job_id: str) -> dict[str, str]:
        """The job's token, where it was ordered without an API key."""
        token = self._tokens.get(job_id)
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    # Signing

    def _signed(self, request: JobRequest, signing: HubSigning) -> JobRequest:
        if request.max_price_atoms is None:
            raise HubClientError("a signed request needs a maximum price (--max-price)")
        self._check_identity(signing)
        claim = ClientClaim(
            client=signing.key.address,
            salt=secrets.token_bytes(SALT_BYTES),
            max_price=request.max_price_atoms,
            nonce=Hash32(secrets.token_bytes(32)),
            expiry=int(time.time()) + _SIGNED_FOR_S,
            signature=b"",
        )
        try:
            to_sign = claim.request(
                chain_id=signing.chain_id,
                audience=signing.hub_id,
                prompt=prompt_text(request.texts),
                parameters=request.parameters(claim.salt),
            )
        except Rejected as error:
            raise HubClientError(f"this cannot be signed: {error.message}") from None
        try:
            signed = msgspec.structs.replace(claim, signature=sign_client_request(signing.key, to_sign))
        except SignerUnavailable as error:
            raise HubClientError(f"nothing was signed: {error}") from None
        return JobRequest.model_validate(request.model_dump() | {"client_request": signed.to_object()})

    def _check_identity(self, signing: HubSigning) -> None:
        """Before anything is signed: whether the hub that answers is the one that is meant."""
        hub = self.hub()
        name, chain_id = hub["hub_id"], hub["chain_id"]
        for hub_id in (name, signing.hub_id):
            try:
                check_hub_id_is_no_address(hub_id)
            except Rejected as error:
                raise HubClientError(f"nothing was signed for {hub_id[:64]!r}: {error.message}") from None
        if (name, chain_id) != (signing.hub_id, signing.chain_id):
            raise HubClientError(
                f"nothing was signed: the hub at {self._http.base_url} calls itself {name[:64]!r} on chain {chain_id}, "
                f"and {signing.hub_id[:64]!r} on chain {signing.chain_id} was meant"
            )

    # HTTP

    def _ask(
        self,
        method: str,
        path: str,
        shape: type[msgspec.Struct],
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        status, content = self._read(method, path, body, headers)
        fields = _json_object(content)
        if fields is None:
            raise HubClientError(f"the hub answered {status} without a JSON object")
        try:
            msgspec.convert(fields, shape)
        except msgspec.ValidationError as error:
            raise HubClientError(f"what answers at {self._http.base_url} is no hub: {error}") from None
        return fields

    def _read(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str] | None
    ) -> tuple[int, bytes]:
        try:
            with self._http.stream(method, path, json=body, headers=headers) as answer:
                content = _content(answer)
        except httpx.TimeoutException:
            raise HubClientError(f"no answer from {self._http.base_url} in time; see --timeout-s") from None
        except httpx.HTTPError as error:
            raise self._away(error) from None
        if answer.status_code not in (200, 202):
            raise _refusal(answer.status_code, content)
        return answer.status_code, content

    def _away(self, error: httpx.HTTPError) -> HubAway:
        return HubAway(f"cannot reach the hub at {self._http.base_url}: {error}")


def _content(answer: httpx.Response) -> bytes:
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise HubClientError("the hub's answer is too large")
    return bytes(content)


def _patiently(ask: Callable[[], dict[str, Any]], deadline: float) -> dict[str, Any]:
    """The answer, or HubAway where there is none by the deadline, on the monotonic clock."""
    while True:
        try:
            return ask()
        except HubAway:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _refusal(status: int, content: bytes) -> HubClientError:
    kind = HubClientError if status < httpx.codes.INTERNAL_SERVER_ERROR else HubAway
    fields = _json_object(content)
    if fields is None:
        return kind(f"the hub answered {status} without a JSON object")
    reason = str(fields.get("reason"))
    hint = f"; {_NEXT_STEPS[reason]}" if reason in _NEXT_STEPS else ""
    return kind(f"the hub says: {fields.get('detail', status)} ({reason}){hint}")


def _json_object(content: bytes) -> dict[str, Any] | None:
    """What a hub sent; None where that is none, or nested as only an attack is."""
    try:
        fields = json.loads(content) if count_containers(content) <= _MAX_CONTAINERS else None
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _checked_id(job_id: str) -> str:
    if not job_id.isascii() or not job_id.isalnum():
        raise HubClientError("that is no job's id")
    return job_id
