"""True evidence of jobs with one or more providers, with real keys, signatures and pictures, to be bent by tests."""

import io
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from PIL import Image

from chain.answers import ProviderView, ReputationView
from chain.primitives.client_request import ClientRequest, sign_client_request, unsigned_request
from chain.primitives.hashing import keccak256, sha256
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, combined_artifact_sha256, salted_prompt_hash, sign_receipt
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.shards import Shard
from chain.primitives.types import Address, Amount, Hash32
from chain.primitives.units import compute_amount
from hub.attestation.evidence import Evidence, Part
from hub.attestation.forms import NO_FEE, Fee, form_of
from hub.store.receipts import Form

CHAIN_ID: Final = 271_828_182
HUB_ID: Final = "east"
MODEL: Final = "aitbc/tiny-sd"
PRICE: Final = Amount(10**15)
CLIENT: Final = PrivateKey(b"\x31" * 32)
PROVIDERS: Final = tuple(PrivateKey(bytes([0x41 + number]) * 32) for number in range(3))
WIDTH, HEIGHT = 64, 48
SALT: Final = bytes(range(32))
CEILING: Final = 1_000 * 10**18


def picture(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Noise of its own."""
    noise = random.Random(number).randbytes(width * height * 3)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (width, height), noise).save(buffer, "PNG")
    return buffer.getvalue()


def blank() -> bytes:
    """A picture that shows nothing."""
    buffer = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Job:
    """What evidence is made of. `makers`: each provider's key and how many pictures it made, in the job's order."""

    job_id: str = "job-1"
    hub_id: str = HUB_ID
    chain_id: int = CHAIN_ID
    makers: tuple[tuple[PrivateKey, int], ...] = ((PROVIDERS[0], 1),)
    client: PrivateKey | None = CLIENT
    max_price: int = 10**18
    finished_at: int = field(default_factory=lambda: int(time.time()) - 1)
    took_s: int = 10
    expiry_s: int = 600
    price: int = PRICE
    micro_units: int = 1_234_567
    """Of each picture."""
    is_paid: bool = False
    fee: Fee = NO_FEE
    form: Form | None = None
    whole: dict[str, Any] = field(default_factory=dict)
    """Fields of the whole receipt that are to differ, before it is signed."""
    part: dict[str, Any] = field(default_factory=dict)
    """Fields of the last part's receipt."""
    asked: dict[str, Any] = field(default_factory=dict)
    """Fields of the parameters."""
    firsts: tuple[bytes, ...] = ()
    """Its first pictures, instead of noise."""

    @property
    def count(self) -> int:
        return sum(count for _, count in self.makers)

    @property
    def parameters(self) -> RequestParameters:
        return RequestParameters(
            **{"width": WIDTH, "height": HEIGHT, "steps": 5, "guidance": 7.5, "count": self.count} | self.asked
        )

    @property
    def request(self) -> ClientRequest:
        prompt_hash = sha256(SALT + b"a cat")
        audience = self.hub_id or to_checksum_address(self.makers[0][0].address)
        if self.client is None:
            return unsigned_request(
                chain_id=self.chain_id,
                audience=audience,
                prompt_hash=prompt_hash,
                parameters_hash=self.parameters.hash,
                max_price=Amount(self.max_price),
            )
        return ClientRequest(
            chain_id=self.chain_id,
            audience=audience,
            prompt_hash=prompt_hash,
            parameters_hash=self.parameters.hash,
            max_price=Amount(self.max_price),
            nonce=self.nonce,
            expiry=self.finished_at + self.expiry_s,
        )

    @property
    def nonce(self) -> Hash32:
        return keccak256(b"nonce of " + self.job_id.encode())

    def pictures(self) -> tuple[bytes, ...]:
        return (*self.firsts, *(picture(number) for number in range(len(self.firsts), self.count)))

    def receipt(self, key: PrivateKey, pictures: Sequence[bytes], **fields: Any) -> Receipt:
        request, micro_units = self.request, self.micro_units * len(pictures)
        values: dict[str, Any] = {
            "job_id": self.job_id,
            "provider": key.address,
            "client": "alice" if self.client is None else to_checksum_address(self.client.address),
            "micro_units": micro_units,
            "unit_type": "gpu_seconds",
            "model": MODEL,
            "prompt_hash": salted_prompt_hash(SALT, "a cat"),
            "request_hash": request.hash,
            "client_signature": None if self.client is None else sign_client_request(self.client, request),
            "started_at": self.finished_at - self.took_s,
            "finished_at": self.finished_at,
            "artifact_sha256": combined_artifact_sha256([sha256(each) for each in pictures]),
            "nonce": f"{self.job_id}.{key.address.hex()[:8]}.{len(pictures)}" if self.hub_id else self.nonce.hex(),
            "hub_id": self.hub_id,
            "chain_id": self.chain_id,
            "price_per_unit": Amount(self.price),
        } | fields
        values.setdefault("amount", compute_amount(values["micro_units"], values["price_per_unit"]))
        return Receipt(**values)

    def evidence(self) -> Evidence:
        """Signed as it stands, whatever it says."""
        pictures = self.pictures()
        parts: list[Part] = []
        start = 0
        for index, (key, count) in enumerate(self.makers):
            is_last = index == len(self.makers) - 1
            part = self.receipt(key, pictures[start : start + count], **(self.part if is_last else {}))
            parts.append(Part(part, sign_receipt(key, part), count))
            start += count
        if len(parts) == 1:
            whole = msgspec.structs.replace(parts[0].receipt, **self.whole)
            parts = []
        else:
            whole = self._whole(parts, pictures)
        signer = self.makers[0][0]
        return Evidence(
            form=self.form or form_of(whole, is_paid=self.is_paid),
            receipt=whole,
            provider_signature=sign_receipt(signer, whole),
            parts=tuple(parts),
            request=self.request,
            parameters=self.parameters,
            fee=self.fee,
            digests=tuple(sha256(each) for each in pictures),
            pictures=pictures,
        )

    def _whole(self, parts: Sequence[Part], pictures: Sequence[bytes]) -> Receipt:
        shards = tuple(
            Shard(
                provider=part.receipt.provider,
                micro_units=part.receipt.micro_units,
                artifact_sha256=part.receipt.artifact_sha256,
                receipt_hash=part.receipt.hash,
            )
            for part in parts
        )
        fields: dict[str, Any] = {
            "shards": shards,
            "micro_units": sum(shard.micro_units for shard in shards),
            "artifact_sha256": combined_artifact_sha256([bytes.fromhex(each.artifact_sha256) for each in shards]),
            "nonce": f"{self.job_id}.whole",
        }
        return self.receipt(self.makers[0][0], pictures, **fields | self.whole)

    def but(self, **changes: Any) -> "Job":
        """Another one."""
        return replace(self, **changes)


def showing(evidence: Evidence, pictures: Sequence[bytes]) -> Evidence:
    """With these pictures, whatever the receipts say of them."""
    return replace(evidence, digests=tuple(sha256(each) for each in pictures), pictures=tuple(pictures))


SPLIT: Final = Job(makers=((PROVIDERS[0], 2), (PROVIDERS[1], 1), (PROVIDERS[0], 1)))


def view_of(key: PrivateKey, **changes: Any) -> ProviderView:
    """A provider's entry in the registry."""
    fields: dict[str, Any] = {
        "address": to_checksum_address(key.address),
        "active": True,
        "endpoint": "http://127.0.0.1:9",
        "models": [MODEL],
        "price_per_unit": PRICE,
        "unit_type": "gpu_seconds",
        "vram_mib": 0,
        "payout": to_checksum_address(key.address),
        "reputation": ReputationView(receipts=0, units=0, failures=0, disputes=0, breaches=0),  # type: ignore[arg-type]
        "sla_hash": None,
        "height": 1,
        "finalized": True,
    }
    return ProviderView(**fields | changes)


def registry() -> dict[Address, ProviderView | None]:
    """All of PROVIDERS."""
    return {key.address: view_of(key) for key in PROVIDERS}
