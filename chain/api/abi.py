"""/v1/abi: the modules and assets as contracts, for tools that speak Solidity's ABI."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from chain.answers import AddressText, Answer
from chain.api.answering import answers, respond
from chain.primitives.contract_abi import ASSET_CONTRACT, CONTRACTS, contract_abi
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import MODULES
from chain.web.application import create_router
from chain.web.problems import not_found

ModulePath = Annotated[str, Path(pattern="^[a-z]{1,32}$", description="A module's name, such as `minter`, or `asset`.")]


class ContractView(Answer, frozen=True):
    """A module as a contract; `abi` is what Solidity's compiler would have written for it."""

    module: str
    address: AddressText | None
    """null for `asset`: each issued asset answers this ABI at its own address."""
    abi: list[dict[str, Any]]


class ContractsView(Answer, frozen=True):
    """GET /v1/abi"""

    modules: list[ContractView]


def abi_router() -> APIRouter:
    """The same for every node of this version: nothing here depends on the chain."""
    router = create_router(prefix="/v1/abi", tag="abi")
    contracts = {
        name: ContractView(
            module=name,
            address=None if name == ASSET_CONTRACT else to_checksum_address(MODULES[name]),
            abi=contract_abi(name),
        )
        for name in CONTRACTS
    }

    @router.get("", summary="All modules as contracts: address and ABI", **answers(ContractsView))
    async def list_contracts() -> Response:
        return respond(ContractsView(modules=list(contracts.values())))

    @router.get("/{module}", summary="One module as a contract", **answers(ContractView))
    async def get_contract(module: ModulePath) -> Response:
        contract = contracts.get(module)
        if contract is None:
            raise not_found("no module of this name defines anything", field="module")
        return respond(contract)

    return router
