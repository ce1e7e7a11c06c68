# SPDX-License-Identifier: Apache-2.0
"""Factories: a function of the user's own package that returns the network."""

from __future__ import annotations

from importlib import import_module

from torch import nn

from robust3d.foundation.errors import InputError
from robust3d.zoo.formats.deployed import Deployed, Source
from robust3d.zoo.formats.state_dict import load_state


def read_factory(source: Source) -> Deployed:
    """Call ``package.module:function`` with the options of the card, and load the card's weights if it has any.

    Raises
    ------
    InputError
        If the collection was not named, or the function is not there, fails or returns no module.
    """
    deployment = source.deployment()
    if source.card is None or not source.code:
        raise InputError(
            f"the card of {source.path} names code to run; put it in zoo/ of a collection and name that "
            "(--collection DIR), if you trust it"
        )
    text, options = source.card.model.factory, source.card.network.options
    module, _, name = text.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"factory {text!r} cannot be imported ({error}); install its package, or add its folder to PYTHONPATH"
        ) from error
    try:
        network = factory(**options)
    except TypeError as error:
        raise InputError(f"factory {text!r} does not take the options {options}: {error}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"factory {text!r} returned {type(network).__name__}; it must return an nn.Module")
    if source.card.model.file:
        load_state(network, source.path)
    return Deployed(network, deployment, {"factory": text, "options": dict(options)})
