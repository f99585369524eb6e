"""The SROS 2 policy names exactly what the running node has."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.node.topics import policy

POLICY = Path(__file__).resolve().parents[4] / "config" / "sros2_policy.xml"
EVERYTHING = {
    "publish_compressed": True,
    "lazy": False,
    "use_sim_time": True,
    "registration.mode": "calibration",
    "registration.extrinsics": "tf",
    "vis_transport": "compressed",
}
NOT_HERE = {
    "/vis/image_raw": "with vis_transport: raw",
    "/ir/image_raw/compressed": "with ir_transport: compressed",
}
NOT_EVERYWHERE = {
    "/fusion_node/get_type_description": "from Jazzy on",
    "/tf_static": "with the message package tf2_msgs",
}


def granted(text, kind, right):
    """The absolute names that a policy grants, as sros2 reads them."""
    (profile,) = ElementTree.fromstring(text).iter("profile")
    start = profile.get("ns").rstrip("/") + "/"
    found = []
    for rules in profile.iter(kind + "s"):
        if rules.get(right) == "ALLOW":
            found += [element.text for element in rules.iter(kind)]
    names = [
        start + profile.get("node") + name[1:]
        if name.startswith("~")
        else name
        if name.startswith("/")
        else start + name
        for name in found
    ]
    assert len(names) == len(set(names))
    return set(names)


def test_the_shipped_policy_is_the_one_that_is_made(capsys):
    assert policy.main([]) == 0
    assert capsys.readouterr().out == POLICY.read_text(encoding="utf-8")


def test_the_policy_has_the_form_that_sros2_reads():
    root = ElementTree.parse(POLICY).getroot()
    assert root.tag == "policy" and root.get("version") == "0.2.0"
    assert [child.tag for child in root] == ["enclaves"]
    (enclave,) = root.findall("enclaves/enclave")
    assert enclave.get("path") == "/irvis_fusion"
    (profile,) = enclave.findall("profiles/profile")
    assert profile.attrib == {"ns": "/", "node": "fusion_node"}
    for rules in profile:
        assert rules.tag in ("topics", "services") and len(rules)
        assert set(rules.attrib) <= {"publish", "subscribe", "reply"}
        assert {element.tag for element in rules} == {rules.tag[:-1]}


def test_names_of_the_running_node_are_granted_and_no_others(graph):
    node = graph.node
    text = POLICY.read_text(encoding="utf-8")
    allowed = {
        "publish": granted(text, "topic", "publish"),
        "subscribe": granted(text, "topic", "subscribe"),
        "reply": granted(text, "service", "reply"),
    }
    asked = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
    }
    graph.start_node(EVERYTHING)
    graph.wait_for_report()
    for right, ask in asked.items():
        needed = allowed[right] - set(NOT_EVERYWHERE) - set(NOT_HERE)

        def names(ask=ask):
            return {name for name, _ in ask("fusion_node", "/")}

        # Discovery tells of one endpoint after the other.
        graph.wait_for(lambda needed=needed, names=names: needed <= names(), what=right)
        assert names() <= allowed[right] - set(NOT_HERE), (right, names() - allowed[right])
    assert graph.fusion.stop() == 0


def test_namespace_name_and_remaps(capsys):
    arguments = ["--namespace", "/robot", "--name", "fuser", "--enclave", "/robot/<eyes>"]
    assert policy.main([*arguments, "--remap", "ir/image_raw:=/boson/image"]) == 0
    text = capsys.readouterr().out
    subscribed = granted(text, "topic", "subscribe")
    assert {"/boson/image", "/robot/vis/image_raw", "/clock"} <= subscribed
    assert {"/boson/image/compressed", "/robot/vis/image_raw/compressed"} <= subscribed
    assert not any(name.startswith("/robot/ir/image_raw") for name in subscribed)
    assert "/robot/fuser/enable" in granted(text, "service", "reply")
    (enclave,) = ElementTree.fromstring(text).iter("enclave")
    assert enclave.get("path") == "/robot/<eyes>"


@pytest.mark.parametrize("remap", ["ir/image_raw", "ir/imag:=/x", ":=/x", "ir/image_raw:="])
def test_a_wrong_remap_is_named(capsys, remap):
    with pytest.raises(SystemExit):
        policy.main(["--remap", remap])
    assert repr(remap.partition(":=")[0] if "/x" in remap and remap[0] != ":" else remap) in (
        capsys.readouterr().err
    )
