"""How shown figures reach the model: as the images that smolagents keeps with a step's observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smolagents import ActionStep


class PictureNote:
    """The step callback: a step's figures become the images that the model sees with its observation."""

    def __init__(self, pictures: Callable[[], list[object]]) -> None:
        self._pictures = pictures

    def __call__(self, step: ActionStep, **_context: Any) -> None:
        pictures = self._pictures()
        if pictures and step.code_action is not None:
            step.observations_images = [*(step.observations_images or ()), *pictures]
