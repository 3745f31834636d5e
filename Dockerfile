# Build stage: the bundles, from the lock file alone. They are the same for every architecture, so an
# image for another one (docker buildx build --platform linux/amd64,linux/arm64) emulates nothing.
FROM --platform=$BUILDPLATFORM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY build build
COPY src src
RUN npm run build && node build/image.ts /image

# Run stage: Node and the bundles, no shell, no package manager, not root. The root file system can be read-only.
FROM gcr.io/distroless/nodejs24-debian13:nonroot
COPY --from=build /image /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/podseal"]
CMD ["--help"]
