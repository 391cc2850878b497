# All that a CPU needs to scan, verify, merge, review and report, for linux/amd64:
#     docker build -t inspector -f docs/containers/slim.Dockerfile .
# Both images are Debian 12 with Python 3.11, so that what is installed in the first runs in the second, which has
# no shell, no package manager and no pip.
FROM python:3.11-slim-bookworm AS build
COPY requirements-slim.lock /src/
RUN pip install --no-cache-dir --no-compile --require-hashes --target /opt/inspector -r /src/requirements-slim.lock
COPY . /src
RUN PYTHONPATH=/opt/inspector pip install --no-cache-dir --no-compile --no-deps --no-build-isolation --target /opt/inspector /src
# What nothing here loads: other protocols and stores of Arrow, ONNX Runtime's C library and tools, headers, tests.
RUN cd /opt/inspector \
    && rm -rf pyarrow/*_flight* pyarrow/libarrow_s3* pyarrow/_s3fs* pyarrow/include pyarrow/src \
    && rm -rf pyarrow/libarrow_python*.so pyarrow/*.so.*.*.* _duckdb-stubs \
    && rm -rf onnxruntime/capi/libonnxruntime.so* onnxruntime/tools onnxruntime/transformers onnxruntime/quantization \
    && rm -rf setuptools* _distutils_hack distutils-precedence.pth pkg_resources bin \
    && find . -name tests -type d -prune -exec rm -r {} + \
    && find . -name '*.p[yx][ixd]' -delete
RUN python -m compileall -q -j 2 /opt/inspector

FROM gcr.io/distroless/python3-debian12:nonroot
COPY --from=build /opt/inspector /opt/inspector
ENV PYTHONPATH=/opt/inspector PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["/usr/bin/python3", "-m", "inspector"]
