"""The escrow module: clients put AIT aside for a hub, and attested receipts are paid out of it (DESIGN §4, §5).

A deposit belongs to (client, audience), the audience being whom the client's signed requests name. What can take from
it, and nothing else:

- `settling.py`: `settle`, sent by anybody, before the deadline. It needs the client's own signature over a request for
  this audience, with a maximum that bounds the total, and the attesters' over exactly who gets how much for which
  receipt. A request of a client is settled once and a receipt used once, minted or settled, whichever comes first.
- `deposits.py`: `withdraw`, NOTICE_S after the client asked for it: until then, whatever was accepted before can still
  be settled. And `refund`, sent by anybody, from the deadline on: all that is left goes back to the client.

The balance of the module's address is the sum of all deposits. What is signed stands in `chain.primitives.settlement`.
"""
