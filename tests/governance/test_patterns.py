"""Patterns of policy files run in RE2: what it does not do is refused where it stands, and nothing it does is slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.policy import Policy

TEXTS = {
    ".toml": 'default = "deny"\n\n[[rule]]\ntool = "a"\neffect = "allow"\n\n[[rule]]\ntool = "b"\neffect = "allow"\nwhen.x = {{ regex = \'{}\' }}\n',
    ".yaml": "default: deny\nrule:\n  - tool: a\n    effect: allow\n\n\n  - tool: b\n    effect: allow\n    when: {{x: {{regex: '{}'}}}}\n",
}


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize("pattern", ["(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?>a)", "a++", "("])
def test_what_re2_does_not_do_is_refused_with_its_line(tmp_path: Path, suffix: str, pattern: str) -> None:
    """[R11] Look-around, back references, possessive ones: ConfigError with the file, the rule's line and the pattern."""
    path = tmp_path / f"policy{suffix}"
    path.write_text(TEXTS[suffix].format(pattern))
    with pytest.raises(ConfigError, match=r"policy\.\w+.* line 7\b.*regex") as caught:
        Policy.from_file(path)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize("suffix", TEXTS)
def test_the_same_file_with_another_pattern_is_the_control(tmp_path: Path, suffix: str) -> None:
    """The positive control: a pattern that RE2 takes makes the same file a policy."""
    path = tmp_path / f"policy{suffix}"
    path.write_text(TEXTS[suffix].format("(a+)+b"))
    assert Policy.from_file(path)
