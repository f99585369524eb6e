# The fusion node with TensorRT, for a PC with an NVIDIA GPU and its container toolkit:
#   docker build --file docker/Dockerfile --tag irvis_fusion .
#   docker build --file docker/gpu.Dockerfile --tag irvis_fusion:gpu docker
#   docker run --rm --gpus all --network host --ipc host --volume engines:/home/fusion/.cache irvis_fusion:gpu
ARG BASE=irvis_fusion
FROM ${BASE}

USER 0
# TensorRT and cuda-python bring the CUDA libraries; the driver comes from the host.
# hadolint ignore=DL3013
RUN pip3 install --no-cache-dir tensorrt cuda-python 'numpy<2' \
    && install --directory --owner=fusion /home/fusion/.cache
USER 10001
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# Engines are built at the first start, for minutes; the volume above keeps them.
CMD ["ros2", "launch", "irvis_fusion", "fusion.launch.py", "backend:=tensorrt"]
