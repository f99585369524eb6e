"""Which room may import which: knowledge flows inwards, and never in circles.

A room is a folder of a package; a module that lies in no folder is a room of its own.
"""

from pathlib import Path

import pytest

graphlib = pytest.importorskip("graphlib", reason="needs Python 3.9")
grimp = pytest.importorskip("grimp", reason="needs grimp: pip install '.[dev]'")

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("irvis_fusion_core", "irvis_fusion_ros", "training", "benchmarks")
LARGEST_ROOM = 15

# Package -> packages that it must not import.
FORBIDDEN_PACKAGES = {
    "irvis_fusion_core": ("irvis_fusion_ros", "training", "benchmarks"),
    "irvis_fusion_ros": ("training", "benchmarks"),
    "training": ("irvis_fusion_ros", "benchmarks"),
}

# Package -> its floors, the lowest first. A room imports rooms of its own floor and below.
FLOORS = {
    "irvis_fusion_core": (
        "errors protocols moved_modules atomic_file bounded_file image_sheet film frames "
        "optional_packages",
        "metrics thermal registration streams network detectors backends calibration "
        "flicker_limiter image_files file_formats model_zoo",
        "fusion benchmark command_line fleet",
        "demo",
        "commands",
    ),
    "irvis_fusion_ros": (
        "messages parameters",
        "pipeline",
        "node bags running_node",
        "evaluation calibration demo",
        "commands",
    ),
}


@pytest.fixture(scope="module")
def imports():
    """Every import between modules of ours, as pairs (importer, imported)."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return sorted(
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    )


def package_of(module):
    return module.partition(".")[0]


def room_of(module):
    """`package.room`, or the package alone for its `__init__`."""
    return ".".join(module.split(".")[:2])


def told(pairs):
    """One line for each import."""
    return "".join(f"\n  {importer} imports {imported}" for importer, imported in pairs)


@pytest.mark.parametrize("package", FORBIDDEN_PACKAGES)
def test_packages_know_only_what_lies_further_in(imports, package):
    wrong = [
        (importer, imported)
        for importer, imported in imports
        if package_of(importer) == package and package_of(imported) in FORBIDDEN_PACKAGES[package]
    ]
    assert not wrong, f"{package} must not know these packages:{told(wrong)}"


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_a_floor(package):
    floors = {room for floor in FLOORS[package] for room in floor.split()}
    folder = ROOT / package
    found = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert found <= floors, f"add {sorted(found - floors)} to FLOORS[{package!r}]"
    assert floors <= found, f"remove {sorted(floors - found)} from FLOORS[{package!r}]"


@pytest.mark.parametrize("package", FLOORS)
def test_no_room_imports_a_higher_one(imports, package):
    floor_of = {
        f"{package}.{room}": number
        for number, rooms in enumerate(FLOORS[package])
        for room in rooms.split()
    }
    wrong = [
        (importer, imported)
        for importer, imported in imports
        if room_of(importer) in floor_of
        and floor_of.get(room_of(imported), 0) > floor_of[room_of(importer)]
    ]
    assert not wrong, f"imports upwards (see FLOORS):{told(wrong)}"


def test_only_commands_and_benchmarks_import_commands(imports):
    wrong = [
        (importer, imported)
        for importer, imported in imports
        if room_of(imported).endswith(".commands")
        and not room_of(importer).endswith(".commands")
        and package_of(importer) != "benchmarks"
    ]
    assert not wrong, f"move what they need out of the command:{told(wrong)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_one_another_in_one_direction(imports, package):
    graph = {}
    for importer, imported in imports:
        rooms = {room_of(importer), room_of(imported)}
        # A package's __init__ gives names of its rooms to users: it lies outside.
        if len(rooms - {package}) == 2 and {package_of(room) for room in rooms} == {package}:
            graph.setdefault(room_of(importer), set()).add(room_of(imported))
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        circle = error.args[1]
        steps = set(zip(circle[1:], circle))
        guilty = [pair for pair in imports if tuple(map(room_of, pair)) in steps]
        pytest.fail(f"rooms import one another in a circle:{told(guilty)}")


def test_no_folder_holds_too_many_modules():
    full = {}
    for package in PACKAGES:
        for folder in [ROOT / package, *(ROOT / package).rglob("*/")]:
            modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
            if len(modules) > LARGEST_ROOM:
                full[str(folder.relative_to(ROOT))] = len(modules)
    assert not full, f"more than {LARGEST_ROOM} modules: divide these folders: {full}"
