"""What operators decide together, from the command line: parameters, validators, and their keys.

- `cli`: `aitbc node validators` and `aitbc node governance`; `keys_cli`: `aitbc node keys`
- `market_proposals`: `… propose issuer|authority|market|policy|spend`; `proposal_words`: what they say to people
- `deciding`: what the commands that propose share
- `governing`: proposing, approving, executing through a node
- `rotation`, `consent_file`: replacing a key; a new one's consent
- `auditing`: asking a node without believing it
"""
