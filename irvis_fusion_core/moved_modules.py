"""Old module names lead to the new modules, with a DeprecationWarning, for one release."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType

OLD_NAMES: dict[str, str] = {}
"""Old module name -> new one, of all packages."""


def keep_old_names(package: str, rooms: Mapping[str, str], renamed: Mapping[str, str]) -> None:
    """Let modules of a package be imported under the names that they had.

    Args:
        package: name of the package.
        rooms: subpackage -> names of modules that moved into it from the top, space-separated.
        renamed: old name -> new name, both below the package.
    """
    moves = {name: f"{room}.{name}" for room, names in rooms.items() for name in names.split()}
    moves.update(renamed)
    OLD_NAMES.update((f"{package}.{old}", f"{package}.{new}") for old, new in moves.items())


class _MovedModules(MetaPathFinder, InspectLoader):
    """Finds a module under its old name and gives the module of the new name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in OLD_NAMES:
            return None
        new = find_spec(OLD_NAMES[fullname])
        # With an origin, `python -m old.name` knows what to put into sys.argv[0].
        return ModuleSpec(fullname, self, origin=None if new is None else new.origin)

    def exec_module(self, module: ModuleType) -> None:
        # The import statement takes what stands in sys.modules afterwards.
        sys.modules[module.__name__] = importlib.import_module(_new_name(module.__name__))

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the new module's code, for `python -m old.name`."""
        new = _new_name(fullname)
        spec = find_spec(new)
        loader = None if spec is None else spec.loader
        return loader.get_code(new) if isinstance(loader, InspectLoader) else None

    def get_source(self, fullname: str) -> None:
        return None


def _new_name(old: str) -> str:
    new = OLD_NAMES[old]
    warnings.warn(
        f"the module {old} is now {new}; the old name goes with the next release",
        DeprecationWarning,
        stacklevel=3,
    )
    return new


# Last of all finders: modules that exist are found before.
sys.meta_path.append(_MovedModules())
