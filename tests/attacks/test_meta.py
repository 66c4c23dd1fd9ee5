"""The suite about itself: every property is attacked, and a box that lacks a mechanism is refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from benchmarks import attacks
from tests.attacks.properties import PROPERTIES
from tests.attacks.test_programs import ATTACKS
from tests.support.probes import proves

from smolagents_hardened.backends.enforcement import LAYERS, REQUIRED, Enforcement, Layer, Level
from smolagents_hardened.errors import NotEnforced
from smolagents_hardened.selftest.promises import PROMISES


def attacked() -> Counter[str]:
    """How many programs and tests name each property."""
    found = Counter(attack.property for attack in ATTACKS)
    for path in Path(__file__).parent.glob("test_*.py"):
        for names in re.findall(r"^@proves\((.*)\)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.update(re.findall(r'"([^"]+)"', names))
    return found


def test_every_property_is_attacked() -> None:
    """No property stands without an attack, and no attack without a property."""
    assert set(attacked()) == set(PROPERTIES)


def test_every_promise_is_attacked() -> None:
    """Each numbered promise is cited by an attack, not only by the self-test."""
    cited = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        cited.update(re.findall(r"\[(R\d+)\]", path.read_text(encoding="utf-8")))
    assert cited == set(PROMISES)


def test_the_comparison_is_what_was_measured() -> None:
    """The table of SECURITY.md is made of the checked-in result, and ours blocked everything in it."""
    security = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    assert attacks.table() in security
    measured = json.loads(attacks.RESULT.read_text(encoding="utf-8"))
    for name in ("hardened native", "hardened docker"):
        assert all(blocked == total > 0 for blocked, total in measured[name]["blocked"].values())


@proves("meta.mechanisms")
@pytest.mark.parametrize("name", sorted(REQUIRED))
@pytest.mark.parametrize("level", [Level.ABSENT, Level.PARTIAL])
def test_a_box_without_a_mechanism_is_refused(name: str, level: Level) -> None:
    """[R18] A required layer that is not wholly in force is fatal, and the error says which; all of them together pass."""
    whole = [Layer(layer, Level.FULL, "") for layer in LAYERS]
    Enforcement("test", tuple(whole)).require(REQUIRED)
    lacking = tuple(Layer(name, level, "taken away") if layer.name == name else layer for layer in whole)
    with pytest.raises(NotEnforced, match=name):
        Enforcement("test", lacking).require(REQUIRED)
