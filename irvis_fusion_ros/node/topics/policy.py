"""The SROS 2 policy of the node: what it may publish, subscribe to and answer, and nothing else.

::

    python -m irvis_fusion_ros.node.topics.policy > config/sros2_policy.xml
    python -m irvis_fusion_ros.node.topics.policy --namespace /robot --remap ir/image_raw:=/boson
"""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Iterable, Mapping, Sequence

from irvis_fusion_ros.node.reports.latency_topics import LATENCY_TOPICS
from irvis_fusion_ros.node.topics.calibration_topics import IR_INFO, TF_STATIC
from irvis_fusion_ros.node.topics.image_topics import COMPRESSED, FUSED, FUSED_INFO, VIS_INFO
from irvis_fusion_ros.parameters.declaration import NODE_NAME

PUBLISHED = (
    FUSED,
    FUSED_INFO,
    COMPRESSED,
    "/diagnostics",
    "/parameter_events",
    "/rosout",
    "~/transition_event",
    *("~/debug/" + name for name in LATENCY_TOPICS),
)
CAMERAS = ("ir/image_raw", "vis/image_raw")
SUBSCRIBED = (
    *CAMERAS,
    *(camera + "/compressed" for camera in CAMERAS),
    VIS_INFO,
    IR_INFO,
    TF_STATIC,
    "/clock",
)
PARAMETER_SERVICES = (
    "describe_parameters get_parameter_types get_parameters list_parameters set_parameters"
    " set_parameters_atomically get_type_description"
)
LIFECYCLE_SERVICES = (
    "change_state get_available_states get_available_transitions get_state get_transition_graph"
)
SERVICES = tuple(
    "~/" + name for name in ["enable", *LIFECYCLE_SERVICES.split(), *PARAMETER_SERVICES.split()]
)


def policy_text(
    enclave: str, namespace: str, name: str, remaps: Mapping[str, str] | None = None
) -> str:
    """Return a policy for `ros2 security create_permission`; names as the node has them."""

    def rules(kind: str, right: str, names: Iterable[str]) -> str:
        lines = (f"<{kind}>{html.escape((remaps or {}).get(n, n))}</{kind}>" for n in names)
        inside = "".join(f"            {line}\n" for line in lines)
        return f'          <{kind}s {right}="ALLOW">\n{inside}          </{kind}s>\n'

    body = (
        rules("topic", "publish", PUBLISHED)
        + rules("topic", "subscribe", SUBSCRIBED)
        + rules("service", "reply", SERVICES)
    )
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!-- Made by `python -m irvis_fusion_ros.node.topics.policy`; docs/security.md shows its use. -->
<policy version="0.2.0">
  <enclaves>
    <enclave path="{html.escape(enclave)}">
      <profiles>
        <profile ns="{html.escape(namespace)}" node="{html.escape(name)}">
{body}        </profile>
      </profiles>
    </enclave>
  </enclaves>
</policy>
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the policy."""
    parser = argparse.ArgumentParser(
        prog="python -m irvis_fusion_ros.node.topics.policy",
        description="Print the SROS 2 policy of the fusion node.",
    )
    parser.add_argument("--enclave", default="/irvis_fusion", help="default: %(default)s")
    parser.add_argument("--namespace", default="/", help="of the node; default: %(default)s")
    parser.add_argument("--name", default=NODE_NAME, help="of the node; default: %(default)s")
    parser.add_argument("--remap", action="append", default=[], metavar="FROM:=TO")
    options = parser.parse_args(arguments)
    remaps = {}
    for remap in options.remap:
        source, separator, target = remap.partition(":=")
        if not (source and separator and target):
            parser.error(f"expected --remap FROM:=TO, found {remap!r}")
        if source not in (*PUBLISHED, *SUBSCRIBED, *SERVICES):
            parser.error(f"expected a topic or service of the node, found {source!r}")
        remaps[source] = target
    for source, target in list(remaps.items()):  # as the node's compressed topics follow
        remaps.setdefault(source + "/compressed", target + "/compressed")
    sys.stdout.write(policy_text(options.enclave, options.namespace, options.name, remaps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
