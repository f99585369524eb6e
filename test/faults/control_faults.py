"""Parameters, services and the life cycle, used wrongly or too often, while images come."""

import os
import time

from faults.campaign import Fault, Group
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from std_srvs.srv import SetBool

from irvis_fusion_ros.parameters.settings import TABLE

NODE = "/fusion_node/"
NAN, ENDLESS = float("nan"), float("inf")


def value_of(value):
    """Return the message of a parameter's value."""
    if isinstance(value, ParameterValue):
        return value
    if isinstance(value, bool):
        return ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)
    if isinstance(value, int):
        return ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)
    if isinstance(value, float):
        return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    if isinstance(value, str):
        return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    kind = ParameterType.PARAMETER_DOUBLE_ARRAY
    return ParameterValue(type=kind, double_array_value=value)


def set_all(scene, values, atomically=False):
    """Set parameters in one request; return whether each was accepted."""
    parameters = [Parameter(name=name, value=value_of(value)) for name, value in values]
    if atomically:
        request = SetParametersAtomically.Request(parameters=parameters)
        name = NODE + "set_parameters_atomically"
        return [scene.call(SetParametersAtomically, name, request).result.successful]
    request = SetParameters.Request(parameters=parameters)
    results = scene.call(SetParameters, NODE + "set_parameters", request).results
    return [result.successful for result in results]


def refused(*values, atomically=False):
    """Return an action: the node refuses to set these."""

    def act(scene):
        assert not any(set_all(scene, values, atomically)), values

    return act


def accepted(**values):
    """Return an action: the node accepts these; `__` in a name is a dot."""

    def act(scene):
        given = [(name.replace("__", "."), value) for name, value in values.items()]
        results = set_all(scene, given)
        assert all(results), list(zip(given, results))

    return act


def of_another_type(value):
    """Return a value that is not of the type of `value`."""
    return "text" if not isinstance(value, str) else 7


OTHER_TYPES = [(spec.name, of_another_type(spec.default)) for spec in TABLE]
NOT_FINITE = [
    (spec.name, value)
    for spec in TABLE
    if isinstance(spec.default, float)
    for value in (NAN, ENDLESS, -ENDLESS, 1e308)
]
LARGE = [(spec.name, 2**63 - 1) for spec in TABLE if type(spec.default) is int]
PARAMETERS = {
    "a type that does not exist": refused(("slop_s", ParameterValue(type=77))),
    "no type at all": refused(("slop_s", ParameterValue())),
    "every parameter set to another type": refused(*OTHER_TYPES),
    "every number NaN, infinite or 1e308": refused(*NOT_FINITE),
    "every integer 2^63-1": refused(*LARGE),
    "a megabyte for a text": refused(("pairing", "x" * 1_000_000)),
    "a homography of 100 000 numbers": refused(("registration.homography", [1.0] * 100_000)),
    "a homography of NaN": refused(("registration.homography", [NAN] * 9)),
    "a parameter that does not exist": refused(("no_such", 1.0)),
    "a good and a bad one atomically": refused(
        ("slop_s", 0.02), ("max_ir_age_s", -1.0), atomically=True
    ),
}


def calls(service, name, request, times):
    """Return an action: many requests at once, more than a queue holds; the next is answered."""

    def act(scene):
        client = scene.node.create_client(service, NODE + name)
        scene.wait_for(client.service_is_ready, what=name)
        for _ in range(times):
            client.call_async(request)
        scene.spin(0.5)
        scene.node.destroy_client(client)
        scene.call(service, NODE + name, request)

    return act


SLOP = SetParameters.Request(parameters=[Parameter(name="slop_s", value=value_of(0.05))])
NAMES = [spec.name for spec in TABLE]
SERVICES = {
    "200 times set_parameters at once": calls(SetParameters, "set_parameters", SLOP, 200),
    "50 times list_parameters": calls(
        ListParameters, "list_parameters", ListParameters.Request(), 50
    ),
    "50 times describe_parameters": calls(
        DescribeParameters, "describe_parameters", DescribeParameters.Request(names=NAMES), 50
    ),
    "50 times get_parameters of what does not exist": calls(
        GetParameters, "get_parameters", GetParameters.Request(names=["none"]), 50
    ),
    "200 times get_state": calls(GetState, "get_state", GetState.Request(), 200),
}


