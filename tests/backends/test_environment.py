"""What an import needs of the host's environment: real installations of every kind, in directories of the test's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.backends import distribution_files, environment, native_root
from smolagents_hardened.backends.distribution_names import DIFFERENT
from smolagents_hardened.errors import ConfigError, MissingImports

PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "1.2.3"
dependencies = [{needs}]
[tool.hatch.build]
packages = ["src/{package}"]
[tool.hatch.build.targets.wheel]
packages = ["src/{package}"]
dev-mode-dirs = ["src"]
"""


def names(*imports: str) -> set[str]:
    """The parts that these imports need, without the one that every box has."""
    return {part.name for part in environment.resolve(imports)} - {environment.ALWAYS}


def project(directory: Path, name: str, packages: dict[str, str], needs: str = "") -> Path:
    """A project with packages, file by file."""
    (directory / "pyproject.toml").parent.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(
        PROJECT.format(name=name, needs=needs, package=next(iter(packages)).partition("/")[0])
    )
    for file, text in packages.items():
        path = directory / "src" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def install(site: Path, *arguments: str) -> None:
    """Install into a site directory of the test's own, without the network."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--ignore-installed", "--prefix", str(site.parents[2]), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty site directory, at the end of this interpreter's path."""
    made = tmp_path / "prefix/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    made.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(made)])
    return made


def run(imports: list[str], code: str) -> object:
    """The value of a snippet in a native box with these imports."""
    with HardenedExecutor(imports, backend="native", gate="off") as executor:
        return executor(code).output


def test_the_standard_library_needs_nothing() -> None:
    """Authorised or not, it is in every box."""
    assert names("json", "os.path", "collections.*") == set()


def test_an_import_brings_its_distribution_and_what_that_requires() -> None:
    """By the name of the distribution, through all levels, and no more."""
    found = names("sklearn")
    assert {"scikit-learn", "scipy", "numpy", "joblib", "threadpoolctl"} <= found
    assert not found & {"pandas", "matplotlib", "pytest", "pyarrow"}


def test_requirements_of_extras_nobody_asked_for_stay_out() -> None:
    """pandas can use openpyxl and pyarrow, both of which are installed: they are authorised by name, or not there."""
    assert not names("pandas") & {"openpyxl", "pyarrow", "matplotlib"}
    assert {"openpyxl", "et-xmlfile"} <= names("pandas", "openpyxl")


def test_a_star_means_the_whole_environment() -> None:
    """All distributions but our own, whose part in a box is there anyway."""
    assert {"pytest", "numpy", "polars"} <= names("*")
    assert "smolagents-hardened" not in names("*")


def test_only_what_was_authorised_can_be_imported() -> None:
    """[R15] With the gate off, a package of the environment that nobody authorised does not exist in the box."""
    look = (
        "import importlib.util\n[importlib.util.find_spec(name) is not None for name in ('numpy', 'pandas', 'pytest')]"
    )
    assert run(["numpy"], look) == [True, False, False]


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    """As both our and smolagents' error, before anything is made; where the names differ, by that of the distribution."""
    with pytest.raises(
        ConfigError, match=rf"Non-installed.*cv2.*Run: {sys.executable} -m pip install opencv-python-headless"
    ):
        HardenedExecutor(["cv2"], backend="native")
    with pytest.raises(MissingImports, match="pip install 'not a name'"):
        environment.resolve(["not a name"])
    with pytest.raises(MissingImports):
        environment.resolve(["../../etc"])


def test_the_table_of_names_agrees_with_what_is_installed() -> None:
    """Each line whose package this environment has says what the environment says."""
    installed = environment._read(environment._stamp())
    known = {name: wanted for name, wanted in DIFFERENT.items() if name in installed.owners}
    assert len(known) >= 6
    assert {
        name: wanted for name, wanted in known.items() if canonicalize_name(wanted) not in installed.owners[name]
    } == {}


def test_an_editable_installation_shows_its_packages_only(site: Path, tmp_path: Path) -> None:
    """The source tree as it is now, by its package; not its tests, its secrets, or where it lies."""
    files = {"lively/__init__.py": "X = 1\n", "lively/data.txt": "data", "lively/.env": "SECRET", "other.txt": "no"}
    tree = project(tmp_path / "tree", "lively-project", files, '"python-dateutil"')
    install(site, "--editable", str(tree))
    import site as standard

    standard.addsitedir(str(site))  # what the interpreter does at its start: .pth files
    code = "import lively, dateutil, os\n(lively.X, sorted(os.listdir(os.path.dirname(lively.__file__))))"
    assert run(["lively"], code) == (1, ["__init__.py", "__pycache__", "data.txt"])
    (tree / "src/lively/__init__.py").write_text("X = 22\n")
    assert run(["lively"], "import lively\nlively.X") == 22
    [part] = [one for one in environment.resolve(["lively"]) if one.name == "lively-project"]
    root = native_root.ensure(print, ["lively"])
    told = b"".join(path.read_bytes() for path in (root.path / "opt/packages").glob("lively*/**/*") if path.is_file())
    assert str(tmp_path).encode() not in told
    assert part.version == "1.2.3"


