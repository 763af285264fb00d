"""`aitbc node verify`: replaying a stopped node's folder from genesis, believing nothing that is stored.

- `replay`: every block executed again on a new store; `stored_rows`: what the folder holds beside the blocks
- `cli`: the command
"""
