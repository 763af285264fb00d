"""How the VAE starts: with weights that already do roughly what they should, so that training only polishes.

The decoder's stream holds in channels 0 to 2 the shape's colour, in 3 to 5 the background's, in 6 a constant, in 7 the
depth inside the shape and in 8 to 11 the depths of the four quadrants. Its first residual branch turns the colours'
codes into red, green and blue. Its last but one opens one colour and shuts the other by the depth: behind it,
`silu(colour + gate) + silu(background - gate)` is the colour inside and the background outside.
"""

import math
from typing import Any, Final

import torch

from provider.tiny_model.latents import COLOUR_CODES, DRAWN_CHANNELS
from provider.tiny_model.scenes import PALETTE

_CONSTANT: Final = 60.0
"""Large beside what else is in the stream, so that the scale of the one-group norms hardly depends on the picture."""

_CONSTANT_CHANNEL: Final = 6
_DEPTH_CHANNEL: Final = 7
_CARRIED: Final = 12
_SHARPNESS: Final = 3.0
"""Multiplies what goes into a silu, which then bends like a corner."""

_GATE_SLOPE: Final = 4.0
_SILU_AT_ONE: Final = 1 / (1 + math.exp(-1))
_TENT: Final = torch.tensor([0.25, 0.5, 0.25]).outer(torch.tensor([0.25, 0.5, 0.25]))


def start_near_identity(vae: Any) -> None:
    """Overwrites the weights of an untrained AutoencoderKL."""
    with torch.no_grad():
        for half in (vae.encoder, vae.decoder):
            for module in half.modules():
                _calm(module)
        _start_encoder(vae.encoder)
        _start_decoder(vae.decoder)
        for convolution in (vae.quant_conv, vae.post_quant_conv):
            convolution.weight.copy_(torch.eye(convolution.weight.shape[0])[:, :, None, None])
            convolution.bias.zero_()


def shield_constants(vae: Any) -> None:
    """Keeps training from reading the constants: the smallest change of such a weight would shift whole pictures."""
    for half in (vae.encoder, vae.decoder):
        for module in half.modules():
            match type(module).__name__:
                case "ResnetBlock2D":
                    _shield(module.norm1.weight, module.norm1.bias)
                    if module.conv_shortcut is not None:
                        _shield_input(module.conv_shortcut.weight)
                case "Upsample2D" | "Downsample2D":
                    _shield_input(module.conv.weight)
                case "Attention":
                    _shield(module.group_norm.weight, module.group_norm.bias)
        _shield(half.conv_norm_out.weight, half.conv_norm_out.bias)
    for resnet in _written_branches(vae.decoder):
        _shield(resnet.norm2.weight, resnet.norm2.bias, resnet.conv1.weight, resnet.conv1.bias)


def _written_branches(decoder: Any) -> tuple[Any, Any]:
    """The two residual branches whose weights are written by hand: colours and gate."""
    return decoder.mid_block.resnets[0], decoder.up_blocks[-1].resnets[0]


def _shield(*parameters: Any) -> None:
    """Zeroes the gradients of the entries that make or scale the constant."""
    for parameter in parameters:
        mask = torch.ones_like(parameter)
        mask[_CONSTANT_CHANNEL] = 0
        parameter.register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient.device))


def _shield_input(weight: Any) -> None:
    mask = torch.ones_like(weight)
    mask[:, _CONSTANT_CHANNEL] = 0
    weight.register_hook(lambda gradient: gradient * mask.to(gradient.device))


def _calm(module: Any) -> None:
    """Residual branches start small and everything else passes its input on."""
    match type(module).__name__:
        case "ResnetBlock2D":
            _steady_norm(module.norm1)
            module.conv2.weight.mul_(0.05)
            module.conv2.bias.zero_()
            if module.conv_shortcut is not None:
                _pass_through(module.conv_shortcut)
        case "Upsample2D":
            _pass_through(module.conv)
            # Interpolates the depths, or edges would start as stairs of 16 pixels.
            for channel in range(_DEPTH_CHANNEL, min(_CARRIED, module.conv.weight.shape[0])):
                module.conv.weight[channel, channel] = _TENT
        case "Downsample2D":
            _pass_through(module.conv, pool=True)
        case "Attention":
            _steady_norm(module.group_norm)
            module.to_out[0].weight.zero_()
            module.to_out[0].bias.zero_()


def _start_encoder(encoder: Any) -> None:
    """Carries red, green and blue (means of a block in the end) and the constant."""
    _steady_norm(encoder.conv_norm_out)
    encoder.conv_in.weight[:_CARRIED].zero_()
    encoder.conv_in.bias[:_CARRIED].zero_()
    for channel in range(3):
        encoder.conv_in.weight[channel, channel, 1, 1] = 1.0
    encoder.conv_in.bias[_CONSTANT_CHANNEL] = _CONSTANT
    encoder.conv_out.weight.mul_(0.3)
    encoder.conv_out.bias.zero_()
    # An encoder that is nearly sure of its latents: a standard deviation of exp(-4).
    encoder.conv_out.weight[DRAWN_CHANNELS:].zero_()
    encoder.conv_out.bias[DRAWN_CHANNELS:] = -8.0


