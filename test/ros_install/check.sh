#!/usr/bin/env bash
# Walks through the first commands of a ROS user, in the ROS that is sourced, and stops at the first
# that fails (exit status 1). Works in a folder of its own; nothing is installed into the system.
#
#   source /opt/ros/jazzy/setup.bash
#   test/ros_install/check.sh                 all steps
#   test/ros_install/check.sh build launch    these alone ("build" comes first)
#
# Needs colcon and what `rosdep install` brings, no engine. make_demo and make_test use pip.
set -uo pipefail
set -m # so that jobs in the background take SIGINT

STEPS="build colcon_test arguments fuses launch include param lifecycle respawn launch_test
evaluation make_demo make_test"
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
WORK=$(mktemp -d)
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-42} ROS_PYTHON_CHECK_FIELDS=1
if [ "${ROS_DISTRO:-}" = humble ]; then export ROS_LOCALHOST_ONLY=1; else export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST; fi
JOB=

end_job() { # Ctrl-C for what the step has started
    [ -z "$JOB" ] || { kill -INT -- "-$JOB" && wait "$JOB"; } 2>/dev/null
    JOB=
}
trap 'end_job; ros2 daemon stop >/dev/null 2>&1; rm -rf "$WORK"' EXIT

start() { # start COMMAND ...: in the background, with its output in $WORK/output
    "$@" >"$WORK/output" 2>&1 &
    JOB=$!
}
fail() {
    echo "FAILED: $*"
    [ ! -s "$WORK/output" ] || tail -n 40 "$WORK/output"
    exit 1
}
expect() { # expect TEXT COMMAND ...: its output has to hold TEXT
    local found
    found=$("${@:2}" 2>&1)
    [[ $found == *"$1"* ]] || fail "${*:2}: expected '$1', found: $found"
}
expect_soon() { # the same, within half a minute
    local found=
    for _ in $(seq 30); do
        found=$("${@:2}" 2>&1)
        [[ $found == *"$1"* ]] && return
        sleep 1
    done
    fail "${*:2}: expected '$1', found: $found"
}
program() { # what `ros2 run irvis_fusion` runs
    if command -v ros2 >/dev/null; then
        ros2 run irvis_fusion "$@"
    else
        "$WORK/install/irvis_fusion/lib/irvis_fusion/$1" "${@:2}"
    fi
}

build() {
    mkdir -p "$WORK/src" && ln -s "$ROOT" "$WORK/src/irvis_fusion"
    if command -v colcon >/dev/null; then
        (cd "$WORK" && colcon build --packages-select irvis_fusion) || fail "colcon build"
        set +u
        # shellcheck source=/dev/null
        . "$WORK/install/local_setup.bash"
        set -u
    else # what colcon does, for wheels of ROS without colcon
        local prefix=$WORK/install/irvis_fusion
        (cd "$ROOT" && python3 setup.py -q egg_info --egg-base "$WORK" build --build-base "$WORK/build" \
            install --prefix "$prefix" --single-version-externally-managed --record "$WORK/record") ||
            fail "setup.py install"
        PYTHONPATH=$(echo "$prefix"/lib/python*/site-packages):${PYTHONPATH:-}
        export PYTHONPATH AMENT_PREFIX_PATH=$prefix:${AMENT_PREFIX_PATH:-}
    fi
    expect "$WORK/install/irvis_fusion" python3 -c \
        "from ament_index_python.packages import *; print(get_package_share_directory('irvis_fusion'))"
}

colcon_test() {
    (cd "$WORK" && colcon test --packages-select irvis_fusion && colcon test-result) ||
        fail "colcon test"
    [[ $(cd "$WORK" && colcon test-result) == *"Summary: "[1-9]*" tests, 0 errors, 0 failures"* ]] ||
        fail "colcon test ran no test"
}

