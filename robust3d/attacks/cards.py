# SPDX-License-Identifier: Apache-2.0
"""Attack cards: from TOML to an attack."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from robust3d.attacks.adapters.art import ArtAttack
from robust3d.attacks.adapters.torchattacks import TorchattacksAttack
from robust3d.attacks.apgd import APGD
from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.attack import Attack
from robust3d.attacks.controls import Identity, RandomSign
from robust3d.attacks.corruption import Corruption
from robust3d.attacks.ensemble import SEA3D
from robust3d.attacks.minimal import MinimalNorm
from robust3d.attacks.square import Square
from robust3d.attacks.universal import Universal
from robust3d.attacks.vafa import VAFA
from robust3d.foundation.cards import Card, Reference, check_card, read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError

AnyAttack = Annotated[
    GradientAscent
    | APGD
    | SEA3D
    | MinimalNorm
    | Square
    | Universal
    | VAFA
    | Corruption
    | TorchattacksAttack
    | ArtAttack
    | RandomSign
    | Identity,
    Field(discriminator="algorithm"),
]


class AttackCard(Card):
    """One file of the collection ``attacks``."""

    attack: AnyAttack
    reference: Reference


def read_attack_card(name: str, collections: Collections) -> AttackCard:
    """Read an attack card by name.

    Raises
    ------
    InputError
        If there is no such card, it is wrong, or its name is not its file's.
    """
    path = collections.find("attacks", name)
    card = read_card(path, AttackCard)
    if card.attack.name != path.stem:
        raise InputError(f"card {path} calls its attack {card.attack.name!r}; name and file must agree")
    return card


def load_attack(name: str, *, collections: Collections | None = None, **changes: Any) -> Attack:
    """Return an attack by the name of its card.

    Parameters
    ----------
    name : str
        Such as ``"ifgsm"``; ``robust3d attacks`` lists them.
    collections : Collections, optional
        Where to look; the current folder and the built-in cards by default.
    **changes
        Hyperparameters to use instead of the card's, such as ``steps=20``.

    Raises
    ------
    InputError
        If the name, a hyperparameter or a value is unknown.
    """
    card = read_attack_card(name, collections or Collections.open())
    if not changes:
        return card.attack
    content = {"attack": card.attack.model_dump() | changes, "reference": card.reference.model_dump()}
    return check_card(content, AttackCard, where=f"attack {name}").attack
