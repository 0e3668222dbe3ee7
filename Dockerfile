# Tradepost's server, worker and migration in one image; compose.yaml says which of them a container is.
FROM python:3.13.7-slim-trixie

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/tradepost

# What is needed changes less often than the program: this layer stays.
COPY requirements.lock requirements-build.lock ./
RUN pip install --require-hashes --requirement requirements-build.lock \
    && pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-deps --no-build-isolation . \
    && useradd --system --uid 10001 --home-dir /var/lib/tradepost --create-home tradepost \
    && install -d -o tradepost -g tradepost -m 0700 /var/lib/tradepost/home /var/lib/tradepost/backups

USER tradepost
WORKDIR /var/lib/tradepost
ENV TRADEPOST_HOME=/var/lib/tradepost/home
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["tradepost"]
CMD ["serve"]
