# The fusion node on a Jetson (aarch64), with the TensorRT of JetPack. On the Jetson:
#   docker build --file docker/jetson.Dockerfile --tag irvis_fusion:jetson .
#   docker run --rm --runtime nvidia --network host --ipc host --volume engines:/home/fusion/.cache \
#       irvis_fusion:jetson
# JetPack 6.2: as it is. JetPack 7 and 5.1: docs/jetson.md has the BASE and ROS_DISTRO to pass.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}

ARG ROS_DISTRO=humble
ENV ROS_DISTRO=${ROS_DISTRO} DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /ros2_ws
COPY package.xml src/irvis_fusion/
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl ca-certificates \
    && curl --fail --silent --show-error --location --output /usr/share/keyrings/ros-archive-keyring.gpg \
        https://raw.githubusercontent.com/ros/rosdistro/master/ros.key \
    && . /etc/os-release \
    && echo "deb [signed-by=/usr/share/keyrings/ros-archive-keyring.gpg] http://packages.ros.org/ros2/ubuntu $UBUNTU_CODENAME main" \
        >/etc/apt/sources.list.d/ros2.list \
    && apt-get update \
    && apt-get install --yes --no-install-recommends \
        "ros-$ROS_DISTRO-ros-base" python3-colcon-common-extensions python3-pip python3-rosdep \
    && rosdep init \
    && rosdep update \
    && rosdep install --from-paths src --ignore-src --yes --dependency-types exec \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml setup.py setup.cfg README.md LICENSE src/irvis_fusion/
COPY resource src/irvis_fusion/resource
COPY config src/irvis_fusion/config
COPY launch src/irvis_fusion/launch
COPY irvis_fusion_core src/irvis_fusion/irvis_fusion_core
COPY irvis_fusion_ros src/irvis_fusion/irvis_fusion_ros
# cuda-python of the extra [jetson], for the Python of this JetPack.
# hadolint ignore=DL3013
RUN if [ "$ROS_DISTRO" = humble ]; then cuda='cuda-python>=12.6,<13'; else cuda='cuda-python>=13,<14'; fi \
    && pip3 install "$cuda" \
    && source "/opt/ros/$ROS_DISTRO/setup.bash" \
    && colcon build --packages-select irvis_fusion
COPY docker/entrypoint.sh docker/health.py /
RUN useradd --create-home --uid 10001 --groups video fusion \
    && install --directory --owner=fusion /home/fusion/.cache
USER 10001
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=20s --start-period=600s CMD ["/entrypoint.sh", "python3", "/health.py"]
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "irvis_fusion", "fusion.launch.py", "params_file:=jetson.yaml"]