def toggled(scene, index):
    """Switch fusion off and on with every frame."""
    answer = scene.call(SetBool, NODE + "enable", SetBool.Request(data=bool(index % 2)))
    assert answer.success


def change_state(label="", number=0):
    """Return an action: a transition; returns whether it was done."""

    def act(scene):
        request = ChangeState.Request()
        request.transition.label, request.transition.id = label, number
        return scene.call(ChangeState, NODE + "change_state", request).success

    return act


def illegal(**transition):
    """Return an action: a transition is refused."""

    def act(scene):
        assert not change_state(**transition)(scene)

    return act


def through(*labels):
    """Return an action: the node goes through transitions; frames between them are not taken."""

    def act(scene):
        scene.account()
        for label in labels:
            assert change_state(label)(scene), label
            scene.play(3)
        scene.settle()

    return act


LIFE_CYCLE = {
    "a transition that does not exist": illegal(number=99),
    "a transition without a name": illegal(label="no_such"),
    "configure while active": illegal(label="configure"),
    "deactivate, activate": through("deactivate", "activate"),
    "down to cleanup, and up again": through("deactivate", "cleanup", "configure", "activate"),
}

FILES = {
    "that is missing": lambda path: None,
    "that is a folder": lambda path: path.mkdir(),
    "that is a device": lambda path: path.symlink_to("/dev/zero"),
    "that is a pipe": lambda path: os.mkfifo(path),
    "with a bomb of aliases": lambda path: path.write_text(
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    ),
    "with text for numbers": lambda path: path.write_text("camera_matrix: {data: [a, b]}\n"),
    "nested 100 000 deep": lambda path: path.write_text("[" * 100_000),
    "of 100 MB": lambda path: path.write_bytes(b"#" * 100_000_000),
    "that is no text": lambda path: path.write_bytes(bytes(range(256)) * 10),
}


def named(make):
    """Return an action: parameters name a calibration file that `make(path)` made, for a while.

    The node refuses it with a reason, or passes images while it is still being read.
    """

    def act(scene):
        path = scene.tmp_path / f"calibration_{time.monotonic_ns()}.yaml"
        make(path)
        file = "registration.ir_calibration_file"
        accepted(registration__extrinsics="parameters", **{file: str(path)})(scene)
        done, reason = scene.set_parameter("registration.mode", "calibration")
        assert done or path.name in reason, reason
        scene.play(6)
        accepted(registration__mode="resize", **{file: ""})(scene)
        if not path.is_dir():
            path.unlink(missing_ok=True)

    return act


def policies(scene, index):
    """Change what decides about frames with every fourth one."""
    values = ({"pairing": "pair"}, {"pairing": "latest_ir"}, {"on_ir_loss": "hold"})
    if index % 4 == 0:
        accepted(**values[index // 4 % 3])(scene)


BACK = accepted(pairing="latest_ir", on_ir_loss="passthrough")
CHANGES = (
    Fault(
        "pairing and policy change with every fourth frame",
        act=lambda scene, index: BACK(scene) if index == 23 else policies(scene, index),
        may_pass=("cleared", "no_partner", "waited", "queue_full", "no_ir"),
    ),
    Fault(
        "fusion switched off and on with every frame",
        act=toggled,
        passed=("disabled",),
        quick=True,
    ),
)


def once(rows, quick=(), **columns):
    """Return a fault for each action of `rows`."""
    return tuple(
        Fault(name, once=act, quick=name in quick, **columns) for name, act in rows.items()
    )


GROUPS = (
    Group("parameters", (*once(PARAMETERS, ("a type that does not exist",)), *CHANGES)),
    Group("services", once(SERVICES)),
    Group("life cycle", once(LIFE_CYCLE, ("a transition that does not exist",))),
    Group(
        "a calibration file",
        tuple(
            Fault(name, once=named(make), may_pass=("uncalibrated",))
            for name, make in FILES.items()
        ),
    ),
)
