"""Built engines on disk, and the reasons for building others.

An engine is native code for one TensorRT version and one GPU, and takes minutes to build. Each is
kept as NAME.engine with NAME.engine.json, which holds the key and the engine's sha256. An engine
is run only if its bytes have the recorded hash, its key is equal, and nobody else owns it or may
write to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from typing import Any, NamedTuple

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.bounded_file import open_regular, parse_json_object
from irvis_fusion_core.errors import ConfigurationError, FileContentError

_PRIVATE = 0o700
_PRIVATE_FILE = 0o600
_WRITABLE_BY_OTHERS = 0o022


class EngineKey(NamedTuple):
    """Everything that an engine depends on."""

    model: str  # file name without extension: for people; the hash decides
    onnx_sha256: str
    engine_module: str  # tensorrt or tensorrt_rtx
    engine_version: str
    gpu: str  # its name; "any" where the engine fits all of the compute capability
    compute_capability: str  # "8.6"
    precision: str
    height: int
    width: int
    options: dict[str, Any]

    def file_name(self) -> str:
        """Return a readable name that differs when any part of the key does."""
        canonical = json.dumps(self._asdict(), sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:16]
        return f"{self.model}_{self.width}x{self.height}_{self.engine_module}_{digest}.engine"


def default_cache_dir() -> str:
    """Return `irvis_fusion/engines` in the user's cache folder (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the standard says to ignore a relative one
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "irvis_fusion", "engines")


class EngineCache:
    """A folder of engines that belongs to this user alone.

    Args:
        directory: the folder; None is `default_cache_dir()`. Made with mode 0700 when missing.

    Raises:
        ConfigurationError: it is not a folder, cannot be made, belongs to somebody else, or
            others may write into it.
    """

    def __init__(self, directory: str | None = None) -> None:
        self.directory = os.path.abspath(os.path.expanduser(directory or default_cache_dir()))
        try:
            _make_private(self.directory)
            status = os.stat(self.directory)
        except OSError as error:
            raise ConfigurationError(
                f"expected to make the engine cache {self.directory}, found: {error}; "
                "give another cache_dir"
            ) from error
        problem = _not_private(status)
        if not stat.S_ISDIR(status.st_mode):
            problem = "it is not a folder"
        if problem:
            raise ConfigurationError(
                f"expected the engine cache {self.directory} to be this user's own folder, as "
                f"engines are native code, but {problem}; `chmod 700` it or give another cache_dir"
            )

    def path(self, key: EngineKey) -> str:
        """Return the path for the engine of this key."""
        return os.path.join(self.directory, key.file_name())

    def load(self, key: EngineKey) -> tuple[bytes | None, str]:
        """Return the engine of this key, or None, and the reason why it has to be built."""
        if not os.path.lexists(self.path(key)):
            return None, self._why_missing(key)
        engine, facts, problem = self._read_verified(key.file_name())
        if engine is None:
            return None, f"the cached engine is not used, because {problem}"
        if facts.get("key") != _plain(key):
            return None, "the cached engine is not used, because its key in the JSON is another"
        return engine, "found in the cache"

    def store(self, key: EngineKey, engine: bytes, build_seconds: float, reason: str) -> str:
        """Keep an engine and return its path. A crash leaves no half-written engine in use."""
        seconds = round(build_seconds, 1)
        facts = {"key": _plain(key), "built_because": reason, "build_seconds": seconds}
        return self.store_blob(key.file_name(), engine, facts)

    def store_blob(self, name: str, blob: bytes, facts: dict[str, Any] | None = None) -> str:
        """Keep bytes by name: engines, and timing and runtime caches of TensorRT."""
        record = dict(facts or {})
        record["sha256"] = hashlib.sha256(blob).hexdigest()
        record["bytes"] = len(blob)
        record["written_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        path = os.path.join(self.directory, name)
        # Between the two replacements the hashes differ, and the pair counts as corrupt.
        write_file(path, blob, _PRIVATE_FILE)
        write_file(path + ".json", json.dumps(record, indent=2, sort_keys=True), _PRIVATE_FILE)
        return path

    def load_blob(self, name: str) -> bytes | None:
        """Return the bytes kept by `store_blob`; None if missing, changed or not trusted."""
        return self._read_verified(name)[0]

    def _read_verified(self, name: str) -> tuple[bytes | None, dict[str, Any], str]:
        path = os.path.join(self.directory, name)
        try:
            record, blob = _read_own(path + ".json"), _read_own(path)
            facts = parse_json_object(record)
        except OSError as error:
            return None, {}, str(error)
        except FileContentError as error:
            return None, {}, f"{name}.json is not valid JSON: {error}"
        if facts.get("sha256") != hashlib.sha256(blob).hexdigest():
            return None, facts, "its bytes are not those that were written (sha256 differs)"
        return blob, facts, ""

    def _why_missing(self, key: EngineKey) -> str:
        """Return the differences from the most similar engine in the cache."""
        wanted = _plain(key)
        nearest: list[str] | None = None
        for name in sorted(os.listdir(self.directory)):
            if not name.endswith(".engine.json"):
                continue
            facts = self._read_verified(name[: -len(".json")])[1]
            found = facts.get("key")
            if not isinstance(found, dict) or found.get("model") != key.model:
                continue
            changes = [
                f"{field} was {found.get(field)}, is now {value}"
                for field, value in wanted.items()
                if found.get(field) != value
            ]
            if nearest is None or len(changes) < len(nearest):
                nearest = changes
        if nearest is None:
            return f"there is no engine of {key.model} in {self.directory} yet"
        return "the engines in the cache do not fit: " + "; ".join(nearest)


def _plain(key: EngineKey) -> dict[str, Any]:
    """Return the key as it comes back from JSON."""
    return json.loads(json.dumps(key._asdict()))


def _make_private(directory: str) -> None:
    """As `os.makedirs`, with mode 0700 for every new folder, whatever the umask."""
    if os.path.isdir(directory):
        return
    parent = os.path.dirname(directory)
    if parent != directory:
        _make_private(parent)
    try:
        os.mkdir(directory, _PRIVATE)
    except FileExistsError:
        return  # another process was faster; who owns it is checked next
    os.chmod(directory, _PRIVATE)


def _not_private(status: os.stat_result) -> str:
    """Return why somebody else could have written this; empty if nobody could."""
    if not hasattr(os, "getuid"):  # Windows: the profile folder is the user's own
        return ""
    if status.st_uid != os.getuid():
        return f"user {status.st_uid} owns it and this process runs as {os.getuid()}"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return f"others may write to it (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def _read_own(path: str) -> bytes:
    """Read a regular file that this user owns, following no link."""
    with open_regular(path, getattr(os, "O_NOFOLLOW", 0)) as stream:
        problem = _not_private(os.fstat(stream.fileno()))
        if problem:
            raise OSError(f"{os.path.basename(path)} is not trusted: {problem}")
        return stream.read()
