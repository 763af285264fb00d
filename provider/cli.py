"""`aitbc provider`: run a provider and look after it; ask one for pictures; check a receipt.

Keys come from a keystore and a password file, secrets never from the command line. Exit codes: 0 done, 1 it failed, 2
wrong usage or settings, 3 what was to be verified does not hold. Starts fast: nothing here or in what it imports loads
more than Typer.
"""

import typer

from provider.commands import (
    benchmark,
    drain,
    generate,
    health,
    init,
    keys,
    models,
    records,
    registry,
    run,
    sla,
    status,
    verify,
)

app = typer.Typer(help="Serve images and earn AIT for every attested job.", no_args_is_help=True)

# In the order in which `--help` shows them.
for module in (init, run, status, drain, benchmark, models, registry, sla, records, health, keys, generate, verify):
    module.register(app)
