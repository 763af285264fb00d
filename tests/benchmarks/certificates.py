"""How large a finality certificate is, and what it costs to check one."""

import random
import time
from functools import partial

from chain.primitives import message_pack
from chain.primitives.certificate import Certificate, quorum, verify_certificate
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Address, Hash32
from tests.benchmarks.chains import finality_certificate
from tests.benchmarks.measuring import Reference, Table, measure

_SIZES = (4, 7, 30)
_REPETITIONS = 20


def certificate_sizes(rounds: int) -> Table:
    """For several sizes of the validator set, in a view and with a hash as they are in practice."""
    rng = random.Random(20261122)
    reference = Reference(rng)
    rows = []
    for size in _SIZES:
        keys = [PrivateKey(rng.randbytes(32)) for _ in range(size)]
        addresses = [key.address for key in keys]
        genesis_hash, block_hash = Hash32(rng.randbytes(32)), Hash32(rng.randbytes(32))
        certificate = finality_certificate(
            keys, genesis_hash=genesis_hash, view=1_000_000, parent_view=999_999, block_hash=block_hash
        )
        seconds, recovery = measure(partial(_check, certificate, genesis_hash, addresses), reference, rounds)
        count = len(message_pack.encode(certificate))
        rows.append((str(size), str(quorum(size)), f"{count:,}", f"{seconds / recovery:.1f}"))
    return Table(
        "Finality certificates",
        ("validators", "signatures", "bytes", "checking one, in signature recoveries"),
        tuple(rows),
    )


def _check(certificate: Certificate, genesis_hash: Hash32, addresses: list[Address]) -> float:
    started = time.perf_counter()
    for _ in range(_REPETITIONS):
        verify_certificate(certificate, genesis_hash=genesis_hash, validators=addresses)
    return (time.perf_counter() - started) / _REPETITIONS
