"""Computes batches of pictures: the only package, beside the tiny model's trainer, that imports torch and diffusers.

    create_workers(options)            worker.py       one InferenceWorker per GPU, or one on the CPU
      worker.load()                    models.py       preloaded models; least recently used ones give way
                                       finding.py      a folder or a hub's id -> a folder that looks whole
                                       loading.py      the folder -> a checked pipeline on the device
                                       load_errors.py  what a library raised -> a sentence with a stable reason
                                       weights.py      their digest and their size
      worker.run(batch)                drawing.py      one batch: prompts, start, steps, decoding, encoding
                                       conditioning.py prompts -> embeddings, rows -> sizes and first latents
                                       schedulers.py   a request's name -> a scheduler; which steps it needs
                                       denoising.py    the loop over UNet and scheduler, one step at a time
                                       decoding.py     latents -> pixels, one picture after the other
                                       previews.py     a step's guess of the picture, small and cheap
                                       encoding.py     pixels -> png, jpeg, webp
                                       stopwatch.py    device time, shared out by rows
                                       profile.py      what a rerun must know
                                       latents.py      latents <-> bytes, and how far two are apart
      worker.rerun_step(...)           rerun.py        a step computed anew from latents that were committed to
                                       latent_size.py  how large those must be, whatever their provider says
    devices.py, libraries.py, memory.py, unets.py      which device, how many rows fit, compiled and captured UNets

Importing anything here takes seconds, so the service and the command line do so late, in the engine's threads. Every
error that leaves is a ProviderError with a stable reason, and none holds a prompt. Nothing here knows of HTTP, jobs,
keys, receipts or the chain. Nothing of this has run on a GPU yet; `torch.compile` and CUDA graphs (`unets.py`) are off
by default.
"""
