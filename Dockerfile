# syntax=docker/dockerfile:1
# The server in an image that has nothing else: no shell, no other program, not root.
#
#   docker build -t hallpass .
#   docker run -it -p 127.0.0.1:8080:8080 -v hallpass:/data hallpass serve     # asks for the passphrase

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# No path of the builder ends up in the binary.
ENV RUSTFLAGS="--remap-path-prefix=/src=. --remap-path-prefix=/usr/local/cargo=cargo" \
    CFLAGS="-ffile-prefix-map=/src=. -ffile-prefix-map=/usr/local/cargo=cargo"
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin hallpass \
    && install -D target/release/hallpass /out/usr/bin/hallpass \
    && install -d -m 0700 /out/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/usr/bin/hallpass /usr/bin/hallpass
COPY --from=build --chown=65532:65532 /out/data /data
WORKDIR /data
VOLUME /data
ENV HALLPASS_SERVER__BIND=0.0.0.0:8080 \
    HALLPASS_DATABASE__URL=sqlite:///data/hallpass.db
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["hallpass", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["hallpass"]
CMD ["serve", "--key-file", "/run/secrets/passphrase"]
