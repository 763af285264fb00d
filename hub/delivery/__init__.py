"""Calls to clients' own servers when their jobs end, tried from the database until they succeed or are given up.

addresses.py    which addresses are in the open internet
connecting.py   a name resolved once, judged, and connected to at that address
calling.py      one call: signed, bounded, never redirected
webhooks.py     the loop: what is due, what came of it, when to try again
"""
