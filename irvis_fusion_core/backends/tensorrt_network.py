"""ONNX to a serialized engine, one code path for TensorRT 8.5 to 11 and TensorRT for RTX.

The needs of a version are asked of the module, never guessed from its number:

* 8.x needs EXPLICIT_BATCH; 10 ignores it, 11 does not have it.
* Where STRONGLY_TYPED exists, the engine has the types of the ONNX file. Older versions permit
  FP16 and INT8 by builder flags, and the last mix is set to fp32 explicitly.
* TensorRT for RTX builds for a compute capability, and needs no GPU for it.

https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/python-api-docs.html
"""

from __future__ import annotations

import logging
from typing import Any

from irvis_fusion_core.backends.cuda_device import Gpu, version_text
from irvis_fusion_core.backends.engine_cache import EngineKey
from irvis_fusion_core.backends.model_file import ModelFile
from irvis_fusion_core.errors import EngineError, EngineUnavailableError

_logger = logging.getLogger(__name__)


def make_logger(trt: Any) -> Any:
    """Return a TensorRT logger that keeps errors for our messages."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                _logger.debug("%s: %s", trt.__name__, message)

    return Logger()


def is_strongly_typed(trt: Any) -> bool:
    """Return whether the types in the ONNX file decide the engine's precision."""
    return "STRONGLY_TYPED" in trt.NetworkDefinitionCreationFlag.__members__


def builds_without_gpu(trt: Any) -> bool:
    """Return whether this TensorRT compiles for a named compute capability."""
    return trt.__name__ == "tensorrt_rtx"


def require_support(trt: Any, gpu: Gpu) -> None:
    """Raise EngineUnavailableError where TensorRT for RTX does not know a GPU's architecture."""
    if not builds_without_gpu(trt):
        return  # TensorRT builds for its own GPU
    digits = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    supported = sorted((int(each[:-1]), int(each[-1])) for each in digits)
    if gpu.compute_capability not in supported:
        raise EngineUnavailableError(
            f"{trt.__name__} {trt.__version__} builds for compute capability "
            f"{', '.join(map(version_text, supported))}, and {gpu.capability} was asked for"
        )


def serialize_network(
    trt: Any, model: ModelFile, key: EngineKey, timing_blob: bytes | None
) -> tuple[bytes, bytes | None]:
    """Build the engine of `key`.

    Args:
        timing_blob: kernel timings of earlier builds with the same TensorRT and GPU, or None.

    Returns:
        The serialized engine, and the timing cache after the build, or None.

    Raises:
        EngineError: TensorRT cannot parse the model or build it; gives TensorRT's reason.
    """
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    if builder is None:
        raise EngineError(_failure(trt, "start its builder", model, logger.errors))
    known = trt.NetworkDefinitionCreationFlag.__members__
    flags = [1 << int(known[n]) for n in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if n in known]
    network = builder.create_network(sum(flags))
    parser = trt.OnnxParser(network, logger)
    with open(model.path, "rb") as stream:
        parsed = parser.parse(stream.read())
    if not parsed:
        errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise EngineError(_failure(trt, "parse", model, errors or logger.errors))
    config = builder.create_builder_config()
    # One size only: TensorRT then chooses kernels and plans memory for it.
    profile = builder.create_optimization_profile()
    for name, channels in (("ir", 1), ("vis", 3)):
        shape = (1, key.height, key.width, channels)
        profile.set_shape(name, shape, shape, shape)
    config.add_optimization_profile(profile)
    if not is_strongly_typed(trt):
        _permit_precision(trt, config, network, model.precision)
    if builds_without_gpu(trt):
        config.num_compute_capabilities = 1
        capability = "SM" + key.compute_capability.replace(".", "")
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    timing = None
    # TensorRT for RTX does not measure when it builds.
    if not builds_without_gpu(trt):
        timing = config.create_timing_cache(timing_blob or b"")
        if timing is None or not config.set_timing_cache(timing, False):
            # Made by another TensorRT or GPU: start with an empty one.
            timing = config.create_timing_cache(b"")
            config.set_timing_cache(timing, False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineError(_failure(trt, "build an engine of", model, logger.errors))
    return bytes(engine), None if timing is None else bytes(timing.serialize())


def _permit_precision(trt: Any, config: Any, network: Any, precision: str) -> None:
    """Permit the precision of the ONNX file, for TensorRT 8 and 9.

    The flags permit half precision anywhere. The arithmetic after the last convolution, the mix
    of the frames, is set to fp32: half precision would add grey-level steps.
    """
    if precision == "fp32":
        return
    config.set_flag(trt.BuilderFlag.FP16)
    if precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    producers = {each.get_output(j).name: each for each in layers for j in range(each.num_outputs)}
    waiting = [network.get_output(i).name for i in range(network.num_outputs)]
    seen = set()
    arithmetic = (trt.LayerType.ELEMENTWISE, trt.LayerType.UNARY, trt.LayerType.ACTIVATION)
    while waiting:
        name = waiting.pop()
        layer = producers.get(name)
        if layer is None or name in seen or layer.type == trt.LayerType.CONVOLUTION:
            continue
        seen.add(name)
        if layer.type in arithmetic and layer.get_output(0).dtype in (trt.float32, trt.float16):
            layer.precision = trt.float32
            layer.set_output_type(0, trt.float32)
        inputs = [layer.get_input(j) for j in range(layer.num_inputs)]
        waiting += [tensor.name for tensor in inputs if tensor is not None]


def _failure(trt: Any, action: str, model: ModelFile, errors: list[str]) -> str:
    return (
        f"expected {trt.__name__} {trt.__version__} to {action} {model.path}, found: "
        f"{'; '.join(errors) or 'no reason given'}; export it again, or choose another backend"
    )
