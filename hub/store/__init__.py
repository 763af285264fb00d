"""WHERE the hub keeps what must outlive it: SQLite in its folder, or PostgreSQL for several processes; the same tables.

- `store`: the open database: units of work are written, queries read, processes told of changes
- `transaction`, `writing`, `inserting`: a unit of work, and the one writer that commits many callers' units together
- `reading`, `answering`: many callers' queries together, and how callers are answered
- `statements`: those that a module keeps, compiled once and sent straight to the driver
- `announcements`: waking whoever waits for a change, in this process and (LISTEN/NOTIFY) in the others
- `database`: the engine: SQLite made durable, PostgreSQL, migrations, refusals at opening
- `tables`, `migrations`: the schema, as SQLAlchemy's tables and as Alembic's steps (a test holds them equal)
- `locks`: in which order rows are locked, so that no two units wait for one another over one job
- `column_types`, `records`: amounts that both databases compare rightly; rows as frozen dataclasses
- `errors`: what a caller may meet

One module of functions per concern, each on an open transaction or a reader's connection:

- `jobs`, `shards`, `waiting`, `leases`, `places`, `results`, `events`: a job's life
- `receipts`, `webhooks`: what goes out for it
- `promises`, `followed`: what deposits are promised to, and how far the chain's events are booked
- `providers`, `sessions`, `orders`: who works, who is connected where, and what processes want of them
- `checks`, `perceptual`, `outcomes`: verification, pictures seen before, and what the chain is to be told
- `endorsements`: what other hubs asked to have signed
- `quotas`, `audit` (`audit_chain`), `retention`: limits, what was signed and decided, and what is forgotten

A row is committed before what it announces happens: a job before its client hears of it, a lease before its provider
does, a result (and before it its pictures) before it is answered for, a receipt before it is attested, an attestation
before it is sent. So whatever moment a crash hits, the next process reads here what was under way and does it again.
"""
