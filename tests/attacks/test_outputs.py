"""What comes out of a box is data: neither its name nor its place makes it code of the host's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import MakeExecutor
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.errors import BackendUnavailable, ConfigError

PLANT = "import os\nos.makedirs('pip')\nfor name in ('json.py', 'pip/__init__.py'): open(name, 'w').write('raise SystemExit(66)')"


@proves("host.imports")
@pytest.mark.parametrize("entry", ["", ".", "library", "library/deeper"])
def test_nothing_is_saved_where_the_host_imports_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_executor: MakeExecutor, entry: str
) -> None:
    """[R1] Outputs go to no directory that this Python imports from, nor to one above it: a json.py there would be run."""
    (tmp_path / "library" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(entry and str(tmp_path / entry))
    with pytest.raises(ConfigError, match="Python imports from"):
        HardenedExecutor(outputs=["*"], outputs_to=tmp_path)
    executor = make_executor(gate="off")
    executor(PLANT)
    with pytest.raises(ConfigError, match="Python imports from"):
        executor.files.save("json.py", ".")
    assert not (tmp_path / "json.py").exists()


@proves("host.imports")
def test_a_saved_file_would_be_run_from_there(tmp_path: Path, make_executor: MakeExecutor) -> None:
    """Saved in a directory of its own the same file is harmless; a Python that imports from there runs it."""
    executor = make_executor(gate="off", outputs=["*"], outputs_to=tmp_path)
    executor(PLANT)
    assert (tmp_path / "json.py").exists()
    harmless = subprocess.run([sys.executable, "-P", "-c", "import json"], cwd=tmp_path, check=False)
    run = subprocess.run([sys.executable, "-c", "import json"], cwd=tmp_path, check=False)
    assert (harmless.returncode, run.returncode) == (0, 66)


@proves("host.imports")
def test_a_hidden_directory_is_none_of_a_boxs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose packages lie in a hidden directory can take outputs: no file is saved in one."""
    (tmp_path / ".venv" / "lib").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / ".venv" / "lib"))
    HardenedExecutor(outputs=["*"], outputs_to=tmp_path).cleanup()


@proves("host.imports")
def test_the_installer_is_not_the_current_directorys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages of the box are installed by this Python's own pip, whatever lies where the program was started."""
    from smolagents_hardened.backends.packages import Target, install

    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").write_text("raise SystemExit(0)")
    (tmp_path / "pip" / "__main__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lock = "no-such-package-anywhere==1 --hash=sha256:" + "0" * 64
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(BackendUnavailable, match="could not be installed"):
        install(lock, Target(sys.version_info[:2], is_host=True), lambda line: None)
    assert not (tmp_path / "ran").exists()
