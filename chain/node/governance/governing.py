"""What an operator does with a validator's key through a node: propose, approve, revoke, execute."""

from chain.answers import StatusView, TransactionView
from chain.client import NodeClient
from chain.governance_answers import ProposalView
from chain.node.key_file import SetupError
from chain.primitives.hexadecimal import parse_address, parse_hex, to_hex
from chain.primitives.keys import Signer
from chain.primitives.modules import APPROVE_PROPOSAL, EXECUTE, GOVERNANCE, PROPOSE, PROPOSED_EVENT, REVOKE
from chain.primitives.network import Network
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import Address


class Operator:
    """A validator's key and the node that it speaks through. Methods raise NodeError, and SetupError for a refusal."""

    def __init__(self, client: NodeClient, key: Signer, *, network: Network, timeout_s: float) -> None:
        """Raises SetupError where the node is of another network."""
        check_network(client, network)
        self.client = client
        self.key = key
        self.chain_id = network.chain_id
        self._timeout_s = timeout_s

    def propose(self, call_data: bytes, target: Address = GOVERNANCE) -> ProposalView:
        """Has a module called, governance's own or the market's, once enough agree."""
        view = self._send(PROPOSE.encode(target, call_data))
        numbers = [
            int(log.topics[1], 16)
            for log in view.logs
            if parse_address(log.address) == GOVERNANCE and parse_hex(log.topics[0]) == PROPOSED_EVENT.topic
        ]
        if len(numbers) != 1:
            raise SetupError(f"the node at {self.client.url} does not say which number the proposal has")
        return self.client.proposal(numbers[0])

    def approve(self, number: int) -> ProposalView:
        """Agrees to a proposal."""
        self._send(APPROVE_PROPOSAL.encode(number))
        return self.client.proposal(number)

    def revoke(self, number: int) -> ProposalView:
        """Takes an approval back; the proposer's closes the proposal."""
        self._send(REVOKE.encode(number))
        return self.client.proposal(number)

    def execute(self, number: int) -> ProposalView:
        """Makes the call of a proposal that enough have approved."""
        self._send(EXECUTE.encode(number))
        return self.client.proposal(number)

    def _send(self, call_data: bytes) -> TransactionView:
        """Signs, submits and waits until it is final."""
        account = self.client.account(self.key.address)
        transaction = sign_transaction(
            self.key,
            chain_id=self.chain_id,
            nonce=account.pending_nonce,
            to=GOVERNANCE,
            data=call_data,
            max_fee=self.client.parameters().parameters.get("base_fee_atoms", 0),
        )
        self.client.send_transaction(transaction.raw)
        view = self.client.wait_for_transaction(transaction.hash, timeout_s=self._timeout_s)
        if view.status != "success":
            raise SetupError(f"the chain has refused it: {view.reason}")
        return view


def check_network(client: NodeClient, network: Network) -> StatusView:
    """How the node is; raises SetupError where it is of another network."""
    status = client.status()
    if status.genesis_hash != to_hex(network.genesis_hash):
        raise SetupError(
            f"the node at {client.url} is of the network {status.network!r} with the genesis hash "
            f"{status.genesis_hash}, but {network.name!r} has {to_hex(network.genesis_hash)}"
        )
    return status


def is_carried(proposal: ProposalView) -> bool:
    """Whether an open proposal has all the approvals that it needs."""
    return proposal.status == "open" and proposal.counted_approvals >= proposal.needed_approvals
