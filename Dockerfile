# Build stage: the bundles, from the lock file alone.
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY build build
COPY src src
RUN npm run build

# Run stage: Node and the bundles, no shell, no package manager, not root.
FROM gcr.io/distroless/nodejs24-debian12:nonroot
COPY --from=build /src/dist /opt/podseal
ENV PATH=/opt/podseal:/nodejs/bin
ENTRYPOINT ["/nodejs/bin/node", "/opt/podseal/podseal.cjs"]
CMD ["--help"]
