"""The untrained parts of the tiny pipeline, each an ordinary class of transformers or diffusers."""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from provider.tiny_model.scenes import LATENT_CHANNELS, WORDS

MAX_TOKENS = 24
TEXT_WIDTH = 64
UNET_CHANNELS = (32, 64, 64)
VAE_CHANNELS = (8, 16, 24, 32, 48, 64)
_CARRIED = 10.0
"""A constant in two channels of the VAE that makes the scale of its one-group norms nearly constant."""


def make_tokenizer() -> Any:
    """A CLIP tokenizer with byte fallback in which every word of the captions is one token."""
    alphabet = _byte_alphabet()
    vocabulary = alphabet + [character + "</w>" for character in alphabet]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            pairs = list(pairwise(pieces))
            known = [(merges.index(pair), place) for place, pair in enumerate(pairs) if pair in merges]
            place = min(known)[1] if known else 0
            joined = pieces[place] + pieces[place + 1]
            if not known:
                merges.append((pieces[0], pieces[1]))
                if joined not in vocabulary:
                    vocabulary.append(joined)
            pieces[place : place + 2] = [joined]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = CLIPTokenizer(vocab=numbers, merges=merges, model_max_length=MAX_TOKENS)
    # Saving and loading gives the tokenizer the form that the pipeline will use.
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return CLIPTokenizer.from_pretrained(Path(folder))


def _byte_alphabet() -> list[str]:
    """GPT-2's printable character for each of the 256 bytes, in its order."""
    octets = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = list(octets)
    for octet in range(256):
        if octet not in octets:
            characters.append(256 + len(characters) - 188)
    return [chr(code) for code in characters]


def make_text_encoder(tokenizer: Any, seed: int = 1) -> Any:
    """A CLIP text encoder of width 64 with two layers."""
    torch.manual_seed(seed)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            hidden_act="quick_gelu",
        )
    )


def make_unet(seed: int = 1) -> Any:
    """A UNet of 1.8 M parameters that hears the prompt by cross-attention and in its time embedding."""
    torch.manual_seed(seed)
    attended = len(UNET_CHANNELS) - 1
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=UNET_CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * attended,
        up_block_types=("CrossAttnUpBlock2D",) * attended + ("UpBlock2D",),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )


def make_scheduler() -> Any:
    """DPM-Solver++ on v-prediction with zero terminal SNR; latents lie in -1 to 1, so x0 is clipped there."""
    return DPMSolverMultistepScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
        algorithm_type="dpmsolver++",
        solver_order=2,
        thresholding=True,
        sample_max_value=1.0,
    )


def make_vae(seed: int = 1) -> Any:
    """An autoencoder of factor 32 and 0.9 M parameters that starts near the identity."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=VAE_CHANNELS,
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=1,
        sample_size=512,
        scaling_factor=1.0,
        down_block_types=("DownEncoderBlock2D",) * 6,
        up_block_types=("UpDecoderBlock2D",) * 6,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        for half in (vae.encoder, vae.decoder):
            _start_near_identity(half, is_decoder=half is vae.decoder)
        vae.encoder.conv_out.bias[LATENT_CHANNELS:] = -8.0
        for convolution in (vae.quant_conv, vae.post_quant_conv):
            convolution.weight.zero_()
            convolution.bias.zero_()
            for channel in range(convolution.weight.shape[0]):
                convolution.weight[channel, channel, 0, 0] = 1.0
    return vae


def _start_near_identity(half: Any, *, is_decoder: bool) -> None:
    """Carries the picture through: channels 0 to 2 RGB, 3 to 5 -RGB, 6 and 7 ±constant, 8 to 11 mask quadrants."""
    for module in half.modules():
        match type(module).__name__:
            case "ResnetBlock2D":
                _steady_norm(module.norm1)
                module.conv2.weight.mul_(0.05)
                module.conv2.bias.zero_()
                if module.conv_shortcut is not None:
                    _pass_through(module.conv_shortcut)
            case "Upsample2D":
                _pass_through(module.conv)
            case "Downsample2D":
                _pass_through(module.conv, pool=True)
    _steady_norm(half.conv_norm_out)
    first, last = half.conv_in, half.conv_out
    first.weight[:8] = 0
    first.bias[:8] = 0
    last.weight.mul_(0.05)
    last.weight[:3] = 0
    last.bias.zero_()
    for channel in range(3):
        first.weight[channel, channel, 1, 1] = 1.0
        first.weight[3 + channel, channel, 1, 1] = -1.0
        last.weight[channel, channel, 1, 1] = 1.0
        last.weight[channel, 3 + channel, 1, 1] = -1.0
    first.bias[6] = _CARRIED
    first.bias[7] = -_CARRIED
    if is_decoder:
        for quadrant in range(4):
            first.weight[8 + quadrant] = 0
            first.weight[8 + quadrant, 3 + quadrant, 1, 1] = 1.0


def _steady_norm(norm: Any) -> None:
    norm.weight.fill_(_CARRIED * (2 / norm.num_channels) ** 0.5)
    norm.bias.zero_()


def _pass_through(convolution: Any, *, pool: bool = False) -> None:
    """The first twelve channels go through unchanged (or averaged two by two); the others start small."""
    weight = convolution.weight
    weight.mul_(0.02 if weight.shape[1] != weight.shape[0] else 0.05)
    convolution.bias.zero_()
    middle = weight.shape[-1] // 2
    weight[:8] = 0
    for channel in range(min(12, weight.shape[0], weight.shape[1])):
        weight[channel] = 0
        if pool:
            weight[channel, channel, :2, :2] = 0.25
        else:
            weight[channel, channel, middle, middle] = 1.0
