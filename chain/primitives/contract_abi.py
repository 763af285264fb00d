"""Modules and assets as contracts for Ethereum's tools: Solidity's ABI as JSON, from the declarations in `modules`.

Source of the format: the Solidity documentation, "Contract ABI Specification", section JSON. Reverts carry
`Error(string)`, which every tool knows without a declaration.
"""

from typing import Any, Final

from chain.primitives.abi import Event, Function, Parameter
from chain.primitives.modules import ASSET_EVENTS, ASSET_FUNCTIONS, EVENTS, FUNCTIONS, MODULES

ASSET_CONTRACT: Final = "asset"
"""What each issued asset answers at its own address."""
CONTRACTS: Final = (*(name for name, address in MODULES.items() if address in FUNCTIONS), ASSET_CONTRACT)
"""Names of the modules that define something, and the assets' one."""


def declarations(name: str) -> tuple[tuple[Function, ...], tuple[Event, ...]]:
    """Functions and events of one of `CONTRACTS`; KeyError for any other name."""
    if name == ASSET_CONTRACT:
        return ASSET_FUNCTIONS, ASSET_EVENTS
    return FUNCTIONS[MODULES[name]], EVENTS[MODULES[name]]


def contract_abi(name: str) -> list[dict[str, Any]]:
    """Functions and events of one of `CONTRACTS`, in the order of their declarations; KeyError for any other name."""
    functions, events = declarations(name)
    return [_function_entry(function) for function in functions] + [_event_entry(event) for event in events]


def _function_entry(function: Function) -> dict[str, Any]:
    return {
        "type": "function",
        "name": function.name,
        "inputs": [_parameter_entry(parameter) for parameter in function.inputs],
        "outputs": [_parameter_entry(parameter) for parameter in function.outputs],
        "stateMutability": "view" if function.is_view else "nonpayable",
    }


def _event_entry(event: Event) -> dict[str, Any]:
    return {
        "type": "event",
        "name": event.name,
        "inputs": [{**_parameter_entry(parameter), "indexed": parameter.indexed} for parameter in event.parameters],
        "anonymous": False,
    }


def _parameter_entry(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "type": parameter.type.name}
