"""WHAT is valid: the pure state transition. No I/O, no clock, no randomness, no log.

    apply_block ─ block.py ── header checks, transactions in order, roots
       └─ execution.py ────── one transaction: envelope, sender, fee, call
            ├─ admission.py ─ who may send what (also asked by the mempool)
            ├─ operations.py  which call of which module is which operation
            │    ├─ token.py, authorization.py, registry.py, governance.py, governed.py, validators.py:
            │    │  validate_x, then apply_x
            │    ├─ mint.py, escrow/: what a receipt brings, new AIT or a client's; attesting.py: what both ask of it
            │    ├─ assets/, compliance.py, market/: assets, who may trade, the order book
            │    ├─ swaps.py, reputation.py: exchange with other chains, what providers promise and keep
            └─ state.py ───── typed access to records over any reader

`genesis.py` gives the state before the first block, `views.py` answers calls that change nothing, and `simulation.py`
says what any call would do if it were in the next block.

Every operation is `validate_x(call, …)` and then `apply_x(call, plan)`: nothing changes before every check has passed,
so a failed call needs no rollback.
"""
