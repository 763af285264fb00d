"""What the HTTP services node, hub and provider share; it knows nothing of any of them.

- `problems`: errors as problem bodies (RFC 9457), and the status of each rejection reason
- `strict_json`: request bodies that mean exactly one thing
- `translated_route`: routes whose errors have another API's shape
- `bodies`: how much of requests' bodies may be in memory, and who has room for large ones
- `middleware`: bounds on bodies and time, one log line and one metric per request
- `application`: `create_application`, which puts the above on a FastAPI application with /healthz and /metrics
- `logs`: structured events, JSON lines when not on a terminal
- `protocol`, `websocket`: bounds on connections, heads, messages, and slow clients; `direct`: the plainest requests,
  answered before any of the above
- `server`: a process that serves an application: listening socket, signals, shutdown

Imports `chain.primitives` only.
"""
