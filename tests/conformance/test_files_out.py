"""Files out of a box: regular ones, as many bytes as were announced, under harmless names, nowhere but where asked."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import ConfigError, FileRefused, HardenedError, HardenedExecutor, Limits

HOSTILE = [
    b"new\nline",
    b"\x1b[31mred",
    b"bad\xffutf8",
    b"back\\slash",
    b"%41",
    b"a\\..\\..\\x",
    b"-rf",
    b"a" * 255,
    "é\u202e".encode(),
]


def problem(executor: HardenedExecutor, name: str) -> str:
    """Why a file is not handed out."""
    with pytest.raises(FileRefused) as caught:
        executor.files.read(name)
    return caught.value.problem


def test_what_a_step_has_written_can_be_listed_read_and_saved(executor: HardenedExecutor, tmp_path: Path) -> None:
    """The three ways, with a file in a folder and one larger than a frame and than a piece."""
    executor(
        "import os\nos.makedirs('deep/er')\nopen('deep/er/x.csv', 'w').write('a,b')\n"
        "big = bytes(range(256)) * 40_000\nopen('big.bin', 'wb').write(big)\nopen('empty', 'w').close()"
    )
    big = bytes(range(256)) * 40_000
    assert [(one.name, one.size) for one in executor.files.list()] == [
        ("big.bin", len(big)),
        ("deep/er/x.csv", 3),
        ("empty", 0),
    ]
    assert executor.files.read("deep/er/x.csv") == b"a,b"
    assert executor.files.read("big.bin") == big
    assert executor.files.read("empty") == b""
    assert executor.files.save("deep/er/x.csv", tmp_path) == tmp_path / "deep/er/x.csv"
    assert executor.files.save("big.bin", tmp_path).read_bytes() == big
    assert executor.files.save("empty", tmp_path).read_bytes() == b""
    assert {(record["name"], record["size_bytes"]) for record in executor.trail.records() if record["kind"] == "file_out"} == {
        ("deep/er/x.csv", 3), ("big.bin", len(big)), ("empty", 0)
    }  # fmt: skip
    assert hashlib.sha256(big).hexdigest() in [record.get("sha256") for record in executor.trail.records()]


def test_a_box_that_is_not_there_has_no_files(executor: HardenedExecutor) -> None:
    """Listing starts no box; a file of a box that has ended is gone."""
    assert executor.files.list() == ()
    assert executor.enforcement is None
    executor("open('x', 'w').close()")
    executor.cleanup()
    assert executor.files.list() == ()
    assert problem(executor, "x") == "missing"


def test_links_are_not_followed(executor: HardenedExecutor) -> None:
    """[R1] A link is no file: not to the host's, not to the image's, not as a part of the path."""
    executor(
        "import os\nos.symlink('/etc/passwd', 'link')\nos.symlink('/usr', 'folder')\nos.symlink('self', 'self')\n"
        "os.mkdir('real')\nopen('real/x', 'w').write('1')\nos.symlink('real', 'alias')"
    )
    assert [one.name for one in executor.files.list()] == ["real/x"]
    assert [problem(executor, name) for name in ("link", "self", "folder", "real")] == ["kind"] * 4
    assert problem(executor, "alias/x") == "missing"
    assert executor.files.read("real/x") == b"1"


def test_a_sparse_giant_cannot_be_and_what_is_sparse_is_bounded(executor: HardenedExecutor) -> None:
    """[R7] A terabyte of nothing is refused in the box; what fits its limit comes out as it is."""
    code = "import os\nf = open('giant', 'wb')\ntry:\n    os.truncate('giant', 10**12)\n    n = 0\nexcept OSError as error:\n    n = error.errno\nn"
    assert executor(code).output == errno.EFBIG
    executor("os.truncate('giant', 5_000_000)")
    assert executor.files.read("giant") == bytes(5_000_000)


def test_all_that_comes_out_has_a_budget(make_executor: MakeExecutor, tmp_path: Path) -> None:
    """[R9] Beyond Limits.outputs_bytes nothing more is read, however it is asked for."""
    executor = make_executor(limits=Limits(outputs_bytes=1500))
    executor("for n in 'abc': open(n, 'wb').write(b'x' * 1000)")
    assert len(executor.files.read("a")) == 1000
    with pytest.raises(FileRefused, match="outputs_bytes"):
        executor.files.read("b")
    with pytest.raises(FileRefused, match="outputs_bytes"):
        executor.files.save("c", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_what_comes_out_has_a_budget_too(make_executor: MakeExecutor, tmp_path: Path) -> None:
    """[R9] Empty files and the folders they are in cost inodes of the host: step after step, no more than the limit."""
    executor = make_executor(outputs=["*"], outputs_to=tmp_path, limits=Limits(outputs_count=10))
    for step in range(4):
        executor(f"import os\nos.makedirs('a{step}/b')\nfor n in range(3): open(f'a{step}/b/{{n}}', 'w').close()")
    assert len(executor.outputs) == 3
    assert len(list(tmp_path.rglob("*"))) == 5
    assert "outputs_count" in executor.files.problems["a3/b/2"]


def test_a_growing_file_ends_where_it_was_announced_to(executor: HardenedExecutor) -> None:
    """A thread that goes on writing cannot make a read endless."""
    executor(
        "import threading, time\ndef grow():\n    with open('log', 'ab', buffering=0) as f:\n        while True:\n"
        "            f.write(b'x' * 1000)\n            time.sleep(0.001)\nthreading.Thread(target=grow, daemon=True).start()\ntime.sleep(0.1)"
    )
    before = executor.files.list()[0].size
    assert before <= len(executor.files.read("log")) <= 64 * 2**20


@pytest.mark.parametrize("raw", HOSTILE)
def test_a_hostile_name_is_neutral_and_leads_back_to_its_file(
    executor: HardenedExecutor, tmp_path: Path, raw: bytes
) -> None:
    """Names are shown without control characters, and saved under what is shown."""
    executor(f"open({raw!r}, 'wb').write(b'mine')")
    (found,) = executor.files.list()
    assert found.name.isprintable()
    assert "\\" not in found.name
    assert executor.files.read(found.name) == b"mine"
    if len(found.name.encode()) <= 255:
        saved = executor.files.save(found.name, tmp_path)
        assert saved.read_bytes() == b"mine"
        assert [path.name for path in tmp_path.iterdir()] == [found.name]


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "", ".", "..", "a//b", "a\nb", "%41", "%2E%2E/x", "x" * 300]
)
def test_a_name_that_nothing_can_have_is_refused(executor: HardenedExecutor, tmp_path: Path, name: str) -> None:
    """What is asked for is checked before the box hears of it."""
    executor("1")
    assert problem(executor, name) == "missing"
    with pytest.raises(FileRefused):
        executor.files.save(name, tmp_path)


def test_declared_outputs_are_collected_after_each_step(make_executor: MakeExecutor) -> None:
    """New and changed files that fit a pattern are there as bytes, also after a step that raised."""
    executor = make_executor(outputs=["*.csv", "plot.png"])
    executor("open('a.csv', 'w').write('1')\nopen('other.txt', 'w').write('no')\nopen('.hidden.csv', 'w').write('no')")
    assert executor.outputs == {"a.csv": b"1"}
    executor("1")
    assert [record["name"] for record in executor.trail.records() if record["kind"] == "file_out"] == ["a.csv"]
    with pytest.raises(InterpreterError):
        executor("open('a.csv', 'w').write('22')\nimport os\nos.makedirs('.git')\nopen('.git/x.csv', 'w').close()\n1/0")
    assert executor.outputs == {"a.csv": b"22"}


def test_declared_outputs_are_saved_in_their_directory(make_executor: MakeExecutor, tmp_path: Path) -> None:
    """Each version replaces ours before it; a file of the user's stays, and the refusal is told."""
    (tmp_path / "mine.csv").write_text("precious")
    executor = make_executor(outputs=["*.csv"], outputs_to=tmp_path)
    executor("open('a.csv', 'w').write('1')\nopen('mine.csv', 'w').write('hostile')")
    assert (tmp_path / "a.csv").read_text() == "1"
    assert "exists" in executor.files.problems["mine.csv"]
    executor("open('a.csv', 'w').write('22')")
    assert (tmp_path / "a.csv").read_text() == "22"
    assert (tmp_path / "mine.csv").read_text() == "precious"
    assert executor.outputs == {"a.csv": tmp_path / "a.csv"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "mine.csv"]


