"""What the whole network shares: supply, validators, attesters, parameters."""

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
from chain.node.runner import Node, now_ms
from chain.primitives.certificate import quorum
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.parameters import PARAMETER_BOUNDS
from chain.primitives.records import Domain
from chain.primitives.types import BlockHeight
from chain.rules.state import State
from chain.storage.records import Head
from chain.web.application import create_router


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
        state, head = state_and_head()
        named = {validator.address: validator for validator in node.ledger.network.validators}
        addresses = state.validators()
        return respond(
            ValidatorsView(
                epoch=head.header.epoch,
                quorum=quorum(len(addresses)),
                height=head.height,
                finalized=True,
                validators=[
                    ValidatorView(
                        address=to_checksum_address(address),
                        public_key=to_hex(named[address].public_key) if address in named else None,
                        peer_url=named[address].peer_url or None if address in named else None,
                    )
                    for address in addresses
                ],
            )
        )

    @router.get("/attesters", summary="Who may attest, and what is left of each allowance", **answers(AttestersView))
    def attesters() -> Response:
        state, head = state_and_head()
        return respond(_attesters_view(state, head.height, max(now_ms(), head.time_ms + 1)))

    @router.get("/parameters", summary="What governance has set", **answers(ParametersView))
    def parameters() -> Response:
        state, head = state_and_head()
        values = state.parameters()
        return respond(
            ParametersView(
                parameters={name: BigInteger(getattr(values, name)) for name in PARAMETER_BOUNDS},
                minting_paused=state.minting_paused(),
                height=head.height,
                finalized=True,
            )
        )

    return router


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
