"""/v1/accounts/{address}/deposits: what clients have put aside for hubs."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from chain.answers import Atoms
from chain.api.answering import answers, respond
from chain.api.inputs import AddressPath
from chain.escrow_answers import DepositsView, DepositView
from chain.node.runner import Node
from chain.primitives.escrow import audience_hash
from chain.primitives.escrow_records import Deposit
from chain.primitives.hexadecimal import parse_address, to_checksum_address, to_hex
from chain.primitives.types import Address, BlockHeight
from chain.rules.escrow.deposits import read_audiences, read_deposit
from chain.rules.state import State
from chain.web.application import create_router
from chain.web.problems import not_found

AudiencePath = Annotated[
    str,
    Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}$", description="A hub's id, or a provider's address (EIP-55)."),
]


def deposits_router(node: Node) -> APIRouter:
    """Deposits of one node's chain."""
    router = create_router(prefix="/v1/accounts", tag="escrow")

    @router.get("/{address}/deposits", summary="What a client has put aside", **answers(DepositsView))
    def list_deposits(address: AddressPath) -> Response:
        client, view = parse_address(address), node.ledger.view()
        assert view.head is not None
        state, height = State(view), view.head.height
        found = [read_deposit(state, client, audience) for audience in read_audiences(state, client)]
        return respond(
            DepositsView(
                client=to_checksum_address(client),
                deposits=[_deposit_view(client, deposit, height) for deposit in found if deposit is not None],
                height=height,
                finalized=True,
            )
        )

    @router.get("/{address}/deposits/{audience}", summary="What a client has put aside for one", **answers(DepositView))
    def get_deposit(address: AddressPath, audience: AudiencePath) -> Response:
        client, view = parse_address(address), node.ledger.view()
        assert view.head is not None
        deposit = read_deposit(State(view), client, audience)
        if deposit is None:
            raise not_found("this client has no deposit for this audience", field="audience")
        return respond(_deposit_view(client, deposit, view.head.height))

    return router


def _deposit_view(client: Address, deposit: Deposit, height: BlockHeight) -> DepositView:
    return DepositView(
        client=to_checksum_address(client),
        audience=deposit.audience,
        hub=to_hex(audience_hash(deposit.audience)),
        balance=Atoms(deposit.balance),
        deadline=deposit.deadline,
        withdrawal=Atoms(deposit.withdrawal),
        withdrawable_from=deposit.withdrawable_from,
        height=height,
        finalized=True,
    )
