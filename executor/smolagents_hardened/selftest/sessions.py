"""Sessions: what one box leaves for the next one."""

from __future__ import annotations

from smolagents_hardened.selftest.judges import first, no_secret
from smolagents_hardened.selftest.probe import Evidence, Lane, Probe

HIDE = """
import os
secret = given["prefix"] + given["left"]
os.environ["HARDENED_SELFTEST_LEFT"] = secret
for place in ("/tmp", "/dev/shm", "/var/tmp", "/opt/hardened", "/opt/packages", "/dev/mqueue", "/run"):
    try:
        with open(f"{place}/{secret}", "w") as file:
            file.write(secret)
    except OSError:
        pass
"""

SEEK = """
import os
print(os.environ.get("HARDENED_SELFTEST_LEFT"))
for place in ("/tmp", "/dev/shm", "/var/tmp", "/opt/hardened", "/opt/packages", "/dev/mqueue", "/run"):
    try:
        print([name for name in os.listdir(place) if name.startswith(given["prefix"])])
    except OSError:
        pass
print([name for name in globals() if name == "secret"])
"""

RANDOM = """
import os, random, secrets, tempfile, uuid
print("value random", random.random())
print("value uuid", uuid.uuid4())
print("value urandom", os.urandom(8).hex())
print("value secrets", secrets.token_hex(8))
print("value temporary", tempfile.mktemp())
try:
    import numpy
    print("value numpy", numpy.random.rand())
    print("value generator", numpy.random.default_rng().random())
except ImportError:
    pass
"""


def _values(said: str) -> set[str]:
    return {line for line in said.splitlines() if line.startswith("value ")}


def _random(evidence: Evidence) -> str:
    same = sorted(line.split()[1] for line in _values(evidence.said) & _values(evidence.earlier))
    return first(
        f"two sessions have the same values: {', '.join(same)}" if same else "",
        "" if len(_values(evidence.said)) >= 5 else "fewer than five sources were tried",
    )


PROBES = (
    Probe(
        id="sessions.leftovers",
        promise="R16",
        title="a secret left in files, variables and environment is not there in the next session",
        program=SEEK,
        judge=no_secret,
        before=HIDE,
        lane=Lane.SMALL,
    ),
    Probe(
        id="sessions.random",
        promise="R16",
        title="two sessions differ in every source of randomness",
        program=RANDOM,
        judge=_random,
        before=RANDOM,
        lane=Lane.SMALL,
    ),
)