arguments() {
    local name
    for name in "$WORK"/install/irvis_fusion/lib/irvis_fusion/*; do
        expect usage program "$(basename "$name")" --help
    done
    expect "did you mean \`--ros-args -p model:=VALUE\`" program node --model small
    printf '/**:\n  ros__parameters:\n    model: [nano\n' >"$WORK/broken.yaml"
    expect "expected a parameter file (YAML) at $WORK/broken.yaml" program node --ros-args --params-file "$WORK/broken.yaml"
    expect "expected a parameter file (YAML) at /none.yaml" program node --ros-args --params-file /none.yaml
}

fuses() { # two processes and no launch: also where only the wheels of ROS are installed
    start program demo_cameras --rate-hz 10 --ros-args -r __ns:=/check
    local cameras=$JOB
    start program node --ros-args -r __ns:=/check -p backend:=numpy
    python3 "$ROOT/test/ros_install/wait_for_fused.py" check || fail "no fused image"
    end_job
    JOB=$cameras
}

launch() {
    start ros2 launch irvis_fusion demo.launch.py namespace:=check autostart:=True log_level:=WARN
    python3 "$ROOT/test/ros_install/wait_for_fused.py" check || fail "no fused image"
    end_job
    expect "exit code 1" ros2 launch irvis_fusion fusion.launch.py params_file:=no_such_file
}

include() {
    cat >"$WORK/robot.launch.py" <<'PYTHON'
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetParameter

def generate_launch_description():
    path = get_package_share_directory("irvis_fusion") + "/launch/fusion.launch.py"
    return LaunchDescription([
        PushRosNamespace("robot"),
        SetParameter("use_sim_time", True),
        SetParameter("slop_s", 0.02),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(path),
            launch_arguments={"params_file": "boson.yaml", "ir": "/boson/image_raw"}.items(),
        ),
    ])
PYTHON
    start ros2 launch "$WORK/robot.launch.py"
    expect_soon "is: True" ros2 param get /robot/fusion_node use_sim_time
    expect_soon "is: 0.02" ros2 param get /robot/fusion_node slop_s
    expect_soon "is: 640" ros2 param get /robot/fusion_node ir_width
}

param() {
    start ros2 launch irvis_fusion fusion.launch.py
    expect_soon "thermal.method" ros2 param list /fusion_node
    expect successful ros2 param set /fusion_node slop_s 0.03
    expect "Setting parameter failed" ros2 param set /fusion_node slop_s 0.0
    expect "cannot change while the node is configured" ros2 param set /fusion_node model small
    ros2 param dump /fusion_node >"$WORK/dump.yaml" || fail "ros2 param dump"
    expect successful ros2 param load /fusion_node "$WORK/dump.yaml"
}

lifecycle() {
    start ros2 launch irvis_fusion fusion.launch.py autostart:=0
    expect_soon unconfigured ros2 lifecycle get /fusion_node
    local step
    for step in configure activate deactivate cleanup configure activate; do
        expect successful ros2 lifecycle set /fusion_node $step
    done
    expect "active [3]" ros2 lifecycle get /fusion_node
}

respawn() {
    start ros2 launch irvis_fusion demo.launch.py namespace:=check respawn:=true
    python3 "$ROOT/test/ros_install/wait_for_fused.py" check || fail "no fused image"
    kill -9 "$(sed -n 's/.*fusion_node-1\]: process started with pid \[\([0-9]*\)\].*/\1/p' "$WORK/output")" ||
        fail "no node to kill"
    expect_soon "process has died" cat "$WORK/output"
    expect_soon "active [3]" ros2 lifecycle get /check/fusion_node
    python3 "$ROOT/test/ros_install/wait_for_fused.py" check || fail "no fused image after its death"
}

launch_test() {
    command launch_test "$ROOT/test/ros_install/example_launch_testing.py" || fail launch_test
}

evaluation() {
    ros2 launch irvis_fusion evaluate_bag.launch.py bag:="$WORK/none" output:="$WORK/report" \
        >"$WORK/output" 2>&1 && fail "a failed evaluation did not fail the launch"
    grep -q "the evaluation failed with exit status 1" "$WORK/output" || fail "another reason"
}

make_demo() {
    make -C "$ROOT" demo DEMO_ARGUMENTS="--seconds 3 --output $WORK/demo" || fail "make demo"
    [ -s "$WORK/demo/demo.gif" ] || fail "no $WORK/demo/demo.gif"
}

make_test() {
    make -C "$ROOT" test || fail "make test"
}

# shellcheck disable=SC2048 # STEPS holds several words
for step in ${*:-$STEPS}; do
    echo "=== $step"
    : >"$WORK/output"
    $step
    end_job
done
echo "all passed: ${*:-$STEPS}"
