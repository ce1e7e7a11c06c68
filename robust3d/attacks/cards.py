# SPDX-License-Identifier: Apache-2.0
"""Attack cards: from TOML to an attack."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from robust3d.attacks.attack import Attack
from robust3d.attacks.controls import Identity, RandomSign
from robust3d.attacks.sign_ascent import SignAscent
from robust3d.foundation.cards import Card, Reference, check_card, read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.losses.registry import find_loss
from robust3d.segment.pipeline import Mode, Target, Windows


class SignAscentSettings(Card):
    """Hyperparameters of :class:`SignAscent`."""

    algorithm: Literal["sign_ascent"]
    name: str
    title: str
    steps: PositiveInt
    step_size: PositiveFloat | None = None
    step_unit: str | None = None
    relative_step: PositiveFloat | None = None
    start: Literal["clean", "uniform"] = "clean"
    restarts: PositiveInt = 1
    loss: str = "ce"
    gradient: Mode = "window_mean"
    windows: Windows = "all"
    target: Target = "c2f"
    iterate: Literal["last", "best"] = "last"
    check_every: PositiveInt = 1

    @field_validator("loss")
    @classmethod
    def _known(cls, name: str) -> str:
        find_loss(name)
        return name

    def build(self) -> Attack:
        """Return the attack."""
        return SignAscent(**self.model_dump(exclude={"algorithm", "title"}))


class RandomSignSettings(Card):
    """Settings of :class:`RandomSign`."""

    algorithm: Literal["random_sign"]
    name: str
    title: str

    def build(self) -> Attack:
        """Return the control."""
        return RandomSign(name=self.name)


class IdentitySettings(Card):
    """Settings of :class:`Identity`."""

    algorithm: Literal["identity"]
    name: str
    title: str

    def build(self) -> Attack:
        """Return the control."""
        return Identity(name=self.name)


Settings = Annotated[SignAscentSettings | RandomSignSettings | IdentitySettings, Field(discriminator="algorithm")]


class AttackCard(Card):
    """One file of the collection ``attacks``."""

    attack: Settings
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
        return card.attack.build()
    content = {"attack": card.attack.model_dump() | changes, "reference": card.reference.model_dump()}
    return check_card(content, AttackCard, where=f"attack {name}").attack.build()
