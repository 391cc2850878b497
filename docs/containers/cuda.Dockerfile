# What an NVIDIA GPU needs to scan, for linux/amd64; the driver comes from the host, CUDA 13 and cuDNN from the index:
#     docker build -t inspector:cuda -f docs/containers/cuda.Dockerfile .
FROM python:3.13-slim AS build
COPY . /src
RUN python -m venv /opt/inspector
# The versions of the lock; without its hashes, which pip cannot check for a part of it.
RUN sed -n 's/ *\\$//; /^ /!p' /src/requirements.lock > /src/versions.txt
RUN /opt/inspector/bin/pip install --no-cache-dir --constraint /src/versions.txt '/src[gpu,buckets]'

FROM python:3.13-slim
COPY --from=build /opt/inspector /opt/inspector
ENV PATH=/opt/inspector/bin:$PATH PYTHONDONTWRITEBYTECODE=1
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 65532:65532
ENTRYPOINT ["inspector"]
