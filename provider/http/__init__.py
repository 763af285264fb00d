"""What the provider answers over HTTP: the edge where requests are checked, and every way in becomes a `JobOrder`.

    application.py     puts it together: limits on bodies, CORS, errors, routes
    guard.py           who asks: Bearer, the plan's api_key, HTTP Basic; wrong keys are counted by address
    plan.py            POST /v1/generate-image; schemas.py checks its JSON, source_images.py its picture
    openai/            OpenAI's images API
    automatic1111/     Automatic1111's API
    serving.py         how a request waits for its job, and the Idempotency-Key
    job_routes.py      jobs: state, list, cancel, pictures, openings of steps
    live.py            the WebSocket: progress, previews, log lines, then the picture (live_messages.py: its words)
    receipt_routes.py  receipts, and the attestations that are brought for them
    health.py          what this provider is, and whether it serves
    parts.py           what routes may ask; gauges.py shows some of it to Prometheus
    problems.py        every error's status and problem body

Knows how things are asked and answered, never how a picture is made: that is `provider.jobs`.
"""
