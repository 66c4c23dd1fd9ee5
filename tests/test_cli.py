"""The commands as a user types them: output, error stream, exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest
from rich.text import Text
from tests.support.backends import DECLARED

from smolagents_hardened.cli.progress import WithoutPrints


def hardened(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "smolagents_hardened.cli", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=110)


@pytest.mark.parametrize("backend", DECLARED)
def test_run_prints_and_shows_the_value(backend: str) -> None:
    """Prints come first, then the value; the status is 0."""
    ended = hardened("run", "--backend", backend, "-c", 'print("hello"); 6 * 7')
    assert (ended.stdout, ended.returncode) == ("hello\n42\n", 0), ended.stderr
    assert "hello" not in ended.stderr  # a terminal shows both


def test_prints_are_progress_where_the_output_is_one_object() -> None:
    """With --json they are seen as they come, on the error stream; what the executor itself has to say is seen always."""
    code = "print('hello'); 6 * 7"
    assert "hello" in hardened("run", "--json", "-c", code).stderr
    with redirect_stderr(StringIO()) as told:
        WithoutPrints().log(Text("hello"))
        WithoutPrints().log("the image is built")
    assert told.getvalue() == "the image is built\n"


def test_run_a_file_and_standard_input(tmp_path: Path) -> None:
    """A file and - are the same to it; the box's imports are authorised by --import."""
    program = tmp_path / "program.py"
    program.write_text("import numpy as np\nint(np.arange(4).sum())")
    assert hardened("run", "--import", "numpy", str(program)).stdout == "6\n"
    assert hardened("run", "-", stdin="1 + 1").stdout == "2\n"


def test_files_go_in_and_come_out(tmp_path: Path) -> None:
    """--file gives a file, --output and --output-dir fetch what was made of it; each saved file is named."""
    (tmp_path / "in.txt").write_text("hello")
    code = "open('out.txt', 'w').write(open('/files/a/in.txt').read().upper())"
    wanted = ("--file", f"a/in.txt={tmp_path / 'in.txt'}", "--output", "*.txt", "--output-dir", str(tmp_path))
    ended = hardened("run", *wanted, "-c", code)
    assert (ended.stdout, ended.returncode) == ("5\n", 0), ended.stderr
    assert (tmp_path / "out.txt").read_text() == "HELLO"
    assert f"saved: {tmp_path / 'out.txt'}" in ended.stderr


def test_a_failing_snippet_is_status_1() -> None:
    """The error goes to the error stream."""
    ended = hardened("run", "-c", "1 / 0")
    assert (ended.stdout, ended.returncode) == ("", 1)
    assert "ZeroDivisionError" in ended.stderr


def test_json_is_one_object() -> None:
    """--json says everything in one line."""
    ended = hardened("run", "--json", "-c", "print('p'); 'v'")
    assert json.loads(ended.stdout) == {"ok": True, "value": "v", "logs": "p\n", "error": None}


def test_a_timeout_is_obeyed() -> None:
    """--timeout is the wall time of the snippet."""
    ended = hardened("run", "--timeout", "0.5", "-c", "while True: pass")
    assert ended.returncode == 1
    assert "maximum execution time of 0.5 seconds" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("run", "-c", "1", "file.py"),
        ("run", "no_such_file.py"),
        ("run", "--file", "no equals sign", "-c", "1"),
        ("run", "--file", "x=/no/such/file", "-c", "1"),
        ("run", "--output", "*", "--output-dir", "/no/such/directory", "-c", "1"),
        ("run", "--backend", "dokcer", "-c", "1"),
        ("run", "--gate", "loose", "-c", "1"),
        ("run", "--import", "no_such_module", "-c", "1"),
        ("audit", "verify", "no_such_trail.jsonl"),
        ("no_such_command",),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    """Wrong usage is told in one line on the error stream, without a traceback."""
    ended = hardened(*arguments)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr


def test_terminal_escapes_do_not_reach_the_terminal() -> None:
    """What code prints and returns is shown, not obeyed."""
    ended = hardened("run", "-c", r"print('\x1b]0;title\x07'); '\x1b[31m'")
    assert "\x1b" not in ended.stdout
    assert r"\x1b]0;title\x07" in ended.stdout


def test_verify_finds_an_edit(tmp_path: Path) -> None:
    """A trail verifies; one changed byte does not."""
    trail = tmp_path / "audit.jsonl"
    code = f"from smolagents_hardened.audit.trail import Trail\nfrom pathlib import Path\nTrail(Path({str(trail)!r})).append('end', run='r')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert hardened("audit", "verify", str(trail)).returncode == 0
    assert "end" in hardened("audit", "show", str(trail)).stdout
    trail.write_text(trail.read_text().replace('"run":"r"', '"run":"s"'))
    ended = hardened("audit", "verify", str(trail))
    assert ended.returncode == 1
    assert "TAMPERED" in ended.stdout


@pytest.mark.parametrize("backend", DECLARED)
def test_the_image_is_there_after_build(backend: str) -> None:
    """`image build` names the image; the second time it is at once there."""
    build = ("image", "build", *(["--native"] if backend == "native" else []))
    first, second = hardened(*build), hardened(*build)
    assert first.returncode == 0, first.stderr
    assert second.stdout == first.stdout
    assert second.stderr == ""
