"""What `aitbc provider` can do: one module per command, or per few that belong together; `provider.cli` lists them.

Each module has `register(app)`. Nothing is imported at its top that would make `--help` wait: commands import what
they need when they run.

- `flags`, `outcome`: options that several commands share; how a failure becomes one line and an exit code
- `run`, `signing_key`, `drain`: a provider's process, begun and ended
- `init`, `starting_files`: a folder of its own for a new provider
- `keys`, `key_files`: API keys in their file
- `status`, `records`, `models`, `health`: how things are
- `registry`: the entry in the chain's registry; `sla`: the signed statement of service that it links to
- `benchmark`: how fast this machine is
- `generate`, `picture_orders`, `picture_files`, `api_key_file`: a client's side
- `verify`, `verifying_receipts`: a receipt, checked by computing steps again
"""
