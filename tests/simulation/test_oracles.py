"""The oracles fire on violations made by hand, and the command line says which seed to look at."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from chain.consensus.effects import Effects, KeepEvidence, Record, Started
from chain.consensus.messages import CertificateMessage, JournalEntry, VoteMessage
from chain.primitives import message_pack
from chain.primitives.block import Block
from chain.primitives.certificate import NO_BLOCK, Certificate, Vote, VoteKind, assemble_certificate, sign_vote
from chain.primitives.hashing import keccak256
from chain.primitives.types import Hash32
from tests.simulation.conditions import quiet
from tests.simulation.run import Failure, replay_command, summary_of
from tests.simulation.simulation import GENESIS_HASH, Simulation, simulate
from tests.simulation.violation import Violation

HASH = keccak256(b"some block")


def world() -> Simulation:
    """Four nodes that have run for a while."""
    simulation = Simulation(quiet(0))
    simulation.run()
    return simulation


def vote(simulation: Simulation, index: int, kind: VoteKind, *, view: int = 10**6, block_hash: Hash32 = HASH) -> Vote:
    is_nullify = kind is VoteKind.NULLIFY
    return sign_vote(
        simulation.keys[index],
        genesis_hash=GENESIS_HASH,
        signer=index,
        kind=kind,
        epoch=0,
        view=view,
        parent_view=0 if is_nullify else 1,
        block_hash=NO_BLOCK if is_nullify else block_hash,
    )


def record(cast: Vote) -> Record:
    return Record(cast.epoch, cast.view, message_pack.encode(JournalEntry(vote=cast)), is_vote=True)


def expect(oracle: str) -> pytest.RaisesExc[Violation]:
    return pytest.RaisesExc(Violation, check=lambda violation: violation.oracle == oracle)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (VoteKind.NOTARIZE, VoteKind.NOTARIZE),
        (VoteKind.FINALIZE, VoteKind.FINALIZE),
        (VoteKind.FINALIZE, VoteKind.NULLIFY),
        (VoteKind.NULLIFY, VoteKind.FINALIZE),
    ],
)
def test_contradiction_of_an_honest_key(first: VoteKind, second: VoteKind) -> None:
    simulation = world()
    node, leader = simulation.nodes[0], 10**6 % 4
    simulation.oracles.synced(simulation.nodes[leader], [record(vote(simulation, leader, VoteKind.NOTARIZE))])
    node = simulation.nodes[leader]
    other = keccak256(b"another") if first is second else HASH
    if first is not VoteKind.NOTARIZE:
        simulation.oracles.synced(node, [record(vote(simulation, leader, first))])
    with expect("honest keys"):
        simulation.oracles.synced(node, [record(vote(simulation, leader, second, block_hash=other))])


def test_notarize_with_nullify_is_legal() -> None:
    simulation = world()
    leader = 10**6 % 4
    for kind in (VoteKind.NOTARIZE, VoteKind.NULLIFY):
        simulation.oracles.synced(simulation.nodes[leader], [record(vote(simulation, leader, kind))])


def test_vote_sent_before_it_is_synced() -> None:
    simulation = world()
    cast = vote(simulation, 0, VoteKind.NULLIFY)
    with expect("sync before send"):
        simulation.oracles.sending(simulation.nodes[0], VoteMessage(cast))
    simulation.oracles.synced(simulation.nodes[0], [record(cast)])
    simulation.oracles.sending(simulation.nodes[0], VoteMessage(cast))


def test_certificate_with_an_own_vote_sent_before_that_is_synced() -> None:
    simulation = world()
    certificate = assemble_certificate([vote(simulation, index, VoteKind.NULLIFY) for index in range(3)])
    with expect("sync before send"):
        simulation.oracles.sending(simulation.nodes[1], CertificateMessage(certificate))
    simulation.oracles.sending(simulation.nodes[3], CertificateMessage(certificate))


def test_notarize_of_what_the_leader_has_not_proposed() -> None:
    simulation = world()
    follower = (10**6 + 1) % 4
    with expect("proposer"):
        simulation.oracles.synced(simulation.nodes[follower], [record(vote(simulation, follower, VoteKind.NOTARIZE))])


def committed(simulation: Simulation) -> tuple[Block, Certificate]:
    stored = simulation.nodes[0].ledger.stored(simulation.nodes[0].ledger.head.height)
    assert stored is not None
    assert stored.certificate is not None
    return stored.block, stored.certificate


def test_another_final_block_at_a_height() -> None:
    simulation = world()
    block, certificate = committed(simulation)
    other = Block(msgspec.structs.replace(block.header, time_ms=block.header.time_ms + 1), block.transactions)
    with expect("one chain"):
        simulation.oracles.committed(simulation.nodes[0], other, certificate)


def test_another_state_after_the_same_block() -> None:
    simulation = world()
    height = simulation.nodes[0].ledger.head.height
    earlier = simulation.nodes[0].ledger.stored(height - 1)
    assert earlier is not None
    with expect("equal states"):
        simulation.oracles.committed(simulation.nodes[0], earlier.block, earlier.certificate)


@pytest.mark.parametrize("kind", ["too few", "another block's"])
def test_certificate_that_proves_nothing(kind: str) -> None:
    simulation = world()
    block, certificate = committed(simulation)
    if kind == "too few":
        first = certificate.signers[0]
        bad = msgspec.structs.replace(certificate, signer_bitmap=1 << first, signatures=certificate.signatures[:1])
    else:
        bad = msgspec.structs.replace(certificate, block_hash=HASH)
    with expect("certificates"):
        simulation.oracles.committed(simulation.nodes[0], block, bad)


def test_accusation_of_somebody_honest_or_without_reason() -> None:
    simulation = world()
    node = simulation.nodes[0]
    finalize, nullify = (vote(simulation, 1, kind) for kind in (VoteKind.FINALIZE, VoteKind.NULLIFY))
    notarize = vote(simulation, 1, VoteKind.NOTARIZE)
    for first, second in ((finalize, nullify), (notarize, nullify)):
        with expect("evidence"):
            simulation.oracles.after(node, Started(), Effects(tasks=(KeepEvidence(first, second),)))


def test_blame_of_somebody_honest_and_a_halt() -> None:
    simulation = world()
    with expect("blame"):
        simulation.oracles.blamed(simulation.nodes[0], simulation.nodes[1], "nothing")
    with expect("halt"):
        simulation.oracles.halted(simulation.nodes[0], "nothing")


def test_a_run_reports_what_happened() -> None:
    report = simulate(quiet(3))
    assert report.blocks >= 4
    assert report.commits >= 4 * 4
    assert report.views >= report.blocks
    assert report.crashes == report.evidence == report.lost_messages == 0
    assert 0 < report.amplification < 1


def test_summary_names_failed_seeds_and_how_to_see_them_again() -> None:
    summary = summary_of([simulate(quiet(seed)) for seed in range(2)], [Failure(7, "one chain: two")], 1.0)
    assert summary["seeds"] == 3
    assert summary["failures"] == [{"seed": 7, "reason": "one chain: two"}]
    assert summary["views_per_cpu_second"] > 0
    assert replay_command(7, 4).endswith("--replay 7 --validators 4")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation.run", *arguments], capture_output=True, text=True, check=False
    )


def test_command_line_runs_seeds_in_several_processes() -> None:
    done = run("--seeds", "4", "--validators", "1", "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seeds"] == 4


def test_replay_shows_what_happened() -> None:
    done = run("--replay", "0", "--validators", "1")
    assert done.returncode == 0, done.stderr
    assert "BuildBlock" in done.stdout
    assert "CommitBlock" in done.stdout
