"""The hub's face: jobs for clients with an API key, the same for OpenAI's SDK, pages, and the providers' socket.

application.py   all of it in one application
parts.py         what the routes work with
guard.py         whose key it is
answers.py       the JSON that is answered with
describing.py    rows as those answers
refusals.py      what went wrong as a problem with a status
readiness.py     whether jobs may be sent here
links.py         signed links to pictures
job_routes.py    send, list, look, cancel, estimate
picture_routes.py  one picture
following.py     a job's events from the database and glimpses from memory, in one stream
event_routes.py  that stream as server-sent events
live.py          and over a WebSocket
streams.py       how many of both one client may have open
openai.py        /v1/images/generations and /v1/models
public_routes.py who this hub and its providers are
pages/           a page to type a prompt, watch it grow, and see receipt and mint
"""
