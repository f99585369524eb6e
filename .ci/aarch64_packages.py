"""Check that what the package needs on a Jetson exists for aarch64; exit status 1 if not.

Asks apt for the packages that package.xml names, and pip for the wheels of the dependencies and
of the extra [jetson], by the Python of each JetPack. It asks for these names alone and installs
nothing. On a machine that is not aarch64, apt reads the lists of arm64 into a temporary folder.
Without ROS's repository in the sources of apt, the ROS packages are not asked for.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree  # nosec B405
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
# Python of JetPack 5.1, 6 and 7 -> the newest glibc that their wheels may ask for.
JETPACKS = {"3.8": 31, "3.10": 35, "3.12": 39}
COMPILED = {"pycuda"}
"""Compiled on the board, against the CUDA of its JetPack: docs/jetson.md says how."""


def debian_names(distribution: str) -> list[str]:
    """Return the package of apt for each key of package.xml that the node needs."""
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()  # nosec B314
    keys = [str(element.text) for element in manifest.findall("exec_depend")]
    system = ("python3-", "lib")  # such keys of rosdep are Ubuntu's own names
    ros = f"ros-{distribution}-"
    return [key if key.startswith(system) else ros + key.replace("_", "-") for key in keys]


def missing_packages(names: list[str], folder: str) -> list[str]:
    """Return those of `names` that apt has no arm64 package of."""
    options = []
    if platform.machine() != "aarch64":
        os.makedirs(folder + "/lists/partial")
        options = ["-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}"]
        options += ["-o", "APT::Sandbox::User=root"]
        options += ["-o", "APT::Architecture=arm64", "-o", "APT::Architectures::=arm64"]
        update = ["apt-get", *options, "-qq", "update"]
        subprocess.run(update, check=True)
    missing = []
    for name in names:
        command = ["apt-cache", *options, "policy", name]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Candidate:" not in found or "Candidate: (none)" in found:
            missing.append(name)
    return missing


def requirements(python: str) -> list[Requirement]:
    """Return the dependencies and those of [jetson] that hold for this Python on aarch64."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["jetson"]]
    machine = {"python_version": python, "platform_machine": "aarch64", "sys_platform": "linux"}
    found = [Requirement(each) for each in named]
    return [each for each in found if each.marker is None or each.marker.evaluate(machine)]


def has_wheel(wanted: Requirement, python: str, folder: str) -> bool:
    """Whether pip finds a wheel for this Python on aarch64."""
    command = [sys.executable, "-m", "pip", "download", "--quiet"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += ["--platform", "manylinux2014_aarch64"]
    for version in range(17, JETPACKS[python] + 1):
        command += ["--platform", f"manylinux_2_{version}_aarch64"]
    command += ["--dest", folder, f"{wanted.name}{wanted.specifier}"]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def main() -> int:
    """Print what was asked for and what is missing."""
    distribution = os.environ.get("ROS_DISTRO", "")
    names = debian_names(distribution or "jazzy")
    if not distribution:
        print("ROS packages: not asked for; source a ROS whose repository apt has")
        names = [name for name in names if not name.startswith("ros-")]
    with tempfile.TemporaryDirectory() as folder:
        missing = [f"no arm64 package {name}" for name in missing_packages(names, folder)]
        print(f"{len(names)} packages of apt: {', '.join(names)}")
        for python in JETPACKS:
            for wanted in requirements(python):
                if wanted.name in COMPILED:
                    print(f"Python {python}: {wanted.name} is compiled on the board")
                elif has_wheel(wanted, python, folder):
                    print(f"Python {python}: {wanted.name}{wanted.specifier}")
                else:
                    missing.append(f"no aarch64 wheel of {wanted} for Python {python}")
    print("\n".join(missing) or "nothing is missing")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