def test_packages_that_share_a_name_are_told_apart(site: Path, tmp_path: Path) -> None:
    """A namespace package: the dotted name decides which distribution comes; the bare name brings all."""
    for which in ("first", "second"):
        install(
            site, str(project(tmp_path / which, f"shared-{which}", {f"shared/{which}/__init__.py": f"X = '{which}'\n"}))
        )
    assert names("shared.first") == {"shared-first"}
    assert names("shared") == {"shared-first", "shared-second"}
    assert run(
        ["shared.first", "shared.second"], "import shared.first, shared.second\nshared.first.X + shared.second.X"
    ) == ("firstsecond")


def test_a_module_that_belongs_to_no_distribution_is_shown_alone(site: Path) -> None:
    """A file on the path that was authorised by name; what lies beside it stays outside."""
    (site / "helpful.py").write_text("X = 5\n")
    (site / "secret.py").write_text("KEY = 1\n")
    assert run(["helpful"], "import helpful, importlib.util\n(helpful.X, importlib.util.find_spec('secret'))") == (
        5,
        None,
    )


def test_what_runs_at_the_start_of_an_interpreter_stays_behind(site: Path, tmp_path: Path) -> None:
    """A .pth file of a distribution, and what tells where it came from."""
    install(site, str(project(tmp_path / "tree", "plain", {"plain/__init__.py": "", "plain/data.txt": "data"})))
    info = next(site.glob("plain-*.dist-info"))
    (site / "plain.pth").write_text("import os; os.environ['STARTED'] = '1'\n")
    (info / "RECORD").write_text((info / "RECORD").read_text() + "plain.pth,,\n../../bin/plain,,\n/etc/passwd,,\n")
    [part] = [one for one in environment.resolve(["plain"]) if one.name == "plain"]
    found = {name for name, _ in distribution_files.files(part)}
    assert {"plain/__init__.py", "plain/data.txt"} <= found
    assert not [name for name in found if name.endswith((".pth", "direct_url.json", "passwd", "bin/plain"))]
    assert run(["plain"], "import os\nos.environ.get('STARTED')") is None


def test_a_link_out_of_a_source_tree_is_not_followed(site: Path, tmp_path: Path) -> None:
    """[R1] A package that belongs to no distribution may lie beside anything: links lead to nothing outside of it."""
    (tmp_path / "outside.txt").write_text("secret")
    (site / "linked").mkdir()
    (site / "linked/__init__.py").write_text("")
    (site / "linked/inside.txt").write_text("fine")
    (site / "linked/also.txt").symlink_to("inside.txt")
    (site / "linked/out.txt").symlink_to(tmp_path / "outside.txt")
    code = "import linked, os\nsorted(name for name in os.listdir(os.path.dirname(linked.__file__)) if name.endswith('.txt'))"
    assert run(["linked"], code) == ["also.txt", "inside.txt"]


def test_another_installation_is_noticed(site: Path, tmp_path: Path) -> None:
    """The next executor of the same process sees what was installed meanwhile, and the next version of it."""
    with pytest.raises(MissingImports):
        environment.resolve(["appears"])
    tree = project(tmp_path / "tree", "appears", {"appears/__init__.py": "X = 1\n"})
    install(site, str(tree))
    assert run(["appears"], "import appears\nappears.X") == 1
    (tree / "src/appears/__init__.py").write_text("X = 2\n")
    install(site, "--upgrade", str(tree))
    assert run(["appears"], "import appears\nappears.X") == 2


def test_variables_bring_their_library_along() -> None:
    """A frame that the host sends is a frame in the box, also where nobody authorised pandas; the gate still refuses it."""
    import pandas as pd

    with HardenedExecutor([], backend="native") as executor:
        executor.send_variables({"frame": pd.DataFrame({"a": [1, 2]})})
        assert executor("int(frame.a.sum())").output == 3
        assert executor.manifest.packages.keys() == {"RestrictedPython"}, "what was asked for at the start"
