"""The list of packages is written by hand, and one that is forgotten is dropped from the wheel without a warning."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def folders_with_modules() -> set[str]:
    """Every folder with Python modules, by its import name; capture and analyze are reached by their links."""
    modules = [
        path.relative_to(ROOT)
        for top in ("tracekit", "tracekit/capture", "tracekit/analyze")
        for path in (ROOT / top).rglob("*.py")
    ]
    return {".".join(module.parent.parts) for module in modules}


def test_every_package_is_listed() -> None:
    assert folders_with_modules() == set(SETUPTOOLS["packages"])


def test_every_package_has_its_init() -> None:
    for package in SETUPTOOLS["packages"]:
        assert (ROOT / package.replace(".", "/") / "__init__.py").is_file(), package


def test_the_links_lead_to_what_is_packaged() -> None:
    for name in ("capture", "analyze"):
        link = ROOT / "tracekit" / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name
