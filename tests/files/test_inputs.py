"""What may go into a box as a file is decided before anything starts; each refusal says what to do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from smolagents import CodeAgent
from tests.support.backends import DECLARED
from tests.support.models import CodeModel
from tests.support.plain_user import NOBODY

from smolagents_hardened import ConfigError, HardenedExecutor, Limits, register
from smolagents_hardened.files import inputs

LIMITS = Limits()


def refused(given: object, limits: Limits = LIMITS) -> str:
    """The error for what must not go in."""
    with pytest.raises(ConfigError) as caught:
        inputs.parse(given, limits)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../x", "no '..'"),
        ("a/../b", "no '..'"),
        ("/etc/passwd", "must be relative"),
        ("", "not empty"),
        ("/", "must be relative"),
        ("a//b", "no empty part"),
        ("./a", "no '.'"),
        ("a\0b", "no NUL"),
        ("a" * 300, "at most 255 bytes"),
        ("é" * 200, "at most 255 bytes"),
        ("a/" * 3000 + "a", "shorten it"),
        ("bad\udcff", "valid UTF-8"),
        ("two\nlines", "newline"),
        ("\x1b[31mred", "control character"),
        ("a\u202egpj.exe", "mark of direction"),
        (5, "text that is not empty"),
        (b"x", "text that is not empty"),
    ],
)
def test_a_name_that_is_none_is_refused(name: object, said: str) -> None:
    """A hostile or impossible name is a ConfigError that says what a name has to be."""
    assert said in refused({name: b"x"})


@pytest.mark.parametrize("name", ["a.csv", "set/a b.csv", "ä/ö.txt", "100%.csv", "..a", "a" * 255])
def test_a_plain_name_is_taken(name: str) -> None:
    """An ordinary name passes as it is."""
    assert [one.name for one in inputs.parse({name: b"x"}, LIMITS)] == [name]


def test_odd_sources_are_refused(tmp_path: Path) -> None:
    """What is no regular file, no folder, or not there, is refused by its kind."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    assert "a FIFO" in refused({"x": tmp_path / "fifo"})
    assert "a socket" in refused({"x": str(tmp_path / "socket")})
    assert "a device" in refused({"x": "/dev/zero"})
    assert "cannot be found" in refused({"x": tmp_path / "nothing"})
    assert "path or bytes" in refused({"x": 5})
    assert "path or bytes" in refused({"x": "nul\0"})
    assert "must be a dict" in refused(["data.csv"])


def test_one_odd_file_in_a_folder_refuses_it(tmp_path: Path) -> None:
    """A FIFO deep in a folder is found before a box could be made to wait on it."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    os.mkfifo(tmp_path / "a" / "b" / "fifo")
    assert "a FIFO" in refused({"set/": tmp_path})
    os.remove(tmp_path / "a" / "b" / "fifo")
    (tmp_path / "a" / "new\nline").write_text("x")
    assert "rename it" in refused({"set/": tmp_path})


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "a/../../outside", "sub/../../.."])
def test_a_link_that_leads_out_of_its_folder_is_refused(tmp_path: Path, target: str) -> None:
    """A folder brings nothing along that is not in it."""
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(target)
    assert "leads out of the folder" in refused({"set/": folder})


def test_a_link_within_its_folder_stays_and_one_at_the_top_is_resolved(tmp_path: Path) -> None:
    """The user's own link to a source is followed once; links inside a folder are kept where they stay inside."""
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "sub" / "link").symlink_to("../a")
    (tmp_path / "top").symlink_to(folder)
    (found,) = inputs.parse({"set/": tmp_path / "top"}, LIMITS)
    assert found.source == folder.resolve()
    assert (found.is_folder, found.size_bytes, found.files) == (True, 1, 4)


def test_inputs_are_bounded_in_bytes_and_number(tmp_path: Path) -> None:
    """The limits hold for all inputs together."""
    for index in range(5):
        (tmp_path / f"f{index}").write_bytes(b"x" * 100)
    assert "files_bytes" in refused({"set/": tmp_path}, Limits(files_bytes=499))
    assert "files_count" in refused({"set/": tmp_path}, Limits(files_count=5))
    assert "files_bytes" in refused({"a": b"x" * 60, "b": b"x" * 60}, Limits(files_bytes=100))
    assert inputs.parse({"set/": tmp_path}, Limits(files_bytes=500, files_count=6))
    assert "at most 32" in refused({f"n{index}": b"" for index in range(33)})


def test_names_must_not_lie_within_each_other(tmp_path: Path) -> None:
    """Two inputs for one place are a mistake."""
    assert "given twice" in refused({"set": b"x", "set/": tmp_path})
    assert "lies within" in refused({"set/": tmp_path, "set/more": b"x"})


def test_a_changed_source_is_noticed(tmp_path: Path) -> None:
    """Looking again names what is another one now; what is gone is refused."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    before = inputs.parse({"set/": tmp_path / "set", "b": tmp_path / "b", "c": b"1"}, LIMITS)
    assert inputs.look_again(before, LIMITS)[1] == ()
    (tmp_path / "set" / "new").write_text("2")
    after, changed = inputs.look_again(before, LIMITS)
    assert changed == ("set",)
    assert inputs.look_again(after, LIMITS)[1] == ()
    (tmp_path / "b").unlink()
    with pytest.raises(ConfigError, match="does it exist"):
        inputs.look_again(after, LIMITS)


def test_what_this_user_cannot_read_is_refused(tmp_path: Path) -> None:
    """A file without the right to read it is refused before a box is made."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0)
    pid = os.fork()
    if pid == 0:  # as somebody who is not root
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            inputs.parse({"x": secret}, LIMITS)
        except ConfigError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_options_are_checked_at_construction(tmp_path: Path) -> None:
    """The constructor refuses what cannot be, whatever the backend."""
    with pytest.raises(ConfigError, match="must be relative"):
        HardenedExecutor(files={"/x": b""})
    with pytest.raises(ConfigError, match="does not exist"):
        HardenedExecutor(outputs=["*"], outputs_to=tmp_path / "no")
    with pytest.raises(ConfigError, match="name them too"):
        HardenedExecutor(outputs_to=tmp_path)
    with pytest.raises(ConfigError, match="relative to the working directory"):
        HardenedExecutor(outputs=["../*"])


def test_an_agents_saved_options_hold_paths_only(tmp_path: Path) -> None:
    """executor_kwargs are written as JSON: bytes are refused there, a path as text is taken."""
    register()
    (tmp_path / "x").write_text("x")
    for source, is_good in ((b"x", False), (tmp_path / "x", False), (str(tmp_path / "x"), True)):
        options = {"backend": DECLARED[0], "files": {"x": source}}
        if is_good:
            with CodeAgent([], CodeModel(), executor_type="hardened", executor_kwargs=options) as agent:
                assert agent.python_executor("open('/files/x').read()").output == "x"
        else:
            with pytest.raises(ConfigError, match="path as text"):
                CodeAgent([], CodeModel(), executor_type="hardened", executor_kwargs=options)
