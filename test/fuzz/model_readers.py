"""Models and checkpoints."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fuzz.reader import Reader, by_first_byte, file_of, folder, numbered

from irvis_fusion_core.backends.model_file import (
    FORMAT_VERSION,
    ModelFile,
    external_files,
    read_model_file,
)
from irvis_fusion_core.backends.numpy import NumpyBackend
from irvis_fusion_core.detectors.network_file import class_names, refuse_other_folders
from irvis_fusion_core.errors import CheckpointError, EngineError, FusionError, ModelError

if TYPE_CHECKING:
    from irvis_fusion_core.network.student import Student


def open_model(data: bytes) -> None:
    """Open a model on the engine that reads the file itself; it is not run."""
    path = file_of(data, "model.onnx")
    assert isinstance(read_model_file(path), ModelFile)
    NumpyBackend.open(path).close()


def find_external_files(data: bytes) -> None:
    """Find the other files that a detector names."""
    path = file_of(data, "detector.onnx")
    refuse_other_folders(path)
    assert all(os.path.dirname(name) == "" for name in external_files(data))


def read_names(data: bytes) -> None:
    """Read the class names in the metadata of a detector."""
    found = class_names({"names": data.decode("utf-8", "replace")})
    assert all(isinstance(name, str) for name in found)


def models() -> list[bytes]:
    """Return small ONNX models with our metadata: of any size and of one, with constants."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from irvis_fusion_core.network.export import describe_graph, write_checked

    found = []
    for height, width in (("height", "width"), (4, 6)):
        tensors = [
            helper.make_tensor_value_info(name, TensorProto.UINT8, [1, height, width, channels])
            for name, channels in (("ir", 1), ("vis", 3), ("fused", 3))
        ]
        half = numpy_helper.from_array(np.full(2, 0.5, np.float16), "half")
        nodes = [
            helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.arange(3))),
            helper.make_node("Transpose", ["vis"], ["t"], perm=[0, 3, 1, 2]),
            helper.make_node("Transpose", ["t"], ["fused"], perm=[0, 2, 3, 1]),
        ]
        graph = helper.make_graph(nodes, "g", tensors[:2], tensors[2:], [half])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        facts = {"format": FORMAT_VERSION, "variant": "nano", "precision": "fp32"}
        describe_graph(model, {**facts, "vis_order": "rgb"})
        path = folder("files") / "seed.onnx"
        write_checked(onnx, model, path)
        found.append(path.read_bytes())
    return found


def models_in_several_files() -> list[bytes]:
    """Return a model that names another file."""
    import onnx

    model = onnx.load_from_string(models()[0])
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    return [model.SerializeToString()]


def load_student(data: bytes) -> None:
    """Load the weights of a student."""
    from irvis_fusion_core.network.checkpoint import load_checkpoint

    load_checkpoint(file_of(data, "student.safetensors"))


def load_registration(data: bytes) -> None:
    """Load the weights of the learned registration."""
    from irvis_fusion_core.network.displacement_files import load_network

    load_network(file_of(data, "registration.safetensors"))


def load_teacher(data: bytes) -> None:
    """Load the weights of a teacher."""
    from training.teachers.prior_files import load_network

    load_network("ddfm", file_of(data, "teacher.safetensors"))


def load_pth(data: bytes) -> None:
    """Load the weights of a student from a .pth."""
    from irvis_fusion_core.network.checkpoint import load_checkpoint

    load_checkpoint(file_of(data, "student.pth"), _stand_in())


@functools.lru_cache(1)
def _stand_in() -> Student:
    """Return a small network: to build a student of each size takes longer than to read a file."""
    import torch

    network: Any = torch.nn.Linear(2, 1)
    network.variant = "stand-in"
    return network


def resume_training(data: bytes) -> None:
    """Read the checkpoint of a training."""
    from training.loop.run_files import check_losses, differences, read_run

    checkpoint = read_run(file_of(data, "last.pth"), "nano")
    differences(checkpoint, {"lr": 0.1})
    check_losses(checkpoint, {"lr": 0.1}, {"a": 1.0})


def safetensors_files() -> list[bytes]:
    """Return headers as our writers write them before one small tensor, and a whole network."""
    import torch
    from safetensors.torch import save

    from irvis_fusion_core.network.displacement import DisplacementNetwork
    from irvis_fusion_core.network.displacement_files import save_network
    from training.teachers.unet import UNetConfig

    path = folder("files") / "seed.safetensors"
    small = {"x": torch.ones(2, 1)}
    student = {"format": "2", "variant": "nano", "in_channels": "3", "out_channels": "3"}
    network = {"variant": "displacement", "width": "6", "match": "4", "steps": "1"}
    config = json.dumps(dataclasses.asdict(UNetConfig(channel_mult=(1,))))
    teacher = {"teacher.name": "ddfm", "teacher.config": config}
    headers = [{f"irvis_fusion.{k}": v for k, v in h.items()} for h in (student, network, teacher)]
    save_network(DisplacementNetwork(width=6, match=4, steps=1), path)
    return numbered(
        [save(small, headers[0])],
        [save(small, headers[1]), path.read_bytes()],
        [save(small, headers[2])],
    )


def pth_files() -> list[bytes]:
    """Return state dicts, bare and of a training."""
    import torch

    path: Path = folder("files") / "seed.pth"
    state = dict(_stand_in().state_dict())
    facts = {"variant": "nano", "config": {"lr": 0.1, "losses": ["a"]}}
    found = []
    for content in (state, {"model": state}, {"average": state, "irvis_fusion.training": facts}):
        torch.save(content, path)
        found.append(path.read_bytes())
    return numbered(found, found[2:])


READERS = (
    Reader(
        "models",
        by_first_byte(open_model, find_external_files, read_names),
        lambda: numbered(models(), models_in_several_files(), [b"{0: 'person', 1: 'car'}"]),
        (ModelError, EngineError),
        longest=2048,
    ),
    Reader(
        "checkpoints (.safetensors)",
        by_first_byte(load_student, load_registration, load_teacher),
        safetensors_files,
        (FusionError,),
        ("json",),
        megabytes=2048,
        longest=65536,
    ),
    Reader(
        "checkpoints (.pth)",
        by_first_byte(load_pth, resume_training),
        pth_files,
        (CheckpointError,),
        ("torch._weights_only_unpickler",),
        megabytes=2048,
        longest=4096,
    ),
)
