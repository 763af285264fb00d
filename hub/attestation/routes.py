"""`POST /v1/attestations`: another hub brings a receipt with everything that speaks for it."""

import time
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.types import Scope

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.rejection import Rejected, RejectionReason
from chain.web.application import create_router
from chain.web.bodies import LargerBodies
from chain.web.problems import Problem, problem_of_rejection
from hub.attestation.authentication import Call, Network, check_call
from hub.attestation.endorsing import Endorser
from hub.attestation.errors import NotEndorsed, NotYet, PicturesWanted
from hub.attestation.evidence import CONTENT_TYPE
from hub.attestation.peers import PATH, PICTURES_WANTED
from hub.store.errors import StoreBusy, StoreUnavailable

MAX_BODY_BYTES: Final = 40 * 1024 * 1024
"""`evidence.DRAWN` pictures as large as a hub takes them of its providers (36 MiB), and the head."""
_ALL_BODIES_BYTES: Final = 192 * 1024 * 1024
_STRANGERS_BYTES: Final = 48 * 1024 * 1024
_FOR_NOW: Final = frozenset({"busy", "chain_silent", "signer_away"})
"""Reasons of NotYet that are this service's trouble (503); the others mean that it works as it should (202)."""


def attestation_routes(endorser: Endorser, network: Network) -> APIRouter:
    """To be included in the hub's application, with `larger_bodies` among its limits."""
    router = create_router(tag="attestations")

    @router.post(
        PATH,
        summary="Ask this hub's attester for its signature",
        description="For other hubs; the call is signed, its body is evidence (docs/hub.md).",
        openapi_extra={"requestBody": {"required": True, "content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}},
        responses={
            200: {"description": "Signed"},
            202: {"description": "True as far as was seen: ask again, later or with the pictures that are named"},
        },
    )
    async def attest(request: Request) -> Response:
        call = _call_of(request.scope, endorser, network)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            raise Problem(415, "unsupported_media_type", f"send {CONTENT_TYPE}", field="Content-Type")
        body = await request.body()
        if keccak256(body) != call.body_hash:
            raise Problem(400, "wrong_body", "the body is not the one that the call is signed for", field="body")
        try:
            signature = await endorser.endorse(call.caller, body)
        except NotEndorsed as refusal:
            status = 403 if refusal.reason == "unknown_caller" else 422
            raise Problem(status, refusal.reason, refusal.detail, field=refusal.field) from None
        except NotYet as later:
            return _later(later)
        except PicturesWanted as wanted:
            return _answer(202, reason=PICTURES_WANTED, detail=str(wanted), pictures=wanted.numbers)
        except (StoreBusy, StoreUnavailable):
            raise Problem(
                503, "unavailable", "the hub's database does not answer now", headers={"Retry-After": "5"}
            ) from None
        return _answer(200, attester=to_checksum_address(endorser.attester.address), signature=to_hex(signature))

    return router


def larger_bodies(endorser: Endorser, network: Network) -> LargerBodies:
    """Pictures are large: who sends them must show first who it is."""

    async def recognise(scope: Scope, _beginning: bytes) -> bool:
        return endorser.knows(_call_of(scope, endorser, network).caller)

    return LargerBodies(
        max_bytes=MAX_BODY_BYTES,
        paths={PATH: recognise},
        all_bytes=_ALL_BODIES_BYTES,
        strangers_bytes=_STRANGERS_BYTES,
    )


def _call_of(scope: Scope, endorser: Endorser, network: Network) -> Call:
    """Raises Problem: 401 for who does not show who it is."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        return check_call(headers, network, endorser.attester.address, now_s=int(time.time()))
    except Rejected as rejected:
        if rejected.reason in (RejectionReason.BAD_SIGNATURE, RejectionReason.HIGH_S, RejectionReason.MISSING_FIELD):
            problem = problem_of_rejection(rejected)
            raise Problem(401, problem.reason, problem.detail, field=problem.field) from None
        raise problem_of_rejection(rejected) from None


def _later(later: NotYet) -> Response:
    wait_s = max(1, round(later.retry_after_s + 0.5))
    if later.reason in _FOR_NOW:
        raise Problem(503, later.reason, later.detail, headers={"Retry-After": str(wait_s)})
    return _answer(202, reason=later.reason, detail=later.detail, retry_after_s=wait_s)


def _answer(status: int, **members: object) -> Response:
    return Response(msgspec.json.encode(members), status, media_type="application/json")
