"""Wait until the node in a namespace has fused images: `wait_for_fused.py NAMESPACE [SECONDS]`."""

import sys

from sensor_msgs.msg import Image

from irvis_fusion_core.errors import EngineError
from irvis_fusion_ros.running_node.node_watch import NodeWatch

namespace, seconds = (*sys.argv[1:], "60")[:2]
with NodeWatch(namespace, "wait_for_fused") as watch:
    seen = []
    watch.node.create_subscription(Image, "fused/image_raw", seen.append, 5)
    try:
        watch.wait_until_fusing(float(seconds), frames=3)
    except EngineError as error:
        sys.exit(str(error))
    print(f"{len(seen)} images on /{namespace}/fused/image_raw; {watch.engine_line()}")
