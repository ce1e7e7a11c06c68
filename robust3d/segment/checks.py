# SPDX-License-Identifier: Apache-2.0
"""What is tried with a network before it is attacked, so that what does not fit is told at once and in one sentence."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from robust3d.foundation.errors import InputError
from robust3d.foundation.memory import is_out_of_memory
from robust3d.segment.grid import Shape
from robust3d.segment.network import Predictor, device_of, dtype_of, evaluating
from robust3d.segment.outputs import Outputs, as_logits

# What layers raise for a window or a number of channels that does not fit them.
_REFUSALS = (AssertionError, AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError)


def checked(
    network: Predictor, window: Shape, *, outputs: Outputs, window_batch: int | None, channels: int = 1
) -> Predictor:
    """Try a network on two windows of noise and return it as a predictor of logits.

    Parameters
    ----------
    network : nn.Module or callable
        Maps ``(B, C, d, h, w)`` to ``(B, K, d, h, w)``.
    window : (int, int, int)
        Window edges in voxels.
    outputs : str
        What it is said to return.
    window_batch : int or None
        With 1, it need not take two windows at once.
    channels : int
        Of a window, C.

    Raises
    ------
    InputError
        If it has weights of several dtypes, stays in training mode, fails on a window, changes its input in place,
        returns another size, a mask, NaN, or no probabilities where these were announced.

    Warns
    -----
    UserWarning
        If logits look like probabilities, or a window's answer changes from call to call or with its neighbours.
    """
    if outputs not in ("logits", "probabilities"):
        raise InputError(f"outputs of a network are 'logits' or 'probabilities', not {outputs!r}")
    _check_dtypes(network)
    noise = torch.randn((2, channels, *window), generator=torch.Generator().manual_seed(0))
    noise = noise.to(device_of(network), dtype_of(network, torch.float32))
    with evaluating(network), torch.no_grad():
        _check_mode(network)
        alone = _answer(network, noise[:1])
        _check_values(alone, outputs)
        if window_batch != 1:
            _check_repeatable(network, noise, alone)
    return as_logits(network, outputs) if outputs == "probabilities" or alone.shape[1] == 1 else network


def _check_dtypes(network: Predictor) -> None:
    if isinstance(network, nn.Module):
        kinds = sorted({str(one.dtype) for one in network.parameters() if one.is_floating_point()})
        if len(kinds) > 1:
            raise InputError(f"the network's weights are of several dtypes ({', '.join(kinds)}); call network.float()")


def _check_mode(network: Predictor) -> None:
    layers = network.named_modules() if isinstance(network, nn.Module) else ()
    name = next((name or "the network itself" for name, layer in layers if layer.training), None)
    if name is not None:
        raise InputError(f"layer {name} stays in training mode after network.eval(); let its train method obey")


def _answer(network: Predictor, windows: Tensor) -> Tensor:
    given, shape = windows.clone(), tuple(windows.shape)
    try:
        output = network(given)
    except _REFUSALS as error:
        if isinstance(error, InputError) or is_out_of_memory(error):
            raise
        raise InputError(
            f"the network fails on windows of shape {shape}: {error}; it must take {shape[1]} "
            f"channel{'s' if shape[1] > 1 else ''} (channels = N says how many), and the edges of a window are mostly "
            "multiples of the network's stride (16 after four halvings)"
        ) from error
    if not torch.equal(given, windows):
        raise InputError("the network changes its input in place; wrap it as lambda windows: network(windows.clone())")
    if not isinstance(output, Tensor):
        raise InputError(f"the network returned {type(output).__name__}; it must return one tensor, its main output")
    if not output.is_floating_point():
        raise InputError(f"the network returned {output.dtype}, a mask; it must return logits or probabilities")
    if output.ndim != 5 or not output.shape[1] or (output.shape[0], *output.shape[2:]) != (shape[0], *shape[2:]):
        raise InputError(
            f"the network returned shape {tuple(output.shape)} for windows of shape {shape}; it must return "
            "(B, K, d, h, w) of the window's size"
        )
    if not bool(torch.isfinite(output).all()):
        raise InputError(f"the network returned NaN or infinite values for noise of shape {shape}; check its weights")
    return output


def _check_values(output: Tensor, outputs: Outputs) -> None:
    low, high = float(output.min()), float(output.max())
    within = low >= 0 and high <= 1
    if outputs == "probabilities" and not within:
        raise InputError(f"outputs is 'probabilities', but they reach from {low:.3g} to {high:.3g}; write 'logits'")
    total = output.float().sum(dim=1)
    if output.shape[1] > 1:
        alike = bool((total - 1).abs().max() < 1e-3)
        if outputs == "probabilities" and not alike:
            raise InputError(
                f"the {output.shape[1]} outputs of a voxel add up to {float(total.max()):.3g}, not 1: overlapping "
                "regions of sigmoids are not supported, only softmax classes or one sigmoid"
            )
    else:
        alike = high > low
    if outputs == "logits" and within and alike:
        warnings.warn(
            "the network's outputs look like probabilities (from 0 to 1); if they are, give outputs = 'probabilities'",
            stacklevel=4,
        )


def _check_repeatable(network: Predictor, noise: Tensor, alone: Tensor) -> None:
    try:
        beside = _answer(network, noise)[:1]
    except InputError as error:
        raise InputError(f"the network takes one window but not two; give window_batch = 1 ({error})") from error
    if torch.allclose(alone, beside, rtol=1e-3, atol=1e-3):
        return
    again = _answer(network, noise[:1])
    if torch.allclose(alone, again, rtol=1e-3, atol=1e-3):
        said = "depends on the windows beside it, as with batch statistics; give window_batch = 1"
    else:
        said = "differs from call to call, as with dropout in use; its figures will not come out the same again"
    warnings.warn(f"the network's answer for a window {said}", stacklevel=4)
