"""The effects of one event, while they come together."""

from collections.abc import Iterable

from chain.consensus import messages
from chain.consensus.effects import Ask, Effects, PeerId, Record, Send, SetTimer, Task
from chain.consensus.messages import JournalEntry, Message
from chain.primitives import message_pack
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate, Vote


class Draft:
    """Collects; `finish` gives the whole, and leaves nothing behind."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._records: list[Record] = []
        self._sends: list[Send | Ask] = []
        self._timers: dict[str, SetTimer] = {}
        self._tasks: list[Task] = []

    def record_vote(self, vote: Vote, block: Block | None) -> None:
        """An own vote, with the block that it is for where the journal does not hold it yet."""
        entry = message_pack.encode(JournalEntry(vote=vote, block=block))
        self._records.append(Record(vote.epoch, vote.view, entry, is_vote=True))

    def record_certificate(self, certificate: Certificate, needed_until_view: int) -> None:
        """A certificate; it is needed until the floor passes that view."""
        entry = message_pack.encode(JournalEntry(certificate=certificate))
        self._records.append(Record(certificate.epoch, needed_until_view, entry, is_vote=False))

    def send(self, message: Message, peer: PeerId | None = None) -> None:
        """To one peer, or to all."""
        self._sends.append(Send(message, peer))

    def send_certificate(self, certificate: Certificate, peer: PeerId | None = None) -> None:
        """To one peer, or to all."""
        self.send(messages.CertificateMessage(certificate), peer)

    def send_votes(self, votes: Iterable[Vote], peer: PeerId | None = None) -> None:
        """To one peer, or to all."""
        for vote in votes:
            self.send(messages.VoteMessage(vote), peer)

    def ask(self, message: Message, peer: PeerId | None) -> None:
        """That peer, or any."""
        self._sends.append(Ask(message, peer))

    def set_timer(self, name: str, delay_ms: int | None) -> None:
        """The last setting of one event counts."""
        self._timers[name] = SetTimer(name, delay_ms)

    def do(self, task: Task) -> None:
        """One task more."""
        self._tasks.append(task)

    def finish(self) -> Effects:
        """Everything, in order."""
        effects = Effects(tuple(self._records), tuple(self._sends), tuple(self._timers.values()), tuple(self._tasks))
        self._clear()
        return effects
