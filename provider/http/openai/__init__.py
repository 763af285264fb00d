"""OpenAI's images API, as its SDKs speak it: another way to the same jobs.

`schemas` checks what is asked and says what is answered, `errors` gives faults the shape that the SDKs raise their
exceptions from, `streaming` sends partial pictures as server-sent events, `multipart` reads uploads, `routes` puts it
together. Nothing here knows how pictures are made: every request becomes a `JobOrder`.
"""
