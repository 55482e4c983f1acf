# The image of Cordboard; how to build and run it: docs/image.md. `make image` builds it, tests/image builds and runs it.
# A base is any Debian 12 or later. This one is debian:bookworm-20261005-slim, pinned by the digest of its index, which
# covers its platforms; a newer one: docker buildx imagetools inspect debian:bookworm-slim
ARG BASE=docker.io/library/debian@sha256:7c7b2c966bc9ee8cedfeef67e0e279108992c77681fa595db4a9d65c06ccc587

# What building and running share: Debian's Python, the roots that TLS trusts, and the user. No program gives rights away.
FROM ${BASE} AS python
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/cache/ldconfig/* /var/log/* \
    && useradd --uid 65532 --user-group --no-create-home --home-dir /var/lib/cordboard --shell /usr/sbin/nologin cordboard \
    && install --directory --owner 65532 --group 65532 --mode 0750 /var/lib/cordboard \
    && find / -xdev -perm /6000 -type f -exec chmod ug-s {} +

# Everything with its hash and from wheels alone, so that nothing foreign runs while it is installed. Left behind.
FROM python AS build
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends python3-venv
WORKDIR /src
ENV UV_SYSTEM_CERTS=1
COPY .ci/tools.lock .ci/
RUN python3 -m venv /tools && /tools/bin/pip install --quiet --only-binary :all: --require-hashes --requirement .ci/tools.lock
COPY requirements.lock ./
RUN python3 -m venv --without-pip /opt/cordboard \
    && /tools/bin/uv pip install --quiet --python /opt/cordboard --only-binary :all: --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY contracts contracts
COPY service service
# bytecode that counts whatever becomes of the files' times, and needs no writing later
RUN /tools/bin/hatchling build --target wheel --directory /wheel \
    && /tools/bin/uv pip install --quiet --python /opt/cordboard --no-deps /wheel/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/cordboard \
    && rm /opt/cordboard/.lock

FROM python
COPY --from=build /opt/cordboard /opt/cordboard
ENV PATH=/opt/cordboard/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    PYTHONUNBUFFERED=1
# the one folder that it writes to, besides /tmp: a ledger in a file, unless the settings name another
WORKDIR /var/lib/cordboard
VOLUME /var/lib/cordboard
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["/opt/cordboard/bin/cordboard", "health"]
ENTRYPOINT ["/opt/cordboard/bin/cordboard"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cordboard" \
      org.opencontainers.image.description="Turns HR and CRM events on Kafka into provisioning at contact-centre vendors: once, in order, within the vendor's quota." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
