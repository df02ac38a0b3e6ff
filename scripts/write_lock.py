"""Write the lock files from the packages installed in the running environment.

`make lock` resolves the dependencies of `pyproject.toml` in an empty environment and runs this
there. `requirements.lock` gets every package the project needs to run, `requirements-dev.lock`
those that only its tools and tests add.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["closure", "lock_text", "main"]

ROOT = Path(__file__).resolve().parents[1]


def closure(requirements: Iterable[str]) -> dict[str, Version]:
    """Return the installed version of every package that the requirements lead to.

    Parameters
    ----------
    requirements
        Requirements as `pyproject.toml` states them; those whose marker excludes this
        interpreter are left out.

    Returns
    -------
    dict
        Canonical name to version, sorted by name.

    Raises
    ------
    LookupError
        If a package is not installed here or does not satisfy a requirement.
    """
    versions: dict[str, Version] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(Requirement(text), "the project") for text in requirements]
    while waiting:
        requirement, wanted_by = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        extras = frozenset(requirement.extras)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            message = f"{name} is not installed, but {wanted_by} needs it: run `make lock`"
            raise LookupError(message) from None
        version = Version(found.version)
        if not requirement.specifier.contains(version, prereleases=True):
            message = f"{name} {version} is installed, but {wanted_by} needs {requirement}"
            raise LookupError(message)
        versions[name] = version
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for text in found.requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in extras | {""}
            ):
                needed.marker = None
                waiting.append((needed, name))
    return dict(sorted(versions.items()))


def lock_text(versions: Mapping[str, Version], purpose: str) -> str:
    """Return the text of a lock file: one exact pin a line, without local version tags.

    Examples
    --------
    >>> print(lock_text({"torch": Version("2.13.0+cpu")}, "An example"), end="")
    # An example, for Python 3.11. Written by `make lock`.
    torch==2.13.0
    """
    header = f"# {purpose}, for Python 3.11. Written by `make lock`.\n"
    return header + "".join(f"{name}=={version.public}\n" for name, version in versions.items())


def main() -> int:
    """Write both lock files beside `pyproject.toml`."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    runtime = closure(project["dependencies"])
    development = closure(project["optional-dependencies"]["dev"])
    only_development = {name: pin for name, pin in development.items() if name not in runtime}
    (ROOT / "requirements.lock").write_text(
        lock_text(runtime, "What the project needs to run"), encoding="utf-8"
    )
    (ROOT / "requirements-dev.lock").write_text(
        lock_text(only_development, "What its tools and tests need besides"), encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
