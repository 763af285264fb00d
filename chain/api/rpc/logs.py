"""eth_getLogs: the events of a range of blocks."""

from typing import Final

from chain.api.log_search import MAX_LOGS, FoundLog, LogFilter, TooMuch, search_logs
from chain.api.rpc.errors import LIMIT_EXCEEDED, RpcError
from chain.api.rpc.log_queries import LOG_QUERY, LogQuery
from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.objects import RpcLog, log_object
from chain.api.rpc.schemas import LOG_SCHEMA
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import quantity
from chain.storage.reader import ChainReader

LOGS_SCHEMA: Final = {"type": "array", "items": LOG_SCHEMA}


def log_methods(chain: ServedChain) -> tuple[Method, ...]:
    """Logs of one chain."""

    def get_logs(query: LogQuery) -> list[RpcLog]:
        view = chain.view()
        return [found_log_object(found) for found in find_logs(view, query.resolve(chain, view))]

    return (
        Method(
            name="eth_getLogs",
            summary=f"Events that a filter matches; beyond {MAX_LOGS} the error names a range that works",
            parameters=(Parameter("filter", LOG_QUERY),),
            result=LOGS_SCHEMA,
            handler=get_logs,
            is_heavy=True,
        ),
    )


def find_logs(reader: ChainReader, wanted: LogFilter) -> list[FoundLog]:
    """As `search_logs`; raises RpcError that says how to narrow the range."""
    try:
        return search_logs(reader, wanted)
    except TooMuch as too_much:
        narrower = {"from": quantity(too_much.from_height), "to": quantity(too_much.to_height), "limit": MAX_LOGS}
        raise RpcError(LIMIT_EXCEEDED, str(too_much), narrower) from None


def found_log_object(found: FoundLog) -> RpcLog:
    """A log as Ethereum tools expect it."""
    return log_object(
        found.log,
        block_hash=found.block_hash,
        height=found.height,
        time_ms=found.time_ms,
        transaction_hash=found.transaction_hash,
        transaction_index=found.transaction_index,
        log_index=found.log_index,
    )
