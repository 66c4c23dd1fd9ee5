"""Wrappers that mean nothing at the border."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from smolagents.agent_types import AgentImage

from smolagents_hardened.plain import pythons_own, unwrapped


@pytest.mark.parametrize(
    ("given", "own"),
    [(np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a"), (3, 3), (None, None)],
    ids=lambda value: type(value).__name__,
)
def test_numpy_scalars_become_pythons(given: object, own: object) -> None:
    """A numpy scalar becomes the Python value that it stands for, of exactly that type."""
    assert pythons_own(given) == own
    assert type(pythons_own(given)) is type(own)


@pytest.mark.parametrize("given", [np.array(3), np.array([1]), np.datetime64("2024-01-01", "ns"), [np.int64(1)]])
def test_arrays_are_left_alone(given: object) -> None:
    """What is no number, truth or text stays what it is."""
    assert pythons_own(given) is given or isinstance(given, np.ndarray)


def test_images_are_unwrapped_wherever_they_are() -> None:
    """smolagents' image wrapper is taken off, at any depth; the containers are copies then."""
    image = Image.new("L", (1, 1))
    assert unwrapped(AgentImage(image), repr) is image
    assert unwrapped({"a": [AgentImage(image), (AgentImage(image), 1)]}, repr) == {"a": [image, (image, 1)]}


def test_without_a_wrapper_nothing_is_copied() -> None:
    """A value that holds no wrapper is given back as the same object, a cycle included."""
    value: dict[str, object] = {"a": [1, 2]}
    value["self"] = value
    assert unwrapped(value, repr) is value
