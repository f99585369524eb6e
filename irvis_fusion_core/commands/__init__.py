"""The commands of `irvis_fusion COMMAND`, one module each, with `main(arguments) -> exit status`.

A command's first docstring line is what `irvis_fusion --help` shows of it.
"""
