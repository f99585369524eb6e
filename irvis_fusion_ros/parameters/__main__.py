"""Run `python -m irvis_fusion_ros.parameters`: print the parameter table."""

import sys

from irvis_fusion_ros.parameters.generated_files import main

sys.exit(main())
