"""What a devnet is made of before a process runs: its names, its network file, and a data folder per node."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from chain.node.folder import NodeFolder, write_key_file
from chain.node.ledger import Ledger
from chain.primitives.keys import PrivateKey
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from genesis.secrets import DevnetSecrets

MAX_VALIDATORS: Final = 10
"""Each is a process of about 100 MB."""
FOLLOWER: Final = "follower"
"""The node without a key that the hub, the providers and everybody else talk to."""
PEER_PATH: Final = "/p2p"
RPC_PATH: Final = "/rpc"
DEVNET_NAME: Final = "aitbc-devnet"
_BLOCK_INTERVAL_MS: Final = 200


def peer_url(port: int) -> str:
    """Where the peers of a node on loopback reach it."""
    return f"ws://127.0.0.1:{port}{PEER_PATH}"


def devnet_network(secrets: DevnetSecrets, validator_ports: Sequence[int]) -> Network:
    """The network of these keys; ports in the order of the validators. They are not part of the genesis hash."""
    attester = secrets.key("attester")
    parameters = Parameters()
    keys = [secrets.key(name) for name in secrets.validator_names]
    return Network(
        chain_id=secrets.chain_id,
        name=DEVNET_NAME,
        validators=tuple(
            Validator(key.address, key.public_key, peer_url(port))
            for key, port in zip(keys, validator_ports, strict=True)
        ),
        attesters=(
            AttesterAllowance(
                attester.address, parameters.default_attester_atoms, parameters.default_attester_receipts
            ),
        ),
        parameters=parameters,
        block_interval_ms=_BLOCK_INTERVAL_MS,
    )


def wallet_network(chain_id: int, name: str, node_url: str) -> dict[str, Any]:
    """What MetaMask and others take to add a network: the parameter of `wallet_addEthereumChain` (EIP-3085).

    There is no block explorer, which MetaMask wants to hear as null: it refuses an empty list.
    """
    return {
        "chainId": hex(chain_id),
        "chainName": name,
        "nativeCurrency": {"name": "AIT", "symbol": "AIT", "decimals": 18},
        "rpcUrls": [node_url + RPC_PATH],
        "blockExplorerUrls": None,
    }


def prepare_node_folder(path: Path, network: Network, key: PrivateKey | None) -> None:
    """What `aitbc node init` does; in a folder of an earlier start only the peers' URLs become new.

    Raises SetupError and StorageError.
    """
    folder = NodeFolder.create(path, network_to_toml(network))
    if key is not None and not folder.key_file.exists():
        write_key_file(folder.key_file, key)
    Ledger.open(folder.chain, network, create=True).close()
