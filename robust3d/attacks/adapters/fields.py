# SPDX-License-Identifier: Apache-2.0
"""Which hyperparameters a library's attack has."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from robust3d.attacks.step import Step
from robust3d.foundation.errors import InputError


def check_fields(attack: Any, called: str, needs: Collection[str], *, optional: Collection[str]) -> None:
    """Refuse hyperparameters that the library's attack does not have, and a lack of those that it has.

    Parameters
    ----------
    attack : attack with the fields of :class:`Step` and ``steps``
        As its card has it.
    called : str
        The library's name of it.
    needs : collection of str
        Fields that it has; ``"step"`` for those of :class:`Step`.
    optional : collection of str
        Fields that are ``None`` unless the card gives them.

    Raises
    ------
    InputError
        With what to add or leave out.
    """
    step = [name for name in Step.model_fields if getattr(attack, name) is not None]
    if "step" in needs:
        attack.check_step(attack.name)
    given = [name for name in optional if getattr(attack, name) is not None]
    if "steps" in attack.model_fields_set and (attack.steps > 1 or "steps" in needs):
        given.append("steps")
    extra = [*([] if "step" in needs else step), *(name for name in given if name not in needs)]
    missing = [name for name in needs if name != "step" and name not in given]
    if extra:
        raise InputError(f"attack {attack.name}: {called} has no {extra[0]}; leave it out")
    if missing:
        raise InputError(f"attack {attack.name}: {called} needs {missing[0]}")
