"""A job from its order to its answer: the one path for every way in.

    order.py       what a client wants, whichever API it spoke
    commission.py  an order that has passed every check: whose it is, at what price, under which salt
    offers.py      what is sold now: a model, its price, the chain
    service.py     accepts orders: repeated ones, prices, limits, a durable row, the engine
    pictures.py    the store of pictures, asked in threads of its own
    completion.py  a finished computation becomes a signed receipt and an answer, both or neither
    ends.py        how jobs came to nothing, written to the log at once or as soon as the disk lets it
    running.py     a job while somebody may look: state, progress, events that late watchers get too
    answers.py     what a finished job is answered with; kept without its pictures, and put together again
    allowances.py  what each API key may ask for: pictures per time and per day, jobs at once
    links.py       signed links to pictures that need no API key
    errors.py      why an order is refused

Knows no HTTP. Everything below it is asked, never asks: the engine computes, `storage` keeps, `receipts` signs.
"""
