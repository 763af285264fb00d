"""A plain WebSocket client of a node's JSON-RPC, which knows nothing of what it should be told."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 60.0


class RpcSocket:
    """Calls, and what is told meanwhile."""

    def __init__(self, url: str, **options: Any) -> None:
        """`url` of the node, without a path."""
        options.setdefault("max_size", None)
        self._opened = ExitStack()
        connecting = connect(url.replace("http", "ws", 1) + "/rpc", **options)
        self.socket: ClientConnection = self._opened.enter_context(connecting)
        self.told: list[tuple[str, Any]] = []
        """Subscription and result of each notification."""
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def send(self, method: str, *parameters: Any) -> int:
        """Asks, and gives the id of the call."""
        self._calls += 1
        self.socket.send(json.dumps({"jsonrpc": "2.0", "id": self._calls, "method": method, "params": parameters}))
        return self._calls

    def receive(self) -> Any:
        """The next message that is no notification."""
        while True:
            message = json.loads(self.socket.recv(PATIENCE_S))
            if not self._is_notice(message):
                return message

    def call(self, method: str, *parameters: Any) -> Any:
        """The result of a call that goes well."""
        call_id = self.send(method, *parameters)
        response = self.receive()
        assert response["id"] == call_id
        assert "result" in response, response
        return response["result"]

    def error(self, method: str, *parameters: Any) -> dict[str, Any]:
        """The error of one that does not."""
        call_id = self.send(method, *parameters)
        response = self.receive()
        assert response["id"] == call_id
        error: dict[str, Any] = response["error"]
        return error

    def wait(self, count: int) -> list[tuple[str, Any]]:
        """Until so many notifications have come altogether."""
        while len(self.told) < count:
            assert self._is_notice(json.loads(self.socket.recv(PATIENCE_S)))
        return self.told

    def results(self, subscription: str) -> list[Any]:
        """What one subscription has told so far."""
        return [result for name, result in self.told if name == subscription]

    def _is_notice(self, message: Any) -> bool:
        if not isinstance(message, dict) or message.get("method") != "eth_subscription":
            return False
        assert message.keys() == {"jsonrpc", "method", "params"}
        assert message["jsonrpc"] == "2.0"
        self.told.append((message["params"]["subscription"], message["params"]["result"]))
        return True
