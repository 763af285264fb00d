"""The simulated world itself: time, network, disk, signatures, the light chain."""

from __future__ import annotations

from random import Random

import pytest

from chain.consensus.effects import Record, Settings, Verdict
from chain.consensus.messages import Message, Status
from chain.primitives import message_pack
from chain.primitives.block import Block
from chain.primitives.certificate import validators_hash
from chain.primitives.hashing import keccak256
from chain.primitives.keys import recover_address
from chain.primitives.rejection import Rejected
from tests.simulation.disk import SimulatedJournal
from tests.simulation.garbage import garbled
from tests.simulation.ledgers import LightLedger, final_range
from tests.simulation.light_chain import Executed, Invalid, LightRules, LightTransaction, genesis_of
from tests.simulation.network import Conditions, SimulatedNetwork
from tests.simulation.schedule import Schedule
from tests.simulation.signatures import SignatureBook, key_of
from tests.simulation.sizes import element_count

BOOK = SignatureBook(is_real=False)
KEY = key_of("somebody", BOOK)
OTHER = key_of("somebody else", BOOK)
SETTINGS = Settings(0, (KEY.address, OTHER.address), 100, 0, 1_000)
GENESIS = genesis_of(SETTINGS, keccak256(b"genesis"))


class Listener:
    """Notes what arrives."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.heard: list[tuple[int, int, Message]] = []

    def receive(self, sender: int, message: Message) -> None:
        """Notes it."""
        self.heard.append((self.schedule.now_ms, sender, message))


def network_of_two(*, is_in_order: bool = False) -> tuple[Schedule, SimulatedNetwork, Listener]:
    schedule = Schedule()
    network = SimulatedNetwork(schedule, Random(1), is_encoded=True, is_in_order=is_in_order)
    listener = Listener(schedule)
    network.join(Listener(schedule))
    network.join(listener)
    return schedule, network, listener


def run_out(schedule: Schedule) -> None:
    schedule.run(until_ms=schedule.now_ms + 10**6, is_done=lambda: False)


def transaction(number: int, *validators: object) -> bytes:
    return message_pack.encode(LightTransaction(number, validators))  # type: ignore[arg-type]


# Time


def test_actions_run_in_order_of_time_and_then_of_scheduling() -> None:
    schedule, done = Schedule(), list[str]()
    for delay_ms, name in ((5, "late"), (1, "early"), (5, "later"), (0, "now")):
        schedule.after(delay_ms, done.append, name)
    run_out(schedule)
    assert done == ["now", "early", "late", "later"]
    assert schedule.now_ms == 10**6


def test_run_stops_at_its_time_and_when_done() -> None:
    schedule, done = Schedule(), list[int]()
    for number in range(100):
        schedule.after(number, done.append, number)
    schedule.run(until_ms=9, is_done=lambda: False)
    assert done[-1] == 9
    schedule.run(until_ms=99, is_done=lambda: True)
    assert len(done) == 26
    assert schedule.now_ms == 25


# Network


def test_network_delivers_within_its_bounds() -> None:
    schedule, network, listener = network_of_two()
    network.conditions = Conditions(5, 9)
    for view in range(50):
        network.send(0, 1, Status(0, view, 0))
    run_out(schedule)
    assert sorted(message.view for _, _, message in listener.heard if isinstance(message, Status)) == [*range(50)]
    assert {time_ms for time_ms, _, _ in listener.heard} == {5, 6, 7, 8, 9}
    assert network.sent == [50, 0]


@pytest.mark.parametrize("is_in_order", [False, True])
def test_network_reorders_unless_told_not_to(is_in_order: bool) -> None:
    schedule, network, listener = network_of_two(is_in_order=is_in_order)
    network.conditions = Conditions(1, 50, spikes=0.3, spike_ms=500)
    for view in range(50):
        network.send(0, 1, Status(0, view, 0))
    run_out(schedule)
    views = [message.view for _, _, message in listener.heard if isinstance(message, Status)]
    assert (views == sorted(views)) is is_in_order


def test_network_loses_and_doubles() -> None:
    schedule, network, listener = network_of_two()
    network.conditions = Conditions(1, 1, loss=0.5)
    for _ in range(400):
        network.send(0, 1, Status(0, 0, 0))
    run_out(schedule)
    assert 150 < len(listener.heard) < 250
    assert network.lost_count == 400 - len(listener.heard)
    listener.heard.clear()
    network.conditions = Conditions(1, 1, doubling=1.0)
    network.send(0, 1, Status(0, 0, 0))
    run_out(schedule)
    assert len(listener.heard) == 2


def test_cut_link_is_cut_one_way_until_every_cut_is_mended() -> None:
    schedule, network, listener = network_of_two()
    network.cut(0, 1)
    network.cut(0, 1)
    network.mend(0, 1)
    assert network.is_cut(0, 1)
    assert not network.is_cut(1, 0)
    network.send(0, 1, Status(0, 0, 0))
    network.mend(0, 1)
    network.send(0, 1, Status(0, 1, 0))
    run_out(schedule)
    assert [message for _, _, message in listener.heard] == [Status(0, 1, 0)]


# Disk


def records(count: int, *, is_vote: bool = True) -> list[Record]:
    return [Record(0, view, b"%d" % view, is_vote) for view in range(count)]


def test_crash_keeps_a_prefix_of_what_was_not_synced() -> None:
    lengths = []
    for seed in range(30):
        journal = SimulatedJournal()
        journal.append(records(3))
        journal.sync()
        journal.append(records(2))
        journal.tear(Random(seed))
        journal.sync()
        recovered = journal.recovered()
        assert recovered in ((b"0", b"1", b"2"), (b"0", b"1", b"2", b"0"), (b"0", b"1", b"2", b"0", b"1"))
        lengths.append(len(recovered))
    assert {*lengths} == {3, 4, 5}


def test_journal_is_new_until_a_vote_is_synced_and_after_it_was_lost() -> None:
    journal = SimulatedJournal()
    journal.append(records(1, is_vote=False))
    journal.sync()
    assert journal.is_new
    journal.append(records(1))
    assert journal.is_new
    journal.sync()
    assert not journal.is_new
    journal.prune(0, 5)
    assert not journal.is_new
    assert journal.recovered() == ()
    journal.lose()
    assert journal.is_new


def test_prune_drops_earlier_views_and_epochs() -> None:
    journal = SimulatedJournal()
    journal.append([Record(0, 9, b"a", True), Record(1, 3, b"b", True), Record(1, 4, b"c", True)])
    journal.prune(1, 3)
    assert journal.recovered() == (b"c",)


# Signatures


@pytest.mark.parametrize("is_real", [False, True])
def test_only_who_has_the_key_can_sign(is_real: bool) -> None:
    book = SignatureBook(is_real=is_real)
    key, digest = key_of("a", book), keccak256(b"digest")
    signature = key.sign(digest)
    assert key.sign(digest) == signature
    assert book.recover(digest, signature) == key.address
    for forged in (signature[:5] + bytes((signature[5] ^ 1,)) + signature[6:], bytes(65), signature[:64]):
        try:
            assert book.recover(digest, forged) != key.address
        except Rejected:
            continue
    with pytest.raises(Rejected):
        SignatureBook(is_real=False).recover(digest, signature)


def test_real_signatures_are_real() -> None:
    key = key_of("a", SignatureBook(is_real=True))
    assert recover_address(keccak256(b"digest"), key.sign(keccak256(b"digest"))) == key.address


# Garbage


def test_garbage_is_decodable_and_something_else() -> None:
    message, made = Status(1, 2, 3), list[Message]()
    for seed in range(50):
        garbage = garbled(message, Random(seed))
        if garbage is not None:
            made.append(garbage)
    assert len(made) > 20
    assert sum(garbage != message for garbage in made) > 15


# The light chain


def test_light_block_executes_to_the_same_state_everywhere() -> None:
    built = LightRules(GENESIS).build(GENESIS, [transaction(0)], proposer=KEY.address, time_ms=1)
    executed = LightRules(GENESIS).execute(GENESIS, built.block)
    assert executed == built
    assert built.state.next_number == 1


def test_light_block_with_any_field_wrong_is_invalid() -> None:
    import msgspec

    block = LightRules(GENESIS).build(GENESIS, [transaction(0)], proposer=KEY.address, time_ms=1).block
    for name in block.header.__struct_fields__:
        value = getattr(block.header, name)
        wrong = value + 1 if isinstance(value, int) else bytes(len(value))
        if name == "time_ms":
            wrong = 0
        elif name == "results_root":
            wrong = b"\1" * 32
        header = msgspec.structs.replace(block.header, **{name: wrong})
        outcome = LightRules(GENESIS).execute(GENESIS, Block(header, block.transactions))
        expected = Verdict.UNBOUND if name == "transactions_root" else Verdict.INVALID
        assert isinstance(outcome, Invalid), name
        assert outcome.verdict is expected, name


def test_light_transactions_come_in_order_and_end_the_epoch() -> None:
    rules = LightRules(GENESIS)
    built = rules.build(GENESIS, [transaction(0, KEY.address)], proposer=KEY.address, time_ms=1)
    assert built.block.header.next_validators_hash == validators_hash(1, (KEY.address,))
    assert (built.state.epoch, built.state.settings.epoch) == (1, 1)
    after = rules.build(built, [], proposer=KEY.address, time_ms=2)
    assert isinstance(LightRules(GENESIS).execute(built, after.block), Executed)
    assert after.block.header.epoch == 1


def test_light_ledger_builds_commits_serves_and_forgets() -> None:
    ledger = LightLedger(GENESIS, LightRules(GENESIS))
    ledger.receive(1, transaction(1))
    assert not ledger.is_waiting()
    ledger.receive(0, transaction(0))
    assert ledger.is_waiting()
    head = GENESIS.block.header.hash
    block = ledger.build(head, proposer=KEY.address, time_ms=5, may_be_empty=False, must_be_empty=False)
    assert block is not None
    assert len(block.transactions) == 2
    assert ledger.is_executed(block.header.hash)
    ledger.restart(Random(1))
    assert not ledger.is_executed(block.header.hash)
    assert ledger.execute(block) == (Verdict.VALID, "")
    from chain.consensus.effects import Floor

    ledger.commit(block.header.hash, None, Floor(0, 1, block.header.height, block.header.hash), sync=True)
    assert ledger.head == block.header
    assert ledger.stored_by_hash(block.header.hash) == block
    assert final_range(ledger, 1) is None  # Nothing certified yet.
    assert not ledger.build(block.header.hash, proposer=KEY.address, time_ms=9, may_be_empty=False, must_be_empty=False)


def test_element_count_follows_containers_of_the_engine_only() -> None:
    assert element_count([1, 2, {"a": [3, 4]}]) == 3 + 1 + 2
    assert element_count(BOOK) == 0  # Not the engine's.
