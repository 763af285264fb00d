"""A page of the hub: type a prompt, watch the pictures grow, see the receipt and its mint.

It uses the hub's API like anybody else, with an API key that its user types and that stays in the tab. There is no
build step: what `static/` holds is what browsers run. Nothing is loaded from anywhere else, and no cookie is set.

- `routes`: the page, its files, and the headers that they go out with.
"""
