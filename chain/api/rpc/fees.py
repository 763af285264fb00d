"""eth_gasPrice, eth_feeHistory and their like. The base fee is a parameter, 0 by default, and tips mean nothing."""

from itertools import pairwise
from typing import Any, Final

import msgspec

from chain.api.rpc.block_ids import BLOCK_NUMBER, BlockNumber, BlockTag
from chain.api.rpc.errors import SERVER_ERROR, RpcError
from chain.api.rpc.methods import Kind, Method, Parameter
from chain.api.rpc.objects import BLOCK_GAS_LIMIT
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import QUANTITY_SCHEMA, UINT64_SCHEMA, malformed, parse_uint64, quantity

MAX_HISTORY_BLOCKS: Final = 64
"""Gas is not stored, so each of them is decoded. Who asks for more gets this many, as with geth's 1,024."""
_MAX_PERCENTILES: Final = 100  # As geth.


class FeeHistory(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The answer of eth_feeHistory."""

    oldest_block: str
    base_fee_per_gas: list[str]
    gas_used_ratio: list[float]
    reward: list[list[str]] | msgspec.UnsetType = msgspec.UNSET


def fee_methods(chain: ServedChain) -> tuple[Method, ...]:
    """What the next transaction costs, and what those before it cost."""

    def history(count: int, newest: BlockTag | BlockNumber, percentiles: list[float] | None) -> FeeHistory:
        view = chain.view()
        height = chain.height_of(view, newest)
        if height is None:
            raise RpcError(SERVER_ERROR, "request beyond head block")
        oldest = max(height + 1 - min(count, MAX_HISTORY_BLOCKS), 0)
        heights = range(oldest, height + 1) if count else range(0)
        rewards = [[quantity(0)] * len(percentiles) for _ in heights] if percentiles else msgspec.UNSET
        return FeeHistory(
            oldest_block=quantity(oldest if count else 0),
            base_fee_per_gas=[
                quantity(chain.base_fee_at(each)) for each in (*heights, *([height + 1] if count else []))
            ],
            gas_used_ratio=[chain.gas_used_at(view, each) / BLOCK_GAS_LIMIT for each in heights],
            reward=rewards,
        )

    return (
        Method(
            name="eth_gasPrice",
            summary="Atoms per gas that the next block burns",
            result=QUANTITY_SCHEMA,
            handler=lambda: quantity(chain.next_base_fee()),
        ),
        Method(
            name="eth_maxPriorityFeePerGas",
            summary="Always 0: offered tips are ignored",
            result=QUANTITY_SCHEMA,
            handler=lambda: quantity(0),
        ),
        Method(
            name="eth_feeHistory",
            summary=f"Base fees and use of gas of at most {MAX_HISTORY_BLOCKS} blocks; rewards are always 0",
            parameters=(
                Parameter("blockCount", _COUNT),
                Parameter("newestBlock", BLOCK_NUMBER),
                Parameter("rewardPercentiles", _PERCENTILES, None),
            ),
            result=_HISTORY_SCHEMA,
            handler=history,
            is_heavy=True,
        ),
    )


def _parse_count(value: Any) -> int:
    """A quantity; geth takes a plain number too."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    return parse_uint64(value)


def _parse_percentiles(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) > _MAX_PERCENTILES:
        raise malformed(f"rewardPercentiles are a list of at most {_MAX_PERCENTILES} numbers")
    for each in value:
        if isinstance(each, bool) or not isinstance(each, int | float) or not 0 <= each <= 100:
            raise malformed("a reward percentile is a number from 0 to 100")
    if any(earlier > later for earlier, later in pairwise(value)):
        raise malformed("reward percentiles must ascend")
    return value


_COUNT: Final = Kind(_parse_count, {"anyOf": [UINT64_SCHEMA, {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}]})
_PERCENTILES: Final = Kind(
    _parse_percentiles,
    {"type": "array", "maxItems": _MAX_PERCENTILES, "items": {"type": "number", "minimum": 0, "maximum": 100}},
)
_HISTORY_SCHEMA: Final = {
    "type": "object",
    "required": ["oldestBlock", "baseFeePerGas", "gasUsedRatio"],
    "properties": {
        "oldestBlock": QUANTITY_SCHEMA,
        "baseFeePerGas": {"type": "array", "items": QUANTITY_SCHEMA},
        "gasUsedRatio": {"type": "array", "items": {"type": "number"}},
        "reward": {"type": "array", "items": {"type": "array", "items": QUANTITY_SCHEMA}},
    },
}
