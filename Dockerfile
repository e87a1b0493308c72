# The daily run and nothing else: no embedded server, no tests, no demo data.
FROM python:3.11-slim-bookworm AS build
COPY requirements.txt /build/
RUN python -m venv /opt/tremor \
    && /opt/tremor/bin/pip install --no-cache-dir --no-compile --require-hashes -r /build/requirements.txt \
    && /opt/tremor/bin/pip uninstall --yes pip setuptools \
    # The packages' own tests and C++ headers: 65 MB that no run reads.
    && find /opt/tremor/lib -type d -name tests -prune -exec rm -rf {} + \
    && rm -rf /opt/tremor/lib/python3.11/site-packages/pyarrow/include

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /var/lib/tremor --shell /usr/sbin/nologin tremor
WORKDIR /app
COPY --from=build /opt/tremor /opt/tremor
COPY main.py ./
COPY components ./components
ENV PATH=/opt/tremor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TREMOR_STATE_DIR=/var/lib/tremor \
    NUMBA_CACHE_DIR=/opt/numba \
    MPLCONFIGDIR=/var/lib/tremor/matplotlib
# Bytecode and compiled scans are made once here, so that a run starts in seconds.
RUN python -m compileall -q /opt/tremor /app \
    && python -c "from components.ensemble import warm; warm()" \
    && chmod -R a+rX /opt/numba
USER 10001
HEALTHCHECK --interval=5m --timeout=30s --retries=3 CMD ["python", "main.py", "status", "--json"]
ENTRYPOINT ["python", "main.py"]
CMD ["run"]
