"""The lowest versions that the package allows, against the versions that fixed known faults."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
# By package, versions with a known fault, the newest of its line.
FAULTY = {
    "urllib3": ["2.5.0", "2.6.3"],  # CVE-2025-66471, CVE-2026-44432: decompression bombs
    "protobuf": ["5.29.4", "6.30.2", "6.31.0"],  # CVE-2025-4565: recursion
    "onnx": ["1.17.0", "1.20.1"],  # CVE-2025-51480, CVE-2026-27489: files outside the model's
    "pillow": ["12.1.0"],  # CVE-2026-25990: PSD
    "jinja2": ["3.1.5"],  # CVE-2025-27516: sandbox
    "torch": ["2.5.1"],  # CVE-2025-32434: torch.load
    "av": ["17.0.1"],  # a crash on a truncated video
    "grpcio": ["1.65.1"],  # CVE-2024-7246: headers of other clients
}


@pytest.fixture(scope="module")
def requirements():
    """All requirements of the package, with those of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for texts in lists for text in texts]


@pytest.mark.parametrize("name", FAULTY)
def test_versions_with_known_faults_are_not_allowed(requirements, name):
    found = [requirement for requirement in requirements if requirement.name == name]
    assert found
    for requirement in found:
        for version in FAULTY[name]:
            assert not requirement.specifier.contains(version), f"{requirement} allows {version}"


def pins(name):
    """The version of each package in a file of requirements."""
    found = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / name).read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): Version(version) for name, version in found}


def test_what_is_installed_is_pinned_by_hashes_too():
    pinned = pins("requirements.txt")
    assert pinned and pins("requirements-hashes.txt") == pinned
    text = (ROOT / "requirements-hashes.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) >= len(pinned)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_pinned_versions_are_allowed(requirements):
    pinned = pins("requirements.txt")
    for requirement in requirements:
        if requirement.name in pinned:
            assert requirement.specifier.contains(pinned[requirement.name]), requirement
