"""A validator alone in its network, as a process of its own: what the wallet's commands talk to in tests."""

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from typer.testing import CliRunner

from chain.client import NodeClient
from chain.node.cli import app as node_app
from chain.node.folder import write_key_file
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.receipt import attestation_digest
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address

CHAIN_ID: Final = 1_414_213_562
VALIDATOR, ATTESTER = PrivateKey(b"\x0a" * 32), PrivateKey(b"\x0b" * 32)
_START_TIMEOUT_S: Final = 300


class RunningNode:
    """A validator alone in its network, as `aitbc node run` starts it."""

    def __init__(self, folder: Path, *, name: str = "wallet-test") -> None:
        self.network = Network(
            chain_id=CHAIN_ID,
            name=name,
            validators=(Validator(VALIDATOR.address, VALIDATOR.public_key),),
            attesters=(AttesterAllowance(ATTESTER.address, 10**6 * ATOMS_PER_AIT, 10**6),),
            block_interval_ms=20,
        )
        folder.mkdir()
        self.network_file = folder / "network.toml"
        self.network_file.write_text(network_to_toml(self.network))
        write_key_file(folder / "validator.key", VALIDATOR)
        files = ["--network", str(self.network_file), "--key-file", str(folder / "validator.key")]
        assert CliRunner().invoke(node_app, ["init", *files, "--data-dir", str(folder / "data")]).exit_code == 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genesis.cli", "node", "run", "--data-dir", folder / "data", "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
        )
        heard: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read_log, args=(heard,), daemon=True).start()
        self.url = heard.get(timeout=_START_TIMEOUT_S)
        assert self.url.startswith("http"), self.url

    def _read_log(self, heard: "queue.Queue[str]") -> None:
        """Puts the URL there or, where the process ends without one, what it said at last."""
        assert self.process.stderr is not None
        line = "nothing"
        for line in self.process.stderr:
            if line.startswith("{") and (event := json.loads(line))["event"] == "serving":
                heard.put(event["url"])
        heard.put(line)

    def stop(self) -> None:
        """Ends the process as an operator would."""
        self.process.terminate()
        assert self.process.wait(timeout=120) == 0

    def fund(self, key: PrivateKey, atoms: int) -> Transaction:
        """Mints for a receipt hash that nobody has seen, sent by whom it is for."""
        with NodeClient(self.url) as client:
            nonce = client.account(key.address).nonce
            receipt_hash = keccak256(key.address + nonce.to_bytes(8, "big"))
            attestation = ATTESTER.sign(attestation_digest(key.address, atoms, receipt_hash))
            call = MINT_WITH_RECEIPT.encode(key.address, atoms, receipt_hash, attestation)
            mint = sign_transaction(key, chain_id=CHAIN_ID, nonce=nonce, to=MINTER, data=call)
            client.send_transaction(mint.raw)
            assert client.wait_for_transaction(mint.hash).status == "success"
            return mint

    def balance(self, address: Address) -> int:
        """Final atoms."""
        with NodeClient(self.url) as client:
            return int(client.account(address).balance)
