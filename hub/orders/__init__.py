"""What clients want, before it is a job.

    request.py      the body of a job, its bounds, what a client signs of it
    quotas.py       what each API key may use in a day
    signers.py      who orders by signature alone, without a key
    pace.py         how often a client may ask what a job would cost
    moderation.py   a word list and an outside judge, asked before anything is kept
    word_list.py    finds the list's words, however they are written
    pricing.py      the job's one price, when it would be done, or why nobody can serve it

It knows the scheduler's arithmetic and no database: `hub.jobs.accepting` makes jobs of requests.
"""
