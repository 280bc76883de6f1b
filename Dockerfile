# Sasha Studio as an image: docs/docker.md. The last stage is what `docker build .` makes.
#
# aichat is downloaded and checked against its SHA-256. To use a file instead, name the folder that holds it:
# --build-context aichat=FOLDER.

ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
# An init, so that no child of a child stays a zombie, and the certificates that aichat trusts. No program here needs to
# become another user.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
RUN useradd --uid 1001 --home-dir /data --no-create-home --no-log-init --shell /usr/sbin/nologin sasha \
    && install --directory --owner=1001 --group=1001 --mode=0700 /data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AICHAT=/usr/local/bin/aichat \
    DATA_DIR=/data
WORKDIR /app

FROM ${PYTHON_IMAGE} AS aichat
COPY scripts/install-aichat /usr/local/bin/
RUN cp "$(install-aichat)" /aichat

# The packages, with hashes and without a compiler: only what comes built is taken.
FROM base AS packages
# For an index of one's own.
ARG PIP_INDEX_URL
COPY requirements.txt ./
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
        -r requirements.txt \
    && pip uninstall --yes --quiet pip setuptools

# The code, and the static files as they are served.
FROM packages AS site
COPY LICENSE manage.py pyproject.toml ./
COPY scripts/serve scripts/
COPY locale locale/
COPY static static/
COPY templates templates/
COPY providers providers/
COPY chat chat/
COPY monitoring monitoring/
COPY sasha sasha/
# Local mode needs no secret, and what it makes for itself stays in this stage. Whatever the umask was where the files
# come from, the user can read them.
RUN find . -type d -name tests -prune -exec rm -r {} + \
    && SASHA_MODE=local DATA_DIR=/tmp/data python manage.py collectstatic --no-input --verbosity 0 \
    && python -m compileall -q . \
    && chmod -R u=rwX,go=rX .

# For working on the code: scripts/run and scripts/test, with their packages. Anything may be written here.
FROM base AS development
ARG PIP_INDEX_URL
COPY --from=aichat --chown=root:root --chmod=0755 /aichat /usr/local/bin/aichat
# What the local model's library wants.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && chown 1001:1001 /app
USER 1001:1001
COPY --chown=1001:1001 . .
RUN PIP_NO_CACHE_DIR=1 scripts/install-packages requirements.txt requirements-dev.txt requirements-model.txt
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "-s", "--"]
CMD ["scripts/run"]

# What runs in the world: nothing here belongs to the user but /data.
FROM base AS production
COPY --from=aichat --chown=root:root --chmod=0755 /aichat /usr/local/bin/aichat
COPY --from=packages --chown=root:root /opt/venv /opt/venv
COPY --from=site --chown=root:root /app /app
ENV HOST=0.0.0.0 PORT=8000
USER 1001:1001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/readyz\", timeout=4)"]
# -s: where something else is process 1, such as the init of an engine.
ENTRYPOINT ["tini", "-s", "--"]
CMD ["scripts/serve"]
