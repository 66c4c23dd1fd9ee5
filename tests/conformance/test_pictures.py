"""Figures: drawn without a screen, shown ones come to the host as pixels, and to the model where that is wanted."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image
from smolagents import ChatMessage, CodeAgent
from tests.conftest import MakeExecutor
from tests.support.models import CodeModel

from smolagents_hardened import HardenedExecutor, Limits, attach

LINE = (
    "import matplotlib.pyplot as plt\nfig, ax = plt.subplots(figsize=(4, 3), dpi=100)\n"
    "ax.plot([0, 1, 2], [0, 0, 8], color=(1, 0, 0), linewidth=4)\nax.set_xlim(0, 2)\nax.set_ylim(0, 8)\n"
    "ax.set_position([0.1, 0.1, 0.8, 0.8])\nax.tick_params(labelbottom=False, labelleft=False, length=0)\n"
)


class SeeingModel(CodeModel):
    """Keeps the latest conversation that it was shown."""

    seen: Sequence[ChatMessage] = ()

    def generate(self, messages: Sequence[ChatMessage], **options: Any) -> ChatMessage:
        self.seen = messages
        return super().generate(messages, **options)


def pixels(picture: object) -> Any:
    """A picture as an array of height x width x 3."""
    assert isinstance(picture, Image.Image)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def is_red(array: Any) -> Any:
    """Where the line is."""
    return (array[..., 0] > 200) & (array[..., 1] < 90) & (array[..., 2] < 90)


def check_line(array: Any) -> None:
    """Look at the drawing: a black box from 10 to 90 % of both sides, and in it the line that the data describe."""
    height, width, _ = array.shape
    assert (width, height) == (400, 300)
    dark = array.sum(axis=2) < 200
    for column in (40, 360):  # the left and the right side of the axes, within a pixel
        assert dark[35:265, column - 2 : column + 2].any(axis=1).all()
    for row in (30, 270):
        assert dark[row - 2 : row + 2, 60:195].any(axis=0).sum() > 100
    assert (array[5, 5] == 255).all()
    red = is_red(array)
    assert not red[:, :38].any()
    assert not red[:25].any()
    rows, columns = np.nonzero(red)
    flat = rows[(columns > 60) & (columns < 180)]
    assert 262 <= flat.min() <= flat.max() <= 275  # y = 0 lies at the bottom of the box
    rising = rows[(columns > 278) & (columns < 282)]  # x = 1.5, where y is 4: half the height
    assert abs(rising.mean() - 150) < 6
    assert not red[:255, 60:180].any()  # and nothing of it above the flat half


def test_a_shown_figure_looks_like_its_data(executor: HardenedExecutor) -> None:
    """plt.show() collects the figure; axes and line are where the data say."""
    assert executor(f"{LINE}plt.show()").logs == ""
    (picture,) = executor.pictures
    check_line(pixels(picture))


def test_a_saved_figure_looks_the_same(executor: HardenedExecutor) -> None:
    """plt.savefig() writes a PNG that the user can fetch; it is decoded here, in the test, by the one who wants to."""
    executor(f"{LINE}plt.savefig('plot.png')")
    assert executor.pictures == []
    check_line(np.asarray(Image.open(io.BytesIO(executor.files.read("plot.png"))).convert("RGB")).astype(int))


def test_each_show_is_a_picture_of_its_own(executor: HardenedExecutor) -> None:
    """What was shown is closed: the next plot does not draw over it; another step begins with none."""
    executor(
        "import matplotlib.pyplot as plt\nfor color in ('red', 'blue'):\n    plt.plot([0, 1], color=color, lw=9)\n    plt.show()"
    )
    first, second = (pixels(one) for one in executor.pictures)
    assert is_red(first).any()
    assert not is_red(second).any()
    executor("plt.show()")
    assert executor.pictures == []
    executor("plt.figure()\nplt.figure()\nplt.show()")
    assert len(executor.pictures) == 2


@pytest.mark.parametrize(
    "how",
    [
        "import matplotlib\nmatplotlib.use('Agg')\n",
        "import matplotlib.pyplot\n",
        "from matplotlib import pyplot\n",
        "import pylab\n",
    ],
)
def test_show_works_however_it_is_imported(executor: HardenedExecutor, how: str) -> None:
    """A backend chosen by hand, or pyplot under another name, changes nothing."""
    executor(f"{how}from matplotlib.pyplot import plot, show\nplot([1, 2])\nshow()")
    assert len(executor.pictures) == 1


def test_pictures_come_after_an_error_and_an_answer(make_executor: MakeExecutor) -> None:
    """What was shown before a step failed, or before the final answer, is there."""
    executor = make_executor()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        executor("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()\n1/0")
    assert len(executor.pictures) == 1
    executor.send_tools({"final_answer": lambda answer: answer})
    assert executor("plt.plot([1])\nplt.show()\nfinal_answer(1)").is_final_answer
    assert len(executor.pictures) == 1


def test_number_and_size_are_bounded(make_executor: MakeExecutor) -> None:
    """[R9] Beyond the limits a figure is left out, and the code is told; a giant is drawn at a lower resolution."""
    executor = make_executor(limits=Limits(pictures=2, picture_bytes=300_000))
    done = executor(
        "import matplotlib.pyplot as plt\nfor _ in range(4): plt.figure(figsize=(40, 20), dpi=300)\nplt.show()"
    )
    assert "a step can show 2" in done.logs
    assert len(executor.pictures) == 2
    for array in map(pixels, executor.pictures):
        assert 150_000 < array.size <= 300_000
        assert abs(array.shape[1] / array.shape[0] - 2) < 0.02


def test_matplotlib_is_not_imported_for_those_who_do_not_use_it(executor: HardenedExecutor) -> None:
    """Watching for it costs nothing."""
    assert executor("import sys\n[name for name in sys.modules if name.startswith(('matplotlib', 'PIL'))]").output == []


def test_an_image_is_a_final_answer(make_executor: MakeExecutor) -> None:
    """A PIL image crosses as pixels, whichever mode, and is what was drawn."""
    executor = make_executor()
    executor.send_tools({"final_answer": lambda answer: answer})
    done = executor(
        "from PIL import Image, ImageDraw\nimage = Image.new('RGBA', (60, 40), (0, 0, 0, 0))\nImageDraw.Draw(image).rectangle((10, 5, 29, 34), fill=(0, 128, 255, 255))\nfinal_answer(image)"
    )
    assert done.is_final_answer
    array = np.asarray(done.output)
    assert array.shape == (40, 60, 4)
    wanted = np.zeros((40, 60, 4), dtype="uint8")
    wanted[5:35, 10:30] = (0, 128, 255, 255)
    assert (array == wanted).all()


def test_the_model_sees_what_was_shown(make_executor: MakeExecutor) -> None:
    """With show_pictures the figures of a step go to the model with its observation; without, they do not."""
    for is_wanted in (True, False):
        executor = make_executor(show_pictures=is_wanted)
        model = SeeingModel(f"{LINE}plt.show()", "final_answer('seen')")
        agent, other = (CodeAgent([], model, executor=executor, executor_type="local") for _ in range(2))
        for one in (agent, other, agent):  # each figure comes once, however often an agent takes its place again
            attach(one)
        assert agent.run("draw a line") == "seen"
        images = [
            part["image"]
            for message in model.seen
            if isinstance(message.content, list)
            for part in message.content
            if part["type"] == "image"
        ]
        assert len(images) == is_wanted
        for image in images:
            check_line(pixels(image))


def test_the_drawing_is_not_the_tests(tmp_path: Any) -> None:
    """The control: outside a box matplotlib does not know of any gallery, and show() gives nothing."""
    code = "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nprint(plt.show.__module__)"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.stdout.strip() == "matplotlib.pyplot", ran.stderr
