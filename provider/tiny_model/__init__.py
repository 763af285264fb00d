"""The scripts that made the embedded pipeline in `provider/models/tiny_sd` (see README.md in this folder).

`scenes` draws the data, `parts` builds the untrained networks, `train_text_encoder`, `train_unet` and `train_vae`
train one part each, `assemble` saves the pipeline, and `judge` with `evaluate` says how well it obeys its prompts.
They run in a scratch folder and know nothing of the provider; the provider knows nothing of them.
"""
