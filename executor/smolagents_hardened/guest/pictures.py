"""The figures that a step shows: drawn, kept as plain pixels until the host asks, bounded in number and size.

There is no screen in a box, so `show` of matplotlib's pyplot, which would wait for one, is ours; it closes what it has
shown, as it does where there is a screen. Nothing is imported until the code itself imports pyplot.
"""

from __future__ import annotations

import importlib.machinery
import math
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

PYPLOT = "matplotlib.pyplot"
LEAST_DPI = 1.0


class Gallery:
    """What the running step, or the latest, has shown."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._most = limits["pictures"]
        self._most_pixels = min(limits["picture_bytes"], limits["blob_bytes"]) // 3  # each travels in one message
        self.pictures: list[object] = []  # PIL images

    def begin(self) -> None:
        """A step begins: what the one before has shown is forgotten."""
        self.pictures = []
        pyplot = sys.modules.get(PYPLOT)
        if pyplot is not None:  # imported before there was anybody to watch for it
            self._take_over(pyplot)

    def watch(self) -> None:
        """Be there when pyplot is imported."""
        sys.meta_path.insert(0, _Finder(self._take_over))

    def _take_over(self, pyplot: ModuleType) -> None:
        def show(*_args: object, **_kwargs: object) -> None:  # a function: pyplot sets attributes of it
            self._show()

        pyplot.show = show  # type: ignore[attr-defined]

    def _show(self) -> None:
        from matplotlib import pyplot

        for number in pyplot.get_fignums():
            self._keep(pyplot.figure(number))
        pyplot.close("all")

    def _keep(self, figure: Any) -> None:
        if len(self.pictures) >= self._most:
            print(f"(a figure was not kept: a step can show {self._most})")
            return
        self.pictures.append(draw(figure, self._most_pixels))


def draw(figure: Any, most_pixels: int) -> object:
    """A figure as an RGB image, on white where it is transparent, at a lower resolution where it would be too large."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    width, height = figure.get_size_inches()
    dpi = figure.dpi
    if width * height * dpi * dpi > most_pixels:
        figure.dpi = max(LEAST_DPI, math.sqrt(most_pixels / (width * height)) * 0.99)
    try:
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    finally:
        figure.dpi = dpi
    page = Image.new("RGB", drawn.size, "white")
    page.paste(drawn, mask=drawn.getchannel("A"))
    return page


class _Finder:
    """Finds pyplot where everybody does, and tells when it has been imported."""

    def __init__(self, then: Any) -> None:
        self._then = then

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: object = None) -> Any:
        if name != PYPLOT:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_tell(module: ModuleType) -> None:
                execute(module)
                self._then(module)

            spec.loader.exec_module = execute_and_tell  # type: ignore[method-assign]
        return spec
