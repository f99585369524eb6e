"""`irvis_fusion COMMAND`: finds the command and runs it.

Commands are the entry points of the group `irvis_fusion.commands`. Only the named one is imported;
the help reads the first docstring line of the others.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from typing import Any

GROUP = "irvis_fusion.commands"


def main(arguments: list[str] | None = None) -> int:
    """Run `irvis_fusion COMMAND ...`; return the command's exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    commands = find_commands()
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(usage(commands))
        return 0 if arguments else 2
    if name == "--version":
        from irvis_fusion_core import __version__

        print("irvis_fusion " + __version__)
        return 0
    name = name.replace("-", "_")
    if name not in commands:
        known = ", ".join(sorted(commands)) or "none (is the package installed?)"
        text = f"expected a command out of {known}, found {arguments[0]!r}; see --help"
        print(f"irvis_fusion: {text}", file=sys.stderr)
        return 2
    try:
        command = commands[name].load()
    except ImportError as error:
        print(_cannot_start(name, commands[name], error), file=sys.stderr)
        return 1
    return command(arguments[1:]) or 0


def find_commands() -> dict[str, Any]:
    """Return name -> entry point of every installed command."""
    from importlib import metadata

    found: Any = metadata.entry_points()
    # Python 3.8 and 3.9 return a dict of groups.
    points = found.select(group=GROUP) if hasattr(found, "select") else found.get(GROUP, ())
    return {point.name: point for point in points}


def usage(commands: dict[str, Any]) -> str:
    """Return the help text: every command with the first line of its docstring."""
    lines = ["usage: irvis_fusion COMMAND [options]", "", "commands:"]
    for name in sorted(commands):
        lines.append("  {:<22}{}".format(name, summary(_module_of(commands[name]))))
    lines += [
        "",
        "`irvis_fusion COMMAND --help` tells more, with an example. To begin with:",
        "  irvis_fusion doctor",
        "  irvis_fusion fuse --ir ir.png --vis vis.png --output fused.png",
    ]
    return "\n".join(lines)


def summary(module: str) -> str:
    """Return the first line of a module's docstring without importing it."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError as error:
        return f"(not installed: {error})"
    if spec is None or spec.origin is None:
        return "(not installed)"
    with open(spec.origin, encoding="utf-8") as stream:
        text = ast.get_docstring(ast.parse(stream.read())) or ""
    return text.partition("\n")[0]


def _module_of(point: Any) -> str:
    return point.value.partition(":")[0]


def _cannot_start(name: str, point: Any, error: ImportError) -> str:
    advice = "install what is missing"
    if (error.name or "").partition(".")[0] in ("rclpy", "sensor_msgs", "rcl_interfaces"):
        advice = (
            "source a ROS 2 installation, or on x86-64 Linux install the wheels: "
            "`pip install '.[ros]'` in the source folder"
        )
    return f"irvis_fusion {name}: expected to import {_module_of(point)}, found: {error}; {advice}"


if __name__ == "__main__":
    sys.exit(main())