def _start_decoder(decoder: Any) -> None:
    """Carries codes, constant and depths; writes the branches for colours and gate; sums both colours in the end."""
    weight, bias = decoder.conv_in.weight, decoder.conv_in.bias
    weight[:_CARRIED].zero_()
    bias[:_CARRIED].zero_()
    for channel in range(6):
        weight[channel, channel, 1, 1] = 1.0
    bias[_CONSTANT_CHANNEL] = _CONSTANT
    for quadrant in range(4):
        weight[_DEPTH_CHANNEL, 6 + quadrant, 1, 1] = 0.25
        weight[8 + quadrant, 6 + quadrant, 1, 1] = 1.0
    colours, gate = _written_branches(decoder)
    _write_colours(colours)
    _balance(decoder.up_blocks[-2].upsamplers[0].conv)
    _write_gate(gate)
    # Again for the last norm: minus the sum of both colours, in which the gate cancels.
    gate.conv_shortcut.weight[_DEPTH_CHANNEL] = 0
    gate.conv_shortcut.weight[_DEPTH_CHANNEL, :6] = -1
    _steady_norm(decoder.conv_norm_out, _SHARPNESS)
    last = decoder.conv_out
    last.weight.mul_(0.02)
    last.bias.fill_(-1.0)
    for channel in range(3):
        last.weight[channel] = 0
        last.weight[channel, channel, 1, 1] = 1 / _SHARPNESS
        last.weight[channel, 3 + channel, 1, 1] = 1 / _SHARPNESS


def _open_branch(resnet: Any) -> None:
    """Gives the branch a constant of its own, so that its second norm passes everything on."""
    resnet.conv1.weight.mul_(0.1)
    resnet.conv1.bias.zero_()
    resnet.conv1.weight[_CONSTANT_CHANNEL] = 0
    resnet.conv1.bias[_CONSTANT_CHANNEL] = _CONSTANT
    _steady_norm(resnet.norm2)


def _write_colours(resnet: Any) -> None:
    """One unit for each corner of each colour's cube, open at that corner only, adds palette minus code."""
    _open_branch(resnet)
    units = [unit for unit in range(18) if unit != _CONSTANT_CHANNEL]
    for half in (0, 1):
        channels = slice(3 * half, 3 * half + 3)
        for number, code in enumerate(COLOUR_CODES):
            unit = units[8 * half + number]
            # For a code of -1 or 1, 2 silu(code) is the code and a bit; the sum of products is 3 or at most 1.
            resnet.conv1.weight[unit] = 0
            resnet.conv1.weight[unit, channels, 1, 1] = _SHARPNESS * 2 * code
            bit = 2 * _SILU_AT_ONE - 1
            resnet.conv1.bias[unit] = -_SHARPNESS * (1 + float(code.sum()) * bit)
            resnet.conv2.weight[:_CARRIED, unit] = 0
            resnet.conv2.weight[channels, unit, 1, 1] = (PALETTE[number] - code) / (2 * _SHARPNESS)


def _balance(upsampling: Any) -> None:
    """Two channels hold minus the sums of colours and depths, so that norms that subtract the mean do no harm."""
    weight = upsampling.weight
    weight[_CARRIED : _CARRIED + 2] = 0
    for channel in range(6):
        weight[_CARRIED, channel, 1, 1] = -1
    for channel in range(_DEPTH_CHANNEL, _CARRIED):
        weight[_CARRIED + 1, channel] = -_TENT


def _write_gate(resnet: Any) -> None:
    """silu(slope depth + 1) - silu(slope depth - 1) - 1 is nearly -1 outside the shape and 1 inside."""
    _open_branch(resnet)
    for unit, offset, sign in ((0, 1.0, 1.0), (1, -1.0, -1.0)):
        resnet.conv1.weight[unit] = 0
        resnet.conv1.weight[unit, _DEPTH_CHANNEL, 1, 1] = 2 * _GATE_SLOPE
        resnet.conv1.bias[unit] = offset
        resnet.conv2.weight[:, unit] = 0
        resnet.conv2.weight[:3, unit, 1, 1] = sign
        resnet.conv2.weight[3:6, unit, 1, 1] = -sign
    resnet.conv2.bias[:3] = -1
    resnet.conv2.bias[3:6] = 1


def _steady_norm(norm: Any, gain: float = 1.0) -> None:
    """Undoes the norm's division, up to `gain`, and hides the constant from what follows."""
    share = 1 / norm.num_channels
    norm.weight.fill_(gain * _CONSTANT * (share * (1 - share)) ** 0.5)
    norm.bias.fill_(gain * _CONSTANT * share)
    norm.weight[_CONSTANT_CHANNEL] = 0
    norm.bias[_CONSTANT_CHANNEL] = 0


def _pass_through(convolution: Any, *, pool: bool = False) -> None:
    """The first twelve channels go through unchanged (or averaged two by two); the others start small."""
    weight = convolution.weight
    weight.mul_(0.02 if weight.shape[1] != weight.shape[0] else 0.05)
    convolution.bias.zero_()
    middle = weight.shape[-1] // 2
    for channel in range(min(_CARRIED, weight.shape[0], weight.shape[1])):
        weight[channel] = 0
        if pool:
            weight[channel, channel, :2, :2] = 0.25
        else:
            weight[channel, channel, middle, middle] = 1.0
