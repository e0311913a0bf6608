# The container of Beam's workers on Dataflow and of the steps on Vertex AI: the lock, and this project.
#   docker build -t IMAGE .
#   docker build -t IMAGE-gpu --build-arg LOCK=requirements-gpu.txt .     the Trainer's
FROM debian:12-slim AS build
ARG LOCK=requirements.txt
ENV UV_SYSTEM_CERTS=true
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates g++ python3.11-dev python3.11-venv
RUN python3.11 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check uv==0.13.8
RUN python3.11 -m venv /opt/vocseg
WORKDIR /src
COPY requirements.txt requirements-gpu.txt ./
RUN /opt/uv/bin/uv pip sync --no-cache --python /opt/vocseg/bin/python --require-hashes --compile-bytecode $LOCK
COPY LICENSE pyproject.toml pipeline_config.py ./
COPY components components
COPY pipeline pipeline
RUN /opt/uv/bin/uv pip install --python /opt/vocseg/bin/python --offline --no-deps --no-build-isolation --compile-bytecode .

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3.11 python3-distutils && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/vocseg /opt/vocseg
# Of the lock's Beam: it starts the workers.
COPY --from=apache/beam_python3.11_sdk:2.72.0 /opt/apache/beam /opt/apache/beam
# Without the second, Beam's boot makes an environment of its own, in which nothing of ours is.
ENV PATH=/opt/vocseg/bin:/usr/local/bin:/usr/bin:/bin RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
# As in NVIDIA's own images: what its container runtime hands in, and where other hosts mount their driver. Nothing without a GPU.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64
ENTRYPOINT ["/opt/apache/beam/boot"]
