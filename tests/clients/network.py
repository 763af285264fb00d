"""The nodes of a devnet, its attester's word, and a client's script run under Node.js: what every client's test needs.

The nodes are those of `aitbc devnet`, in processes of their own; hub and providers are left out, because a mint needs
no picture but only an attestation, and the devnet's attester key is at hand.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from chain.client import NodeClient
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER, MODULES
from chain.primitives.receipt import attestation_digest
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Hash32
from genesis.nodes import DevnetNodes
from genesis.secrets import DevnetSecrets

RPC_PATH: Final = "/rpc"
_STOP_S: Final = 20.0
_SCRIPT_S: Final = 120.0


class AttestedMint(NamedTuple):
    """The arguments of `mintWithReceipt`, in its order."""

    provider: Address
    units: int
    receipt_hash: Hash32
    attestation: bytes

    @property
    def call_data(self) -> bytes:
        """The call, as this project encodes it."""
        return MINT_WITH_RECEIPT.encode(*self)

    def texts(self) -> list[str]:
        """The arguments as a script or a command line takes them."""
        return [
            to_checksum_address(self.provider),
            str(self.units),
            to_hex(self.receipt_hash),
            to_hex(self.attestation),
        ]


class DevnetNetwork:
    """A devnet's validators and its follower, to which the clients talk; as a context manager it stops them."""

    def __init__(self, folder: Path, *, validators: int = 4) -> None:
        """Starts them in a new folder, and returns when all answer."""
        folder.mkdir()
        secrets = DevnetSecrets.load_or_draw(folder, validators=validators)
        self.secrets = secrets
        self._attester = secrets.key("attester")
        self._receipts = 0
        self._nodes = DevnetNodes(folder, secrets, lambda _told: None)
        self.chain_id = secrets.chain_id
        try:
            self._nodes.start()
        except BaseException:
            self._stop_nodes()
            raise
        self.url = self._nodes.follower.url
        self.client = NodeClient(self.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends every process."""
        self.client.close()
        self._stop_nodes()

    def _stop_nodes(self) -> None:
        for process in self._nodes.processes:
            process.terminate()
        for process in self._nodes.processes:
            process.wait_stopped(_STOP_S)

    @property
    def rpc_url(self) -> str:
        """Where the follower answers JSON-RPC."""
        return self.url + RPC_PATH

    @property
    def websocket_url(self) -> str:
        """The same over WebSocket."""
        return self.rpc_url.replace("http://", "ws://", 1)

    def attested_mint(self, provider: Address, atoms: int = ATOMS_PER_AIT) -> AttestedMint:
        """What the attester signs for a receipt that nobody has used."""
        self._receipts += 1
        receipt_hash = keccak256(b"receipt %d of the clients' tests" % self._receipts)
        attestation = self._attester.sign(attestation_digest(provider, atoms, receipt_hash))
        return AttestedMint(provider, atoms, receipt_hash, attestation)

    def funded(self, atoms: int = 100 * ATOMS_PER_AIT) -> PrivateKey:
        """A new key that holds so much: minted, final, and its nonce is 1."""
        key = PrivateKey.generate()
        call_data = self.attested_mint(key.address, atoms).call_data
        mint = sign_transaction(key, chain_id=self.chain_id, nonce=0, to=MINTER, data=call_data)
        self.client.send_transaction(mint.raw)
        assert self.client.wait_for_transaction(mint.hash).status == "success"
        return key

    def balance(self, address: Address | str) -> int:
        """Atoms, as the REST API tells it."""
        return int(self.client.account(address).balance)

    def nonce(self, address: Address | str) -> int:
        """Of the newest final block, as the REST API tells it."""
        return int(self.client.account(address).nonce)

    def minted_at(self, address: Address | str) -> int:
        """The height of the block that minted for it, as the REST API tells it."""
        (mint,) = self.client.account_mints(address).items
        assert mint.height is not None
        return int(mint.height)

    def script_inputs(self, key: PrivateKey, **more: Any) -> dict[str, Any]:
        """What a person types into a script: the node's URL, a key, and where the modules are."""
        modules = {name: to_checksum_address(address) for name, address in MODULES.items()}
        return {
            "url": self.url,
            "rpcUrl": self.rpc_url,
            "webSocketUrl": self.websocket_url,
            "privateKey": to_hex(key.secret),
            "modules": modules,
            **more,
        }


def run_script(
    script: Path, scenario: str, inputs: Mapping[str, Any], *, timeout_s: float = _SCRIPT_S
) -> dict[str, Any]:
    """What a scenario of a Node.js script prints as JSON; fails the test with what the script said of an error."""
    done = subprocess.run(
        ["node", script.name, scenario],
        cwd=script.parent,
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{script.name} {scenario}:\n{done.stderr[-6_000:]}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
