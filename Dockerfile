# The service with m3-tiny and its router. It needs no network, no root and no disk that can be written to:
#
#   docker build -t m3-router .
#   docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     -p 127.0.0.1:8000:8000 -e M3_API_KEYS=... m3-router
#
# docs/operating.md lists the settings; `docker kill -s HUP` reloads a bundle that is mounted.
FROM python:3.11-slim AS build
RUN python -m venv /venv
# torch first and by its exact version, as in the Makefile. TORCH_INDEX: .../whl/cu130 and the like for GPUs.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN /venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch==2.13.0
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY m3_backbone m3_backbone
COPY router router
RUN /venv/bin/pip install --no-cache-dir .

FROM python:3.11-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 M3_HOST=0.0.0.0 M3_PORT=8000
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=15s --timeout=5s CMD ["python", "-c", \
  "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"M3_PORT\"]}/ready', timeout=4)"]
ENTRYPOINT ["m3-router"]
CMD ["serve"]
