"""What `aitbc hub` can do: one module per command, or per few that belong together; `hub.cli` lists them.

Each module has `register(app)`. Nothing is imported at its top that would make `--help` wait.

- `flags`, `outcome`, `showing`: shared options; how a failure becomes one line; a job for people
- `init`, `run`: a hub's folder, and its process
- `submit`, `following`: a job sent, watched, asked for, taken back
- `signing_orders`: the key that signs a job, and for whom
- `providers`: who works here, and who may not (any more)
- `sla`: what a provider has promised, and what was measured of it
- `audit`: the log of everything that was signed, checked; receipts that shall not be signed
- `books`: who has earned and deposited what
- `database`: the operator's way to the hub's database
"""
