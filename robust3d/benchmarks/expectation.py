# SPDX-License-Identifier: Apache-2.0
"""A clean DSC far below the figure of a model's card: mostly a mistake of preprocessing, told while a run goes on."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping

from robust3d.zoo.card import ResultsCard

FAR = 20.0
"""Points of DSC. Other cases or another scanner seldom cost a mean so much; wrong units, axes or spacing mostly do."""


class CleanExpectation:
    """Compares the mean clean DSC of each model so far with its card, and warns once a model.

    Parameters
    ----------
    figures : mapping of str to ResultsCard
        What the cards say, by model; models without a figure are left out.
    """

    def __init__(self, figures: Mapping[str, ResultsCard]) -> None:
        self._figures = dict(figures)
        self._found: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, model: str, dsc: float) -> None:
        """Take over the DSC of one clean prediction, from 0 to 1.

        Warns
        -----
        UserWarning
            If the mean of the model so far is more than :data:`FAR` points below its card's figure.
        """
        card = self._figures.get(model)
        if card is None:
            return
        own = self._found[model]
        own.append(100 * dsc)
        mean = sum(own) / len(own)
        if mean < card.clean_dsc - FAR:
            del self._figures[model]
            cases = "1 case" if len(own) == 1 else f"{len(own)} cases"
            warnings.warn(
                f"model {model} has a mean clean DSC of {mean:.1f} % over {cases} and its card says "
                f"{card.clean_dsc:.1f} % (benchmark {card.benchmark}); check unit, orientation and spacing of the "
                "volumes and the order of the classes before you trust its robustness",
                stacklevel=2,
            )
