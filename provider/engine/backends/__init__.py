"""Where batches are computed; each module holds one `provider.generation.Backend`.

- `local`: in this process, with one slot per GPU, or one on the CPU
- `ray`: on Ray Serve's replicas, over many GPUs and machines
"""