def test_an_output_that_is_a_link_is_not_collected(make_executor: MakeExecutor) -> None:
    """A pattern makes no file of a link."""
    executor = make_executor(outputs=["*"])
    executor("import os\nos.symlink('/etc/passwd', 'a.csv')")
    assert executor.outputs == {}


def test_files_are_for_between_the_steps(executor: HardenedExecutor, tmp_path: Path) -> None:
    """A tool cannot read files in the middle of a step, and a directory that is not there is a clear error."""
    seen: list[str] = []

    def look() -> None:
        try:
            seen.append(str(executor.files.list()))
        except HardenedError as error:
            seen.append(str(error))

    executor.send_tools({"look": look})
    executor("look()")
    assert "between steps" in seen[0]
    with pytest.raises(ConfigError, match="does not exist"):
        executor.files.save("x", tmp_path / "no")


def test_four_thousand_files_are_listed(executor: HardenedExecutor) -> None:
    """A listing goes over as many messages as it takes, in order."""
    executor("import os\nos.mkdir('many')\nfor n in range(3900): open(f'many/{n:04}', 'w').close()")
    names = [one.name for one in executor.files.list()]
    assert names == [f"many/{n:04}" for n in range(3900)]


def test_a_deep_and_a_looping_tree_are_listed(executor: HardenedExecutor) -> None:
    """Depth costs neither the runner nor the host anything but its inodes."""
    executor(
        "import os\nfor n in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\nopen('x', 'w').close()\nos.chdir('/tmp')"
    )
    (found,) = executor.files.list()
    assert found.name == "d/" * 1500 + "x"
    assert executor.files.read(found.name) == b""


def test_describe_tells_the_model_where_files_are(make_executor: MakeExecutor) -> None:
    """One line for the instructions."""
    executor = make_executor(files={"data.csv": b"x"})
    assert (
        executor.files.describe()
        == "Files to read (read-only): /files/data.csv. Write files to the working directory /tmp."
    )


def test_a_link_in_the_directory_that_is_saved_to_is_not_followed(executor: HardenedExecutor, tmp_path: Path) -> None:
    """[R2] Not even somebody else's link below the directory leads a file elsewhere."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "sub").symlink_to(outside)
    (inside / "y").symlink_to(outside / "y")
    executor("import os\nos.mkdir('sub')\nopen('sub/x', 'w').close()\nopen('y', 'w').write('new')")
    with pytest.raises(FileRefused):
        executor.files.save("sub/x", inside)
    with pytest.raises(FileRefused, match="exists"):
        executor.files.save("y", inside)
    executor.files.save("y", inside, overwrite=True)
    assert list(outside.iterdir()) == []
    assert not os.path.islink(inside / "y")
