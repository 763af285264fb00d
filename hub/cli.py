"""`aitbc hub`: run a hub and look after it; send it jobs, watch them, take them back.

Data on stdout, everything else on stderr. Exit codes: 0 done, 1 failed, 2 wrong usage. Fast to start: nothing here or
in what it imports loads more than Typer.
"""

import typer

from hub.commands import audit, books, following, init, providers, run, sla, submit

app = typer.Typer(
    help="Many providers, one service: dispatch, check and attest jobs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

# In the order in which `--help` shows them.
for module in (init, run, submit, following, providers, sla, audit, books):
    module.register(app)
