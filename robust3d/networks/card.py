# SPDX-License-Identifier: Apache-2.0
"""The section ``network`` of cards: a network's name and those options that it has."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt

from robust3d.foundation.cards import Card
from robust3d.networks.registry import network_options


class NetworkCard(Card):
    """The network by its name in the engine; an option that is left out has the network's default.

    ``options`` are those of a network ``monai:CLASS``.
    """

    name: str
    width: PositiveInt | None = None
    classes: int = Field(default=2, ge=2)
    short_residual: bool | None = None
    long_residual: bool | None = None
    options: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """Name and width in words."""
        return f"{self.name}, width {self.width}" if self.width else self.name

    def check(self) -> None:
        """Refuse options that the network does not have, and ask for its width if it has one.

        Raises
        ------
        ValueError
            With the network's options; the card whose section this is adds where it stands.
        """
        known = network_options(self.name)
        for key in self.model_fields_set - {"name"}:
            if key not in known:
                raise ValueError(
                    f"network.{key} does not belong to network {self.name!r}, whose options are "
                    f"{', '.join(known)}; leave it out"
                )
        if "width" in known and self.width is None:
            raise ValueError(f"key 'network.width' is missing, which the network {self.name!r} needs")

    def settings(self) -> dict[str, Any]:
        """Return name and options with the network's defaults filled in; the identity of an architecture."""
        known = network_options(self.name)
        written = {key: value for key in type(self).model_fields if (value := getattr(self, key)) is not None}
        return {key: written.get(key, known.get(key)) for key in type(self).model_fields if key in {"name", *known}}

    def build_options(self) -> dict[str, Any]:
        """Return the settings without the name, as :func:`build_network` takes them."""
        return {key: value for key, value in self.settings().items() if key != "name"}
