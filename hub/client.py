"""A client of a hub over HTTP: sends jobs, asks for them, and checks what it is given. For `aitbc hub submit`."""

import json
import secrets
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, Final, Self

import httpx
import msgspec

from chain.primitives.client_request import ClientClaim, check_hub_id_is_no_address, sign_client_request
from chain.primitives.hexadecimal import parse_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, salted_prompt_hash
from chain.primitives.receipt_request import check_request
from chain.primitives.rejection import Rejected
from chain.primitives.strict_json import count_containers
from chain.primitives.types import Hash32
from hub.request import SALT_BYTES, JobRequest
from wallet.verification import Document, check_document

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_MAX_CONTAINERS: Final = 16_384
"""Arrays and objects in an answer; a page of 200 jobs with all their shards has fewer."""
CONNECT_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.3
_SIGNED_FOR_S: Final = 3_600


class HubClientError(Exception):
    """The hub could not be asked, said no, or answered with something false; the message is for people."""


@dataclass(frozen=True)
class HubSigning:
    """The key that signs a job, and the one hub on the one network that may use it.

    Both are known to the client beforehand: a hub that named others could use the request there itself.
    """

    key: PrivateKey
    hub_id: str
    chain_id: int


class _Receipt(msgspec.Struct):
    units: int | float
    unit_type: str
    amount: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,78}$")]


class _Mint(msgspec.Struct):
    state: str
    transaction_hash: str | None


class _Job(msgspec.Struct):
    """What is read of a job, here and in `cli.py`; a hub may answer anything."""

    job_id: str
    status: str
    reason: str | None
    detail: str | None
    seed: int
    provider: str | None
    receipt: _Receipt | None
    receipt_hash: str | None
    mint: _Mint


class _Hub(msgspec.Struct):
    hub_id: str
    chain_id: int


class HubClient:
    """One hub and one API key. Use it as a context manager."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float) -> None:
        """`timeout_s` bounds each request, the wait for a picture included."""
        if not url.startswith(("http://", "https://")):
            raise HubClientError(f"{url[:200]!r} is not the URL of a hub: it must begin with http:// or https://")
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/"),
                headers={"Authorization": f"Bearer {api_key}"},
                timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            )
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise HubClientError(f"cannot use this URL or API key: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, request: JobRequest, *, signing: HubSigning | None = None) -> tuple[dict[str, Any], bytes]:
        """The finished job and its picture, checked; signed first where a key is given. Raises HubClientError.

        A request that is to be signed must have a maximum price: without one, the signature would be a blank cheque.
        """
        if signing is not None:
            request = self._signed(request, signing)
        body = request.model_dump(exclude_none=True)
        # The key makes a repetition after a broken connection harmless.
        job = self._ask("POST", "/v1/jobs", _Job, body, {"Idempotency-Key": secrets.token_hex(16)})
        return job, check_finished_job(job, request, signing)

    def job(self, job_id: str) -> dict[str, Any]:
        """A job by its id."""
        if not job_id.replace("-", "").isalnum():
            raise HubClientError("that is no job's id")
        return self._ask("GET", f"/v1/jobs/{job_id}", _Job)

    def wait_for_mint(self, job_id: str, timeout_s: float) -> dict[str, Any]:
        """The job once its mint is final, or as it is when the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            job = self.job(job_id)
            if job["mint"]["state"] == "minted" or job["status"] == "failed" or time.monotonic() > deadline:
                return job
            time.sleep(_POLL_S)

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
                prompt=request.prompt,
                parameters=request.parameters(),
            )
        except Rejected as error:
            raise HubClientError(f"this cannot be signed: {error.message}") from None
        signed = msgspec.structs.replace(claim, signature=sign_client_request(signing.key, to_sign))
        return JobRequest.model_validate(request.model_dump() | {"client_request": signed.to_object()})

    def _check_identity(self, signing: HubSigning) -> None:
        """Before anything is signed: whether the hub that answers is the one that is meant."""
        hub = self._ask("GET", "/v1/hub", _Hub)
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

    def _ask(
        self,
        method: str,
        path: str,
        shape: type[msgspec.Struct],
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            with self._http.stream(method, path, json=body, headers=headers) as answer:
                content = b""
                for piece in answer.iter_bytes():
                    content += piece
                    if len(content) > MAX_ANSWER_BYTES:
                        raise HubClientError("the hub's answer is too large")
        except httpx.TimeoutException:
            raise HubClientError(f"no answer from {self._http.base_url} in time; see --timeout-s") from None
        except httpx.HTTPError as error:
            raise HubClientError(f"cannot reach the hub at {self._http.base_url}: {error}") from None
        try:
            fields = json.loads(content) if count_containers(content) <= _MAX_CONTAINERS else None
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise HubClientError(f"the hub answered {answer.status_code} without a JSON object")
        if answer.status_code != 200:
            raise HubClientError(f"the hub says: {fields.get('detail', answer.status_code)} ({fields.get('reason')})")
        try:
            msgspec.convert(fields, shape)
        except msgspec.ValidationError as error:
            raise HubClientError(f"what answers at {self._http.base_url} is no hub: {error}") from None
        return fields


def check_finished_job(job: dict[str, Any], request: JobRequest, signing: HubSigning | None = None) -> bytes:
    """The picture of a finished job whose receipt, hash, signatures and request fit; raises HubClientError otherwise.

    Without `signing`, hub and network are those that the receipt names. Whether the attester counts, only the chain
    says: `aitbc wallet receipt verify`.
    """
    try:
        document = Document.from_json(json.dumps(job).encode())
        salt = parse_hex(job.get("prompt_salt") or "", length=SALT_BYTES, field="prompt_salt")
    except Rejected as error:
        raise HubClientError(f"the hub's answer is not a finished job: {error.message}") from None
    failed = [f"{check.name}: {check.detail}" for check in check_document(document) if check.passed is False]
    if document.receipt.prompt_hash != salted_prompt_hash(salt, request.prompt):
        failed.append("prompt_hash: the receipt is for another prompt")
    if request.client is not None and document.receipt.client != request.client:
        failed.append("client: the receipt is for another client")
    failed += _wrong_request(document.receipt, request, salt, signing)
    if document.image is None:
        failed.append("image: there is none")
    if failed:
        raise HubClientError(f"the hub's answer does not hold: {'; '.join(failed)}")
    assert document.image is not None
    return document.image


def _wrong_request(receipt: Receipt, request: JobRequest, salt: bytes, signing: HubSigning | None) -> list[str]:
    """Why the receipt is not for what was sent, or is for more than the maximum price; empty where it is."""
    hub_id = receipt.hub_id if signing is None else signing.hub_id
    chain_id = receipt.chain_id if signing is None else signing.chain_id
    try:
        check_request(receipt, request.to_sign(hub_id=hub_id, chain_id=chain_id, salt=salt))
    except Rejected as error:
        return [f"request: {error.message}"]
    return []
