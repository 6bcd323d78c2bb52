# The service and its worker; the root may be read-only.

# Compiled is Argon2 alone, for x86-64-v3, beside the stock wheel: which of them runs is decided at the
# start, by the processor. What compiles stays out of the image.
FROM python:3.12-slim AS fast-hash
COPY requirements-fast-hash.lock ./
COPY requirements-argon2.lock ./
RUN mkdir -p /usr/local/lib/lamina-fast-hash \
    && if [ "$(uname -m)" = x86_64 ]; then \
        apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
        && pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
            -r requirements-fast-hash.lock \
        && CFLAGS="-O3 -march=x86-64-v3" pip install --no-cache-dir --disable-pip-version-check \
            --require-hashes --no-deps --no-build-isolation --force-reinstall \
            --no-binary argon2-cffi-bindings --target /usr/local/lib/lamina-fast-hash \
            -r requirements-argon2.lock; \
    fi

FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    LAMINA_FACE_MODELS=/opt/lamina/models LAMINA_BIND=0.0.0.0:8000
WORKDIR /opt/lamina

COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

COPY --from=fast-hash /usr/local/lib/lamina-fast-hash /usr/local/lib/lamina-fast-hash
COPY LICENSE ./
COPY crypto crypto
COPY biometrics biometrics
COPY migrations migrations
COPY service service
RUN printf '#!/bin/sh\nexec python -m service.cli "$@"\n' > /usr/local/bin/lamina \
    && chmod 755 /usr/local/bin/lamina \
    && useradd --system --uid 10001 lamina \
    && python -m service.cli face prepare --to /opt/lamina/models \
    && mkdir /var/lib/lamina /var/lib/lamina-ledger \
    && chown lamina /var/lib/lamina /var/lib/lamina-ledger

ENV PYTHONPATH=/opt/lamina
USER lamina
WORKDIR /var/lib/lamina
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["lamina"]
CMD ["serve"]
