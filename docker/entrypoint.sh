#!/usr/bin/env bash
# Source ROS and the workspace, then become the command.
set -e
# shellcheck disable=SC1091
source /ros2_ws/install/setup.bash
exec "$@"
