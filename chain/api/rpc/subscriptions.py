"""eth_subscribe and eth_unsubscribe: what one WebSocket connection wants to hear of."""

import secrets
from typing import Any, Final

from chain.api.rpc.errors import INVALID_PARAMETERS, LIMIT_EXCEEDED, SERVER_ERROR, RpcError
from chain.api.rpc.log_queries import LOG_QUERY, MAX_HEIGHT, LogQuery, parse_log_query
from chain.api.rpc.methods import Kind, Method, Parameter
from chain.api.rpc.news import News, Subscriber, Subscription, Topic
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import NAME, malformed

MAX_SUBSCRIPTIONS: Final = 32
"""Of one connection; a page rarely has more than a handful."""
_ID_BYTES: Final = 16
_ID_SCHEMA: Final = {"title": "subscription id", "type": "string", "pattern": "^0x[0-9a-f]{32}$"}


def _parse_topic(value: Any) -> Topic:
    try:
        return Topic(value)
    except ValueError:
        raise malformed(f"subscribe to one of {', '.join(Topic)}") from None


def _parse_option(value: Any) -> LogQuery | bool:
    return value if isinstance(value, bool) else parse_log_query(value)


_TOPIC: Final = Kind(_parse_topic, {"type": "string", "enum": list(Topic)})
_OPTION: Final = Kind(_parse_option, {"anyOf": [LOG_QUERY.schema, {"type": "boolean"}]})


class Subscriptions:
    """Those of one connection."""

    def __init__(self, chain: ServedChain, news: News, subscriber: Subscriber) -> None:
        self._chain = chain
        self._news = news
        self._subscriber = subscriber
        self._ids: set[str] = set()
        self.fresh: set[str] = set()
        """Whose ids the client has not been told yet."""

    def __len__(self) -> int:
        return len(self._ids)

    def subscribe(self, topic: Topic, option: LogQuery | bool | None) -> str:
        """Begins to tell, with blocks above the present head; raises RpcError."""
        if isinstance(option, bool) and topic is not Topic.TRANSACTIONS:
            raise RpcError(INVALID_PARAMETERS, f"{topic} takes no boolean")
        if isinstance(option, LogQuery) and topic is not Topic.LOGS:
            raise RpcError(INVALID_PARAMETERS, f"{topic} takes no filter")
        if len(self._ids) >= MAX_SUBSCRIPTIONS:
            raise RpcError(LIMIT_EXCEEDED, f"too many subscriptions: at most {MAX_SUBSCRIPTIONS} on one connection")
        query = option if isinstance(option, LogQuery) else LogQuery()
        subscription = Subscription(
            "0x" + secrets.token_hex(_ID_BYTES),
            topic,
            self._subscriber,
            query.within(self._chain.head().height + 1, MAX_HEIGHT),
            option is True,
        )
        self._ids.add(subscription.id)
        self.fresh.add(subscription.id)
        self._news.add(subscription)
        return subscription.id

    def unsubscribe(self, subscription_id: str) -> bool:
        """Ends one; raises RpcError where it is none of this connection's."""
        if subscription_id not in self._ids:
            raise RpcError(SERVER_ERROR, "subscription not found")
        self._ids.remove(subscription_id)
        self._news.remove(subscription_id)
        return True

    def close(self) -> None:
        """Ends all."""
        for subscription_id in self._ids:
            self._news.remove(subscription_id)


def subscription_methods(subscriptions: Subscriptions) -> tuple[Method, ...]:
    """What a connection can do that HTTP cannot."""
    return (
        Method(
            name="eth_subscribe",
            summary="Over WebSocket: tells of new blocks, logs, or transactions as they come",
            parameters=(Parameter("topic", _TOPIC), Parameter("option", _OPTION, None)),
            result=_ID_SCHEMA,
            handler=subscriptions.subscribe,
        ),
        Method(
            name="eth_unsubscribe",
            summary="Over WebSocket: ends a subscription",
            parameters=(Parameter("id", NAME),),
            result={"type": "boolean"},
            handler=subscriptions.unsubscribe,
        ),
    )
