# Build stage: the bundles, from the lock file alone.
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY build build
COPY src src
RUN npm run build

# Run stage: Node and the bundles, not root. The root file system can be read-only.
FROM node:24-bookworm-slim
COPY --from=build /src/dist /opt/podseal
RUN ln -s /opt/podseal/podseal.cjs /usr/local/bin/podseal
USER 65532:65532
ENTRYPOINT ["podseal"]
CMD ["--help"]
