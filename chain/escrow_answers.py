"""What a node answers about clients' deposits: beside `chain.answers`, in the same ways."""

from chain.answers import AddressText, Answer, Atoms, HashText
from chain.primitives.escrow import secured_atoms
from chain.primitives.types import Amount, BlockHeight


class DepositView(Answer, frozen=True):
    """What a client has put aside for an audience, after the block of `height`. Times are Unix seconds."""

    client: AddressText
    audience: str
    hub: HashText
    """Keccak-256 of the audience, as in the module's events."""
    balance: Atoms
    deadline: int
    """Settled before, refunded from then on."""
    withdrawal: Atoms
    """What the client has asked to take out; it is still part of the balance."""
    withdrawable_from: int
    """0 where nothing is asked."""
    height: BlockHeight
    finalized: bool

    def secured_atoms(self, until_s: int) -> Amount:
        """What the client cannot take back before `until_s` has passed (`chain.primitives.escrow.secured_atoms`)."""
        return secured_atoms(
            balance=self.balance,
            deadline=self.deadline,
            withdrawal=self.withdrawal,
            withdrawable_from=self.withdrawable_from,
            until_s=until_s,
        )


class DepositsView(Answer, frozen=True):
    """All deposits of a client, oldest first: one per audience, few enough for one answer."""

    client: AddressText
    deposits: list[DepositView]
    height: BlockHeight
    finalized: bool
