"""Whose turn it is among workers that are free and may serve a run: one module per policy, one function in each.

`place(worker, run, memory)` is a sort key, smallest first: round_robin.py, cheapest.py, fastest.py, reputation.py.
Every one ends with the longest wait since the last turn, so that equals take turns. policy.py names them.
"""
