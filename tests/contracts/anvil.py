"""An EVM chain on this machine, and a Solidity compiler: what the tests of contracts and swaps talk to."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from chain.primitives.abi import Function
from chain.primitives.hexadecimal import parse_address, parse_hex, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import Address

CHAIN_ID = 3_141_592_653
DEPLOYER = Address(bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c"))
"""Arachnid's deterministic deployment proxy, which anvil's chains have from the start."""


class Evm:
    """An anvil process, spoken to over JSON-RPC."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, *parameters: Any) -> Any:
        """The result; fails the test on an error."""
        answer = self._ask(method, parameters)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def refusal(self, method: str, *parameters: Any) -> str:
        """The error's message; fails the test where there is none."""
        return str(self._ask(method, parameters)["error"]["message"])

    def _ask(self, method: str, parameters: tuple[Any, ...]) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer: dict[str, Any] = httpx.post(self.url, json=request, timeout=30).json()
        return answer

    def mined(self, transaction_hash: str) -> dict[str, Any]:
        """The EVM's receipt of a transaction; anvil mines each at once."""
        deadline = time.monotonic() + 120
        while (receipt := self.call("eth_getTransactionReceipt", transaction_hash)) is None:
            assert time.monotonic() < deadline, "not mined"
            time.sleep(0.02)
        found: dict[str, Any] = receipt
        return found

    def deploy(self, bytecode: bytes) -> Address:
        """The address of a new contract, made by an account that anvil holds the key of."""
        deployer = self.call("eth_accounts")[0]
        receipt = self.mined(self.call("eth_sendTransaction", {"from": deployer, "data": to_hex(bytecode)}))
        assert receipt["status"] == "0x1"
        return parse_address(receipt["contractAddress"])

    def deploy_anywhere(self, bytecode: bytes) -> Address:
        """Through the deterministic deployment proxy: the address is the same on each chain, and made of the code."""
        call = {"from": self.call("eth_accounts")[0], "to": to_hex(DEPLOYER), "data": to_hex(bytes(32) + bytecode)}
        address = parse_address(self.call("eth_call", call, "latest"))
        assert self.mined(self.call("eth_sendTransaction", call))["status"] == "0x1"
        return address

    def send(self, key: PrivateKey, to: Address, call_data: bytes, value: int = 0) -> dict[str, Any]:
        """Sends a call in our own envelope, with gas for it as a present; the EVM's receipt."""
        transaction = self._signed(key, to, call_data, value)
        sent_hash = self.call("eth_sendRawTransaction", to_hex(transaction.raw))
        assert sent_hash == to_hex(transaction.hash)
        return self.mined(sent_hash)

    def _signed(self, key: PrivateKey, to: Address, call_data: bytes, value: int) -> Transaction:
        address = to_hex(key.address)
        self.call("anvil_setBalance", address, hex(10**20))
        nonce = int(self.call("eth_getTransactionCount", address, "pending"), 16)
        return sign_transaction(
            key,
            chain_id=CHAIN_ID,
            nonce=nonce,
            to=to,
            value=value,
            data=call_data,
            gas_limit=500_000,
            max_fee=10**11,
        )

    def view(self, to: Address, function: Function, *arguments: Any) -> Any:
        """What a view function returns."""
        request = {"to": to_hex(to), "data": to_hex(function.encode(*arguments))}
        return function.decode_output(parse_hex(self.call("eth_call", request, "latest")))[0]

    def revert_reason(self, to: Address, call_data: bytes) -> str:
        """Why a call is refused."""
        return self.refusal("eth_call", {"to": to_hex(to), "data": to_hex(call_data)}, "latest")

    def revert_reason_of(self, sender: PrivateKey, to: Address, call_data: bytes, value: int = 0) -> str:
        """The same for a call of somebody, with ether."""
        call = {"from": to_hex(sender.address), "to": to_hex(to), "data": to_hex(call_data), "value": hex(value)}
        return self.refusal("eth_call", call, "latest")

    def pass_time(self, seconds: int) -> None:
        """Lets the chain's clock jump, and mines a block."""
        self.call("evm_increaseTime", seconds)
        self.call("evm_mine")

    def time_s(self) -> int:
        """Of the newest block."""
        return int(self.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)


def compile_contracts(node_tools: Path) -> dict[str, Any]:
    """Contract name → solc's output for it."""
    folder = Path(__file__).parent
    sources = {path.name: {"content": path.read_text()} for path in sorted(folder.glob("*.sol"))}
    outputs = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.methodIdentifiers"]
    settings = {"outputSelection": {"*": {"*": outputs}}, "metadata": {"appendCBOR": False}}
    request = {"language": "Solidity", "sources": sources, "settings": settings}
    with tempfile.TemporaryFile("w+") as written:  # solcjs exits before a pipe has taken more than 64 KiB.
        subprocess.run(
            [node_tools / "solcjs", "--standard-json"],
            input=json.dumps(request),
            stdout=written,
            text=True,
            timeout=600,
            check=True,
        )
        written.seek(0)
        output = written.read()
    answer = json.loads(output[output.index("{") :])
    assert [entry for entry in answer.get("errors", []) if entry["severity"] == "error"] == []
    return {name: contract for contracts in answer["contracts"].values() for name, contract in contracts.items()}


@contextmanager
def running_anvil(node_tools: Path, log: Path) -> Iterator[Evm]:
    """A fresh EVM chain on a loopback port that the operating system chose."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [node_tools / "anvil", "--host", "127.0.0.1", "--port", "0", "--chain-id", str(CHAIN_ID)],
            stdout=output,
            stderr=output,
            start_new_session=True,  # npm's launcher is the parent of the real process: both end as one group.
        )
    try:
        deadline = time.monotonic() + 300
        while "Listening on " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "anvil does not answer"
            time.sleep(0.05)
        yield Evm("http://" + log.read_text().split("Listening on ")[1].split()[0])
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # The launcher passes it on.
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
