# The daily run and nothing else: no embedded server, no tests, no demo data, no build tools.

# A release names its base by content: --build-arg PYTHON_DIGEST=sha256:... (docs/CONTAINERS.md).
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG PYTHON_DIGEST=

FROM ${PYTHON_IMAGE}${PYTHON_DIGEST:+@${PYTHON_DIGEST}} AS build
# With requirements-served.txt the image serves: the API and the dashboard (docs/CONTAINERS.md).
ARG REQUIREMENTS=requirements.txt
COPY ${REQUIREMENTS} /build/requirements.txt
# The packages' own tests and C++ headers are 65 MB that no run reads.
RUN python -m venv /opt/tremor \
    && /opt/tremor/bin/pip install --no-cache-dir --no-compile --only-binary :all: \
        --require-hashes -r /build/requirements.txt \
    && /opt/tremor/bin/pip uninstall --yes pip setuptools \
    && find /opt/tremor/lib -type d -name tests -prune -exec rm -rf {} + \
    && rm -rf /opt/tremor/lib/python3.11/site-packages/pyarrow/include \
        /opt/tremor/bin/activate* /opt/tremor/bin/Activate.ps1 /opt/tremor/include \
    # The root is read-only later: bytecode is made now, and never compared with its source.
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/tremor

FROM ${PYTHON_IMAGE}${PYTHON_DIGEST:+@${PYTHON_DIGEST}}
# The base's installers go, Python's and Debian's, and every right to become another user. What
# Debian's packages are stays written in /var/lib/dpkg, which an audit of the image reads.
RUN rm -rf /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip \
        /usr/local/bin/pip* /usr/local/bin/wheel \
        /usr/bin/apt* /usr/bin/dpkg* /usr/sbin/dpkg* /usr/bin/perl* /usr/lib/apt /usr/lib/dpkg \
        /usr/libexec/dpkg /usr/share/bug /etc/cron.daily \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && useradd --uid 10001 --no-create-home --home-dir /var/lib/tremor \
        --shell /usr/sbin/nologin tremor \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/tremor \
    && chown 10001:10001 /tmp \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /usr/local/lib/python3.11
WORKDIR /app
COPY --from=build /opt/tremor /opt/tremor
COPY deploy/image/baked_cache.py /opt/tremor/lib/python3.11/site-packages/
COPY main.py ./
COPY components ./components
# Compiled scans are made for any processor of the architecture, not for the one that builds.
ENV PATH=/opt/tremor/bin:$PATH \
    HOME=/var/lib/tremor \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CPU_NAME=generic \
    NUMBA_CPU_FEATURES= \
    NUMBA_CACHE_DIR=/tmp/numba \
    NUMBA_CACHE_LOCATOR_CLASSES=baked_cache.BakedCache \
    TREMOR_STATE_DIR=/var/lib/tremor
# Bytecode and compiled scans are made once here, so that a run starts in seconds.
RUN python -m compileall -q --invalidation-mode unchecked-hash /app \
    && NUMBA_CACHE_DIR=/opt/numba python -c "from baked_cache import bake; bake()" \
    && rm -rf /tmp/* \
    && chmod -R a+rX /opt/numba /app

ARG PYTHON_IMAGE
ARG PYTHON_DIGEST
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tremor" \
      org.opencontainers.image.description="A market anomaly watch: the daily run" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.base.digest="${PYTHON_DIGEST}"

# The two places a run writes to; all else may be mounted read-only.
VOLUME ["/var/lib/tremor", "/tmp"]
USER 10001:10001
# A batch proves its health by its exit code. While it works, this says whether it still can:
# its two places take a file. It opens no connection and costs no start of Python.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=2 CMD ["sh", "-c", \
    "for p in $TREMOR_STATE_DIR /tmp; do f=$(mktemp -p $p .health-XXXXXX) && echo ok > $f && rm $f || exit 1; done"]
# Python as the first process ignores SIGTERM; SIGINT it hears.
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "main.py"]
CMD ["run"]
