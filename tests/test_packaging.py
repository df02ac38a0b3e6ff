"""The wheel holds what a user needs and nothing else, and works away from the repository."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lightning_models", "lstm_strategies", "experiments", "configs")
PRESETS = (
    "attention",
    "bidirectional",
    "ensemble",
    "gradient-boosting",
    "layer-norm",
    "logistic-regression",
    "majority-class",
    "multi-layer",
    "price-predictor",
    "quickstart",
    "statistical",
    "transformer",
    "triple-barrier",
    "univariate",
    "zero-return",
)

WHERE_PACKAGES_COME_FROM = """
import importlib, sys
for name in sys.argv[1:]:
    print(importlib.import_module(name).__file__)
"""


def project_table() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def pins(lock: str) -> dict[str, Requirement]:
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in found}


def run_outside(
    command: Sequence[str | Path], folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder with nothing of this process's Python settings."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "COV_", "PYTEST_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def built(command: Sequence[str | Path], folder: Path) -> None:
    done = run_outside(command, folder)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"


def build_wheel(folder: Path, pyproject: str) -> Path:
    """Build the wheel from a copy, since a build leaves files beside its sources."""
    source = folder / "source"
    for name in (*PACKAGES, "tests", "samples"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "pyproject.toml").write_text(pyproject, "utf-8")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built([sys.executable, "-m", "pip", "wheel", *options, "-w", folder, source], folder)
    (path,) = folder.glob("lstm_strategies-*.whl")
    return path


def names_in(wheel: Path) -> set[PurePosixPath]:
    with zipfile.ZipFile(wheel) as archive:
        return {PurePosixPath(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    return build_wheel(tmp_path_factory.mktemp("wheel"), pyproject)


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[PurePosixPath]:
    return names_in(wheel)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` of an environment with the wheel, over this one's other packages.

    The parent's folder is added as a plain path: `.pth` files inside it are not read again, so
    an editable install of the parent stays out of sight.
    """
    folder = tmp_path_factory.mktemp("environment")
    built([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    python = folder / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile"]
    built(
        [sys.executable, "-m", "pip", "--python", python, "install", *options, wheel],
        folder,
    )
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return folder / "bin"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_tells_type_checkers_that_it_is_typed(
    package: str, names: set[PurePosixPath]
) -> None:
    assert PurePosixPath(package, "py.typed") in names


def test_every_module_and_data_file_of_the_packages_is_in_the_wheel(
    names: set[PurePosixPath],
) -> None:
    kept = {".py", ".yaml", ".jinja", ".typed"}
    sources = {
        PurePosixPath(path.relative_to(ROOT).as_posix())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and (path.suffix in kept or path.name == "py.typed")
    }
    assert sources - names == set()


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_is_in_the_wheel(preset: str, names: set[PurePosixPath]) -> None:
    assert PurePosixPath("configs", f"{preset}.yaml") in names


def test_report_template_is_in_the_wheel(names: set[PurePosixPath]) -> None:
    assert [name for name in names if name.parts[0] == "experiments" and name.suffix == ".jinja"]


def test_tests_and_samples_stay_out_of_the_wheel(names: set[PurePosixPath]) -> None:
    assert {name.parts[0] for name in names if not name.parts[0].endswith(".dist-info")} == set(
        PACKAGES
    )
    assert not [name for name in names if "__pycache__" in name.parts]


def test_without_its_settings_the_wheel_would_lose_presets_and_ship_tests(
    tmp_path: Path,
) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    settings = r"(?ms)^\[tool\.setuptools\.(packages\.find|package-data)\]\n.*?(?=^\[)"
    careless, removed = re.subn(settings, "", pyproject)
    assert removed == 2
    found = names_in(build_wheel(tmp_path, careless + "\n[tool.setuptools.packages.find]\n"))
    assert PurePosixPath("configs/quickstart.yaml") not in found
    assert not [name for name in found if name.suffix == ".jinja"]
    assert PurePosixPath("tests", Path(__file__).name) in found


def test_installed_packages_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [installed / "python", "-c", WHERE_PACKAGES_COME_FROM, *PACKAGES]
    done = run_outside(command, tmp_path)
    assert done.returncode == 0, done.stderr
    for origin in done.stdout.split():
        assert Path(origin).is_relative_to(installed.parent)


def test_repository_on_the_path_would_shadow_the_wheel(installed: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [installed / "python", "-c", WHERE_PACKAGES_COME_FROM, *PACKAGES]
    done = run_outside(command, tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    for origin in done.stdout.split():
        assert Path(origin).is_relative_to(ROOT)


def test_command_line_runs_away_from_the_repository(installed: Path, tmp_path: Path) -> None:
    done = run_outside([installed / "lstm-strategies", "--help"], tmp_path, COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lock", "declared"),
    [
        ("requirements.lock", project_table()["dependencies"]),
        ("requirements-dev.lock", project_table()["optional-dependencies"]["dev"]),
    ],
    ids=["runtime", "development"],
)
def test_every_declared_dependency_is_pinned_within_its_range(
    lock: str, declared: list[str]
) -> None:
    # A tool may need what the project itself needs through another package.
    pinned = pins("requirements.lock") | pins(lock)
    for requirement in map(Requirement, declared):
        (pin,) = pinned[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), f"{requirement} but {pin}"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_holds_exact_public_versions_alone(lock: str) -> None:
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    assert lines[0].startswith("#")
    for line in lines[1:]:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)


def test_locks_share_no_package() -> None:
    assert pins("requirements.lock").keys().isdisjoint(pins("requirements-dev.lock"))


@pytest.fixture(scope="module")
def write_lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_lock", ROOT / "scripts/write_lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lock_is_complete(write_lock: ModuleType) -> None:
    needed = write_lock.closure(project_table()["dependencies"])
    pinned = pins("requirements.lock")
    other = [
        f"{name} {version}"
        for name, version in needed.items()
        if name in pinned and not pinned[name].specifier.contains(version, prereleases=True)
    ]
    if other:
        pytest.skip(f"other versions are installed than the lock file's: {', '.join(other)}")
    assert needed.keys() == pinned.keys()


def test_closure_follows_the_dependencies_of_dependencies(write_lock: ModuleType) -> None:
    # pandas declares numpy and python-dateutil, and that one six.
    assert {"numpy", "python-dateutil", "six"} <= write_lock.closure(["pandas"]).keys()


def test_closure_refuses_a_version_outside_the_range(write_lock: ModuleType) -> None:
    with pytest.raises(LookupError, match=r"numpy [0-9.]+ is installed, .* needs numpy<1"):
        write_lock.closure(["numpy<1"])


def test_closure_names_the_package_that_is_missing(write_lock: ModuleType) -> None:
    with pytest.raises(LookupError, match="no-such-package is not installed"):
        write_lock.closure(["no-such-package>=1"])
