"""The bloom filter over logs against Ethereum's own implementation in Python."""

from eth_bloom.bloom import BloomFilter
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.block import Log
from chain.primitives.bloom import BLOOM_BYTES, logs_bloom
from chain.primitives.modules import MINTED_EVENT, MINTER
from chain.primitives.types import Address, Hash32

LOGS = st.builds(
    Log,
    address=st.binary(min_size=20, max_size=20).map(Address),
    topics=st.lists(st.binary(min_size=32, max_size=32).map(Hash32), max_size=4).map(tuple),
    data=st.binary(max_size=64),
)


@given(st.lists(LOGS, max_size=20))
def test_same_bits_as_eth_bloom(logs: list[Log]) -> None:
    values = [value for log in logs for value in (log.address, *log.topics)]
    assert int.from_bytes(logs_bloom(logs), "big") == int(BloomFilter.from_iterable(values))


def test_no_logs_set_no_bit() -> None:
    assert logs_bloom(()) == bytes(BLOOM_BYTES)


def test_data_set_no_bit() -> None:
    log = Log(MINTER, (MINTED_EVENT.topic,), b"")
    assert logs_bloom([log]) == logs_bloom([Log(MINTER, (MINTED_EVENT.topic,), b"anything"), log])
