"""The hub's books: double entry in atoms, only ever added to.

- `accounts`: the names of accounts, and what each stands for
- `posting`: journal entries, written in the unit of work that they belong to
- `books`: balances, statements and the trial balance

A row of the ledger moves an amount from one account to another (`hub.store.tables.records`), so no state of the
database is out of balance: there is no moment between a debit and its credit. An entry's moves are committed together
or not at all, what happened once is booked once (by kind and reference), and triggers refuse to change or drop a row.
"""
