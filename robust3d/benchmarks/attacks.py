# SPDX-License-Identifier: Apache-2.0
"""Attacks as benchmarks name them: a card, or a card crafted on another model."""

from __future__ import annotations

from collections.abc import Callable

from robust3d.attacks.attack import Attack
from robust3d.attacks.cards import load_attack
from robust3d.attacks.transfer import Transfer
from robust3d.foundation.collections import Collections
from robust3d.segment.pipeline import Pipeline


def find_attack(name: str, load: Callable[[str], Pipeline], collections: Collections) -> Attack:
    """Return an attack by name.

    Parameters
    ----------
    name : str
        ``ATTACK``, or ``ATTACK@MODEL`` to craft on that model and evaluate on others (transfer).
    load : callable
        Gives the pipeline of a model's name.
    collections : Collections
        Where cards lie.

    Raises
    ------
    InputError
        If there is no such attack or model.
    """
    attack_name, _, source = name.partition("@")
    attack = load_attack(attack_name, collections=collections)
    if not source:
        return attack
    return Transfer(name=name, attack=attack, source=load(source))
