"""What the whole network shares: supply, validators, attesters, parameters."""

from typing import Final

from fastapi import APIRouter, Response

from chain.answers import (
    Atoms,
    AttestersView,
    AttesterView,
    BigInteger,
    ParametersView,
    SupplyView,
    ValidatorsView,
    ValidatorView,
)
from chain.api.answering import answers, respond
from chain.node.clock import now_ms
from chain.node.runner import Node
from chain.primitives import message_pack
from chain.primitives.certificate import Certificate, quorum
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.network import Network
from chain.primitives.parameters import PARAMETER_BOUNDS
from chain.primitives.records import Domain
from chain.primitives.types import BlockHeight
from chain.rules.state import State
from chain.storage.records import Head
from chain.storage.view import StateView
from chain.web.application import create_router

_RECENT_BLOCKS: Final = 32


def governed_router(node: Node) -> APIRouter:
    """What stands once in the state."""
    router = create_router(prefix="/v1", tag="network")

    def state_and_head() -> tuple[State, Head]:
        view = node.ledger.view()
        assert view.head is not None
        return State(view), view.head

    @router.get("/supply", summary="Atoms in circulation", **answers(SupplyView))
    def supply() -> Response:
        state, head = state_and_head()
        supplied = state.supply()
        return respond(
            SupplyView(
                minted=Atoms(supplied.minted),
                burned=Atoms(supplied.burned),
                supply=Atoms(supplied.circulating),
                height=head.height,
                finalized=True,
            )
        )

    @router.get("/validators", summary="The present validator set", **answers(ValidatorsView))
    def validators() -> Response:
        return respond(_validators_view(node.ledger.view(), node.ledger.network))

    @router.get("/attesters", summary="Who may attest, and what is left of each allowance", **answers(AttestersView))
    def attesters() -> Response:
        state, head = state_and_head()
        return respond(_attesters_view(state, head.height, max(now_ms(), head.time_ms + 1)))

    @router.get("/parameters", summary="What governance has set", **answers(ParametersView))
    def parameters() -> Response:
        return respond(parameters_view(node.ledger.view()))

    return router


def parameters_view(view: StateView) -> ParametersView:
    """What governance has set, as of a view's head."""
    assert view.head is not None
    state = State(view)
    values = state.parameters()
    return ParametersView(
        parameters={name: BigInteger(getattr(values, name)) for name in PARAMETER_BOUNDS},
        minting_paused=state.minting_paused(),
        height=view.head.height,
        finalized=True,
    )


def _validators_view(view: StateView, network: Network) -> ValidatorsView:
    """The set of the next block."""
    assert view.head is not None
    state, named = State(view), {validator.address: validator for validator in network.validators}
    addresses = state.validators()
    signed = _last_signed_heights(view, state.epoch())
    rows: list[ValidatorView] = []
    for index, address in enumerate(addresses):
        validator = named.get(address)
        rows.append(
            ValidatorView(
                address=to_checksum_address(address),
                public_key=to_hex(validator.public_key) if validator is not None else None,
                peer_url=validator.peer_url or None if validator is not None else None,
                last_signed_height=signed.get(index),
            )
        )
    return ValidatorsView(
        epoch=state.epoch(),
        quorum=quorum(len(addresses)),
        height=view.head.height,
        finalized=True,
        validators=rows,
    )


def _last_signed_heights(view: StateView, epoch: int) -> dict[int, BlockHeight]:
    """For each index of the epoch's set that has signed one of the newest certificates: the newest such height."""
    assert view.head is not None
    signed: dict[int, BlockHeight] = {}
    for height in range(view.head.height, max(view.head.height - _RECENT_BLOCKS, 0), -1):
        encoded = view.certificate_at(height)
        certificate = None if encoded is None else message_pack.decode_trusted(encoded, Certificate)
        if certificate is not None and certificate.epoch == epoch:
            for index in certificate.signers:
                signed.setdefault(index, BlockHeight(height))
    return signed


def _attesters_view(state: State, height: BlockHeight, time_ms: int) -> AttestersView:
    parameters = state.parameters()
    period = time_ms // parameters.period_ms
    rows: list[AttesterView] = []
    for attester in state.attesters():
        used = state.usage(Domain.ATTESTER_USAGE, attester.address, period)
        rows.append(
            AttesterView(
                address=to_checksum_address(attester.address),
                atoms_per_period=Atoms(attester.atoms_per_period),
                receipts_per_period=BigInteger(attester.receipts_per_period),
                used_atoms=Atoms(used.atoms),
                used_receipts=BigInteger(used.receipts),
            )
        )
    return AttestersView(threshold=parameters.attester_threshold, height=height, finalized=True, attesters=rows)
