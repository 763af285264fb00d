"""The trainer of the embedded pipeline in `provider/models/tiny_sd` (see README.md in this folder, `make tiny-model`).

- `scenes`: what there is to draw, and how it should look; `latents`: the latents of a scene, which are defined
- `vocabulary`, `captions`: how people ask for a scene; `evaluation_prompts.toml`: fifty prompts written by hand
- `parts`: the untrained networks; `near_identity`: the VAE's start
- `training`: seeds, checkpoints and progress; `train_text_encoder`, `train_unet`, `train_vae`, `train_encoder`
- `assemble` saves the pipeline; `judge` and `evaluate` say how well it obeys; `build` does everything

It knows nothing of the provider; the provider knows nothing of it.
"""
