"""docs/packages.md says what packages do in a box: here they do it again."""

from __future__ import annotations

import json

import pytest
from benchmarks import images, packages, workloads
from benchmarks.workloads import WORKS, Work
from tests.support.backends import DECLARED
from tests.support.learning_image import ensure_learning_image

MEASURED = json.loads(packages.RESULT.read_text())
# The image with all packages takes minutes to build: `python -m benchmarks.packages` does that.
IN_ONE_IMAGE = (workloads.sklearn, workloads.openpyxl)


def test_the_page_says_what_was_measured() -> None:
    """Word for word; versions are those of the lock."""
    assert packages.PAGE.read_text() == packages.page(MEASURED)


def test_the_readme_shows_the_sizes_that_were_measured() -> None:
    """Word for word what `python -m benchmarks.images` prints."""
    assert images.table() in (packages.PAGE.parents[1] / "README.md").read_text()


def test_what_was_tried_for_real_works() -> None:
    """Of the packages that people ask for one does not work, and the page says why."""
    refused = {name for backend in MEASURED.values() for name, told in backend.items() if told != packages.WORKING}
    assert refused == {"polars"}


@pytest.mark.skipif("native" not in DECLARED, reason="native is not declared")
@pytest.mark.timeout(400)  # the first time, each is copied and compiled
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_a_native_box_does_the_same_again(work: Work) -> None:
    """The package's own small work, with the packages of this environment."""
    assert packages.tried(work, "native") == MEASURED["native"][work.__name__]


@pytest.mark.skipif("docker" not in DECLARED, reason="docker is not declared")
@pytest.mark.timeout(900)  # an image is built
def test_a_docker_box_does_the_same_again() -> None:
    """In an image with two of the packages and what they require, locked and installed from wheels."""
    assert {"scikit-learn", "openpyxl", "et_xmlfile"} <= ensure_learning_image().packages.keys()
    assert [packages.tried(work, "docker") for work in IN_ONE_IMAGE] == [packages.WORKING] * len(IN_ONE_IMAGE)
