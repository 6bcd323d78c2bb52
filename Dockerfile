# The service and its worker; nothing in it is compiled, and the root may be read-only.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    LAMINA_FACE_MODELS=/opt/lamina/models LAMINA_BIND=0.0.0.0:8000
WORKDIR /opt/lamina

COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

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
