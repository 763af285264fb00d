"""eth_chainId, net_*, web3_*: which network and which software this is."""

import platform
from typing import Final

from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import ADDRESS_SCHEMA, DATA, HASH_SCHEMA, QUANTITY_SCHEMA, quantity
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_hex

_STRING: Final = {"type": "string"}
_BOOLEAN: Final = {"type": "boolean"}
_PROTOCOL_VERSION: Final = 68  # eth/68: what tools expect of a node that still answers this.


def network_methods(chain: ServedChain) -> tuple[Method, ...]:
    """What a wallet asks first."""
    chain_id, network_id = quantity(chain.chain_id), str(chain.chain_id)
    client = f"aitbc/v{chain.version}/{platform.system().lower()}/python{platform.python_version()}"
    return (
        Method(name="eth_chainId", summary="The chain id (EIP-155)", result=QUANTITY_SCHEMA, handler=lambda: chain_id),
        Method(name="net_version", summary="The chain id, in decimal", result=_STRING, handler=lambda: network_id),
        Method(name="web3_clientVersion", summary="Software and version", result=_STRING, handler=lambda: client),
        Method(
            name="web3_sha3",
            summary="Keccak-256 of the data",
            parameters=(Parameter("data", DATA),),
            result=HASH_SCHEMA,
            handler=lambda octets: to_hex(keccak256(octets)),
        ),
        Method(name="net_listening", summary="Always true", result=_BOOLEAN, handler=lambda: True),
        Method(
            name="net_peerCount",
            summary="Connected peers",
            result=QUANTITY_SCHEMA,
            handler=lambda: quantity(len(chain.node.network.peers())),
        ),
        Method(
            name="eth_protocolVersion",
            summary="A constant that some tools ask for",
            result=QUANTITY_SCHEMA,
            handler=lambda: quantity(_PROTOCOL_VERSION),
        ),
        Method(
            name="eth_accounts",
            summary="Always empty: a node holds nobody's keys",
            result={"type": "array", "items": ADDRESS_SCHEMA},
            handler=list,
        ),
        Method(
            name="eth_syncing",
            summary="Whether the node still fetches final blocks, and how far it is",
            result={
                "oneOf": [
                    {"const": False},
                    {
                        "type": "object",
                        "required": ["startingBlock", "currentBlock", "highestBlock"],
                        "properties": dict.fromkeys(("startingBlock", "currentBlock", "highestBlock"), QUANTITY_SCHEMA),
                    },
                ]
            },
            handler=lambda: syncing(chain),
        ),
    )


def syncing(chain: ServedChain) -> dict[str, str] | bool:
    """Where the node is on its way to the newest block, False where it is there."""
    progress, height = chain.node.progress(), chain.node.ledger.head.height
    if not progress.is_catching_up:
        return False
    return {
        "startingBlock": quantity(0),
        "currentBlock": quantity(height),
        "highestBlock": quantity(max(progress.target_height, height)),
    }
