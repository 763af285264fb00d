"""WHERE a provider keeps what must outlive it: one SQLite file in its data folder, and a store of pictures.

- `folder_lock`: one provider per data folder, and who that is
- `database`: the file opened, checked and brought up to date; reading and writing as transactions
- `tables`, `migrations`: its schema, as SQLAlchemy's models and as Alembic's steps (a test holds them equal)
- `rows`: jobs and receipts as the rest of the package sees them
- `identity`: whose folder it is, and its secrets
- `outbox`: every receipt from the moment it is signed until the chain has it for good
- `job_log`: every job: accepted once, ended once, never with its prompt
- `artifacts`, `artifact_places`: recent pictures by their SHA-256, in a folder or an S3-compatible bucket
- `retention`: what is forgotten, and when

Everything here blocks: call it from a thread. What a method has returned from survives a power cut.
"""
