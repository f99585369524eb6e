"""The package for pip and for colcon (build type ament_python)."""

import sys
from glob import glob

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

# The ROS 2 wheels exist for x86-64 Linux only; elsewhere ROS comes from apt or a container.
X86_LINUX = ' ; platform_machine == "x86_64" and sys_platform == "linux"'
ROS_WHEELS = [
    "ros-jazzy-%s%s" % (name, X86_LINUX)
    for name in (
        "rclpy",
        "rmw-fastrtps-cpp",
        "sensor-msgs",
        "std-msgs",
        "std-srvs",
        "diagnostic-msgs",
        "lifecycle-msgs",
    )
]
# OpenCV 5 has no HOGDescriptor, the people detector that the demo shows the fused image to.
DEMO_OPENCV = "opencv-python-headless>=4.5,<5"
BAG_READER = [
    "rosbags>=0.11 ; python_version >= '3.10'",
    "mcap>=1.0 ; python_version >= '3.10'",  # reads files whose recording was cut off
]
REPORT = ["jinja2>=3.0", "matplotlib>=3.5", "pillow>=9"]

EXTRAS = {
    "openvino": ["openvino>=2023.1"],
    "onnx": ["onnxruntime>=1.14", "onnx>=1.14"],
    "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1.0"],
    "torch": ["torch>=1.13", "safetensors>=0.4"],
    "train": [
        "torch>=2.6",
        "safetensors>=0.4",
        "onnx>=1.14",
        "onnxscript",
        "onnxruntime>=1.14",
        "lightning>=2.6",
        "matplotlib",
        "pyyaml",
        "tensorboard",
        "torchmetrics>=1.0,<2",
        "tqdm",
    ],
    "ros": ROS_WHEELS + ["pyyaml"],
    "bag": BAG_READER + ["pyyaml"],
    "evaluate": BAG_READER + REPORT + ["pyyaml", "onnxruntime>=1.14", DEMO_OPENCV],
    "radiometric": ["flyr>=4"],  # EUPL-1.2, imported when a radiometric JPEG of FLIR is read
    "rtx": ["tensorrt-rtx-cu13%s" % X86_LINUX, "cuda-python>=12%s" % X86_LINUX],
    "demo": ["openvino>=2023.1", "pillow>=9", DEMO_OPENCV] + ROS_WHEELS + BAG_READER + ["pyyaml"],
}
# What a ROS machine needs beside ROS for `make test`; `colcon test` looks for pytest here.
EXTRAS["test"] = ["hypothesis", "pytest", *EXTRAS["onnx"], *EXTRAS["bag"], *REPORT, "pyyaml"]
EXTRAS["dev"] = sorted(
    {
        *EXTRAS["test"],
        *EXTRAS["openvino"],
        *EXTRAS["docs"],
        *EXTRAS["train"],
        *EXTRAS["ros"],
        *EXTRAS["radiometric"],
        "tensorrt-rtx-cu13%s" % X86_LINUX,  # its builder needs no GPU
        DEMO_OPENCV,
        "bandit[toml]",
        "grimp",
        "mypy",
        "ruff>=0.9",
        "scikit-image",
        "scikit-learn",
        "torch==2.13.0",
        "vermin",
        "wheel",
    }
)


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
    version="0.1.0",
    description="Real-time infrared-visible image fusion for robots, with a ROS 2 node",
    author="irvis_fusion maintainers",
    maintainer="irvis_fusion maintainers",
    maintainer_email="maintainers@irvis-fusion.invalid",
    license="MIT",
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
    python_requires=">=3.8",
    # The headless build of OpenCV: the other one needs libGL and X11, which robots and servers
    # often lack, and no window is opened here.
    install_requires=["numpy>=1.21", "opencv-python-headless>=4.5"],
    extras_require=EXTRAS,
    zip_safe=False,
    entry_points={
        "console_scripts": executables(),
        "irvis_fusion.commands": ["%s = %s:main" % command for command in COMMANDS.items()],
    },
)
