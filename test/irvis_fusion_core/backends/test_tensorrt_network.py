"""What each TensorRT is asked for, on stand-ins for the versions that are not installed here.

TensorRT for RTX is real, see test_engine_builder.py.
"""

import enum
import types

import pytest

from irvis_fusion_core.backends.cuda_device import Gpu
from irvis_fusion_core.backends.engine_cache import EngineKey
from irvis_fusion_core.backends.model_file import read_model_file
from irvis_fusion_core.backends.tensorrt_network import (
    is_strongly_typed,
    require_support,
    serialize_network,
)
from irvis_fusion_core.errors import EngineError


class Tensor:
    def __init__(self, name, dtype):
        self.name, self.dtype = name, dtype


class Layer:
    precision = None

    def __init__(self, kind, inputs, output):
        self.type, self.inputs, self.output = kind, inputs, output
        self.num_inputs, self.num_outputs = len(inputs), 1
        self.output_types = {}

    def get_input(self, index):
        return self.inputs[index]

    def get_output(self, index):
        return self.output

    def set_output_type(self, index, dtype):
        self.output_types[index] = dtype


class Library(types.ModuleType):
    """The builder's side of `tensorrt`, with a network that the parser has "read"."""

    float32, float16, uint8 = "float32", "float16", "uint8"

    def __init__(self, version, network_flags, builder_flags, parses=True, builds=True):
        super().__init__("tensorrt")
        self.__version__ = version
        self.NetworkDefinitionCreationFlag = enum.IntEnum("Network", network_flags)
        self.BuilderFlag = enum.Enum("Builder", builder_flags)
        self.LayerType = kinds = enum.Enum(
            "LayerType", "ELEMENTWISE UNARY ACTIVATION CONVOLUTION SHUFFLE CAST"
        )
        vis = Tensor("vis_float", "float32")
        half = Tensor("half", "float16")
        names = ["head", "mixed", "shuffled", "sum", "rounded"]
        head, mixed, shuffled, total, rounded = (Tensor(name, "float32") for name in names)
        self.layers = {
            "before": Layer(kinds.ELEMENTWISE, [vis, None], half),
            "convolution": Layer(kinds.CONVOLUTION, [half], head),
            "gate": Layer(kinds.ACTIVATION, [head], mixed),
            "shuffle": Layer(kinds.SHUFFLE, [mixed], shuffled),
            "add": Layer(kinds.ELEMENTWISE, [vis, shuffled], total),
            "round": Layer(kinds.UNARY, [total], rounded),
            "to_uint8": Layer(kinds.CAST, [rounded], Tensor("fused", "uint8")),
        }
        self.set_flags, self.shapes, self.timings = [], {}, []
        self.created_with = None
        layers, trt = list(self.layers.values()), self

        class ILogger:
            Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO")

            def __init__(self):
                pass

        class Network:
            num_layers, num_outputs = len(layers), 1

            def get_layer(self, index):
                return layers[index]

            def get_output(self, index):
                return layers[-1].output

        class OnnxParser:
            num_errors = 0 if parses else 1

            def __init__(self, network, logger):
                pass

            def parse(self, content):
                return parses

            def get_error(self, index):
                return "In node 5: UNSUPPORTED_NODE"

        class Timing:
            def __init__(self, blob):
                self.blob = blob

            def serialize(self):
                return b"timings after " + self.blob

        class Config:
            def add_optimization_profile(self, profile):
                return 0

            def set_flag(self, flag):
                trt.set_flags.append(flag.name)

            def create_timing_cache(self, blob):
                return Timing(blob)

            def set_timing_cache(self, timing, ignore_mismatch):
                assert ignore_mismatch is False
                trt.timings.append(timing.blob)
                return timing.blob != b"of another GPU"

        class Profile:
            def set_shape(self, name, *shapes):
                trt.shapes[name] = shapes

        class Builder:
            def __init__(self, logger):
                self.logger = logger

            def create_network(self, flags):
                trt.created_with = flags
                return Network()

            def create_builder_config(self):
                return Config()

            def create_optimization_profile(self):
                return Profile()

            def build_serialized_network(self, network, config):
                if not builds:
                    self.logger.log(ILogger.Severity.ERROR, "out of workspace")
                return b"engine" if builds else None

        self.ILogger, self.OnnxParser, self.Builder = ILogger, OnnxParser, Builder


FLAGS_8 = ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"]


def library_8_5(**changes):
    return Library("8.5.2.2", {"EXPLICIT_BATCH": 0}, FLAGS_8, **changes)


def library_10(**changes):
    return Library("10.3.0", {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, FLAGS_8, **changes)


def library_11(**changes):
    return Library("11.4.0", {"STRONGLY_TYPED": 1}, ["TF32"], **changes)


@pytest.fixture
def serialize(write_model):
    def run(trt, precision="fp16", timing=None):
        model = read_model_file(write_model(precision))
        key = EngineKey("box", model.sha256, "tensorrt", "0", "Orin", "8.7", precision, 48, 64, {})
        return serialize_network(trt, model, key, timing)

    return run


@pytest.mark.parametrize(
    "library, flags", [(library_8_5, 0b01), (library_10, 0b11), (library_11, 0b10)]
)
def test_network_flags_of_each_version(serialize, library, flags):
    trt = library()
    assert serialize(trt)[0] == b"engine"
    assert trt.created_with == flags
    assert is_strongly_typed(trt) == (flags > 1)
    require_support(trt, Gpu(0, "any", (9, 9)))  # it builds for its own GPU


@pytest.mark.parametrize("library", [library_8_5, library_10, library_11])
def test_one_static_shape(serialize, library):
    trt = library()
    serialize(trt)
    assert trt.shapes == {"ir": ((1, 48, 64, 1),) * 3, "vis": ((1, 48, 64, 3),) * 3}


@pytest.mark.parametrize(
    "precision, flags",
    [
        ("fp32", []),
        ("fp16", ["FP16", "OBEY_PRECISION_CONSTRAINTS"]),
        ("int8", ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"]),
    ],
)
def test_precision_flags_only_where_types_do_not_decide(serialize, precision, flags):
    trt = library_8_5()
    serialize(trt, precision)
    assert trt.set_flags == flags
    for library in (library_10, library_11):
        trt = library()
        serialize(trt, precision)
        assert trt.set_flags == []


def test_the_last_mix_stays_fp32_in_8_5(serialize):
    trt = library_8_5()
    serialize(trt, "fp16")
    held = {name for name, layer in trt.layers.items() if layer.precision == "float32"}
    assert held == {"gate", "add", "round"}, "arithmetic after the last convolution, no more"
    assert all(trt.layers[name].output_types == {0: "float32"} for name in held)


def test_timings_are_used_and_given_back(serialize):
    trt = library_10()
    assert serialize(trt, timing=b"known")[1] == b"timings after known"
    assert trt.timings == [b"known"]


def test_timings_of_another_gpu_are_dropped(serialize):
    trt = library_10()
    assert serialize(trt, timing=b"of another GPU")[1] == b"timings after "
    assert trt.timings == [b"of another GPU", b""]


def test_errors_carry_the_librarys_words(serialize):
    with pytest.raises(EngineError, match=r"8\.5\.2\.2 to parse .*In node 5: UNSUPPORTED_NODE"):
        serialize(library_8_5(parses=False))
    with pytest.raises(EngineError, match="build an engine of .*out of workspace"):
        serialize(library_11(builds=False))
