"""The untrained parts of the tiny pipeline, each an ordinary class of transformers or diffusers."""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from provider.tiny_model.latents import DRAWN_CHANNELS, LATENT_CHANNELS, SCALE
from provider.tiny_model.near_identity import start_near_identity
from provider.tiny_model.vocabulary import WORDS

MAX_TOKENS: Final = 64
"""Longer prompts are cut by the pipeline; an unknown word takes a token per byte."""

TEXT_WIDTH: Final = 64
UNET_CHANNELS: Final = (32, 48, 64, 64)
VAE_CHANNELS: Final = (8, 16, 32, 48, 64)


def make_tokenizer() -> Any:
    """A CLIP tokenizer with byte fallback in which every word of the vocabulary is one token."""
    alphabet = _byte_alphabet()
    vocabulary = alphabet + [character + "</w>" for character in alphabet]
    merges: dict[tuple[str, str], int] = {}
    for word in WORDS:
        _teach(word, vocabulary, merges)
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = CLIPTokenizer(vocab=numbers, merges=list(merges), model_max_length=MAX_TOKENS)
    # Saving and loading gives the tokenizer the form that the pipeline will use.
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return CLIPTokenizer.from_pretrained(Path(folder))


def _teach(word: str, vocabulary: list[str], merges: dict[tuple[str, str], int]) -> None:
    """Adds the merges that turn the word's letters into one token after those that are already there."""
    pieces = [*word[:-1], word[-1] + "</w>"]
    while len(pieces) > 1:
        known = [(merges[pair], place) for place, pair in enumerate(pairwise(pieces)) if pair in merges]
        place = min(known)[1] if known else 0
        joined = pieces[place] + pieces[place + 1]
        if not known:
            merges[pieces[0], pieces[1]] = len(merges)
            if joined not in vocabulary:
                vocabulary.append(joined)
        pieces[place : place + 2] = [joined]


def _byte_alphabet() -> list[str]:
    """GPT-2's printable character for each of the 256 bytes, in its order."""
    octets = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = list(octets)
    for octet in range(256):
        if octet not in octets:
            characters.append(256 + len(characters) - 188)
    return [chr(code) for code in characters]


def make_text_encoder(tokenizer: Any, seed: int = 1) -> Any:
    """A CLIP text encoder of width 64 with three layers."""
    torch.manual_seed(seed)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            hidden_act="quick_gelu",
        )
    )


def make_unet(seed: int = 1) -> Any:
    """A UNet of 2.5 M parameters that hears the prompt by cross-attention and in its time embedding.

    Its finest level, 32 by 32 for 512 pixels, is narrow and has no attention: that is where the time goes.
    """
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=UNET_CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
        time_embedding_dim=256,
    )


def noise_betas() -> list[float]:
    """The variances of noise per time step: the share of the picture goes from 15 % to nearly nothing.

    The latents are SCALE times too large for Stable Diffusion's schedule, so they show well through 85 % of noise. And
    the velocity, which is picture and noise in the same shares, is then nearly the picture alone: a network as narrow
    as this one cannot carry the noise of every channel to its output beside all else.
    """
    passed = torch.arange(1000, dtype=torch.float64) / 999
    amplitude = 0.15**0.5 * (0.999 * (1 - passed) ** 2.5 + 0.001)
    share = amplitude**2
    kept = torch.cat([share[:1], share[1:] / share[:-1]])
    return [round(beta, 8) for beta in (1 - kept).tolist()]


def make_scheduler() -> Any:
    """DPM-Solver++ on v-prediction, from noise that hides the picture altogether."""
    return DPMSolverMultistepScheduler(
        trained_betas=noise_betas(),
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        algorithm_type="dpmsolver++",
        solver_order=2,
    )


def make_vae(seed: int = 1, *, channels: int = LATENT_CHANNELS) -> Any:
    """An autoencoder of factor 16. The smaller one, of DRAWN_CHANNELS, starts near the identity on these latents."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=VAE_CHANNELS,
        latent_channels=channels,
        layers_per_block=1,
        norm_num_groups=1,
        sample_size=512,
        scaling_factor=SCALE,
        down_block_types=("DownEncoderBlock2D",) * len(VAE_CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(VAE_CHANNELS),
    )
    if channels == DRAWN_CHANNELS:
        start_near_identity(vae)
    return vae
