# The two images of dslite: `--target aftr` (AFTR, BIRD, Redis) and `--target operator`.
#     buildah bud --target aftr --tag dslite-aftr .
# Everything Python comes from uv.lock; Debian's packages from the release of the base.
ARG BASE=docker.io/library/debian:trixie-slim

FROM ${BASE} AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/dslite/bin:$PATH PYTHONUNBUFFERED=1

# ---------------------------------------------------------------- what both are built with
FROM python AS build
ARG UV_VERSION=0.13.9
# Certificate authorities of the machine that builds, where they are not Debian's.
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv clang libbpf-dev linux-libc-dev \
    && python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet "uv==${UV_VERSION}"
ENV UV_PYTHON=/usr/bin/python3 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/dslite UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /src

# What says which packages are needed: it changes more seldom than our sources.
FROM build AS manifests
COPY . .
RUN mkdir /manifests && cp --parents uv.lock pyproject.toml */pyproject.toml /manifests

# ---------------------------------------------------------------- aftr
FROM build AS build-aftr
ARG SSL_CERT_FILE
COPY --from=manifests /manifests .
RUN /opt/uv/bin/uv sync --quiet --locked --no-dev --no-install-workspace --package aftr
COPY contract contract
COPY aftr-pod aftr-pod
RUN clang -O2 -g -Wall -Werror -target bpf -I/usr/include/$(uname -m)-linux-gnu -c aftr-pod/aftr/io/steer.bpf.c -o aftr-pod/aftr/io/steer.bpf.o \
    && /opt/uv/bin/uv sync --quiet --locked --no-dev --no-editable --package aftr
# The packet path as machine code for any x86-64-v3 processor (docs/design/0002-compilation.md).
ENV NUMBA_CACHE_DIR=/opt/dslite/kernels
RUN /opt/dslite/bin/aftr kernels

FROM python AS aftr
# Debian's redis user has no fixed number; a pod's runAsUser needs one.
RUN groupadd --system --gid 6379 redis && useradd --system --uid 6379 --gid redis --home-dir /var/lib/redis redis \
    && apt-get update \
    && apt-get install --yes --no-install-recommends bird2 iproute2 libbpf1 redis-server \
    && rm -rf /var/lib/apt/lists/* /var/log/*.log
COPY --from=build-aftr /opt/dslite /opt/dslite
ENV NUMBA_CACHE_DIR=/opt/dslite/kernels
CMD ["aftr", "--help"]

# ---------------------------------------------------------------- operator
FROM build AS build-operator
ARG SSL_CERT_FILE
COPY --from=manifests /manifests .
RUN /opt/uv/bin/uv sync --quiet --locked --no-dev --no-install-workspace --package dslite-operator
COPY contract contract
COPY operator operator
RUN /opt/uv/bin/uv sync --quiet --locked --no-dev --no-editable --package dslite-operator

FROM python AS operator
COPY --from=build-operator /opt/dslite /opt/dslite
USER 65532:65532
CMD ["dslite-operator"]
