"""The table of all faults."""

from faults import control_faults, message_faults, process_faults, stream_faults

MODULES = (message_faults, stream_faults, control_faults, process_faults)
GROUPS = tuple(group for module in MODULES for group in module.GROUPS)
ROWS = [(group, fault) for group in GROUPS for fault in group.faults]
