"""The files that colcon installs (build type ament_python): packages, executables, share/.

Metadata, dependencies and extras are in pyproject.toml. The setuptools of Ubuntu 20.04 and 22.04
(JetPack 5 and 6, Humble) do not read them there, so what colcon needs stays here. `version` is
a literal for catkin_prepare_release, and pyproject.toml takes it from here.
"""

import sys
from glob import glob

from setuptools import __version__ as setuptools_version
from setuptools import find_packages, setup

PACKAGE = "irvis_fusion"

# Every command once. `irvis_fusion COMMAND` finds them through the entry-point group
# `irvis_fusion.commands`, so that the core has no list that names the ROS part.
COMMANDS = {
    "analyze": "irvis_fusion_core.commands.analyze",
    "benchmark": "irvis_fusion_core.commands.benchmark",
    "build_engine": "irvis_fusion_core.commands.build_engine",
    "calibrate": "irvis_fusion_ros.commands.calibrate",
    "demo": "irvis_fusion_ros.commands.demo",
    "doctor": "irvis_fusion_core.commands.doctor",
    "estimate_time_offset": "irvis_fusion_ros.commands.estimate_time_offset",
    "evaluate_bag": "irvis_fusion_ros.commands.evaluate_bag",
    "export": "irvis_fusion_core.commands.export",
    "fuse": "irvis_fusion_core.commands.fuse",
    "fuse_bag": "irvis_fusion_ros.commands.fuse_bag",
    "make_bag": "irvis_fusion_ros.commands.make_bag",
    "node": "irvis_fusion_ros.node.__main__",
    "quantize": "irvis_fusion_core.commands.quantize",
}


def executables():
    """The console scripts: every command for `ros2 run`, but only one name on a user's PATH.

    colcon puts scripts into lib/irvis_fusion, where `ros2 run irvis_fusion COMMAND` finds them
    and short names harm nobody. A wheel puts them into bin/, where `export`, `node` or `demo`
    would stand before other programs.
    """
    scripts = ["irvis_fusion = irvis_fusion_core.commands.cli:main"]
    if not {"bdist_wheel", "dist_info", "editable_wheel"} & set(sys.argv):
        scripts += ["%s = %s:main" % command for command in COMMANDS.items()]
        scripts.append("fusion_node = irvis_fusion_ros.node.__main__:main")
        scripts.append("demo_cameras = irvis_fusion_ros.demo.demo_cameras:main")
    return scripts


setup(
    name=PACKAGE,
    version="1.0.0",
    packages=find_packages(include=["irvis_fusion_core*", "irvis_fusion_ros*"]),
    package_data={
        "irvis_fusion_core": ["models/*", "py.typed"],
        "irvis_fusion_ros": ["py.typed", "evaluation/report/*.html", "evaluation/report/*.css"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + PACKAGE]),
        ("share/" + PACKAGE, ["package.xml"]),
        ("share/%s/launch" % PACKAGE, glob("launch/*.launch.py")),
        ("share/%s/config" % PACKAGE, glob("config/*.*")),
        ("share/%s/config/systemd" % PACKAGE, glob("config/systemd/*")),
    ],
    # colcon runs pytest where it finds it here; from 61 on, setuptools has it from pyproject.toml.
    extras_require={"test": ["pytest"]} if int(setuptools_version.split(".")[0]) < 61 else {},
    zip_safe=False,
    entry_points={
        "console_scripts": executables(),
        "irvis_fusion.commands": ["%s = %s:main" % command for command in COMMANDS.items()],
    },
)
