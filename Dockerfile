# Images of Treeline. `light` runs everything on WebAssembly and has no native inference; `heavy` adds ONNX Runtime with
# the libraries of this one platform.
#
#   docker build --target light -t treeline:0.1.0 .
#   docker build --target heavy -t treeline:0.1.0-heavy .
#
# The program is built with all of its tools in one stage, its packages are installed without them in another, and what
# runs has no shell and no package manager. Both base images can be replaced where these are not at hand.

ARG NODE_IMAGE=docker.io/library/node:20.20.2-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${NODE_IMAGE} AS build
WORKDIR /app
# Its install script would download libraries for GPUs.
ENV ONNXRUNTIME_NODE_INSTALL=skip
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && rm -rf dist/bench dist/test dist/*.debug.wasm dist/*.map

FROM ${NODE_IMAGE} AS heavy-modules
WORKDIR /app
ENV ONNXRUNTIME_NODE_INSTALL=skip
COPY package.json package-lock.json .npmrc deploy/docker/prune.mjs ./
RUN npm ci --omit=dev && node prune.mjs heavy

FROM heavy-modules AS light-modules
RUN node prune.mjs light

# The binary is found here and not in a folder of its own, so that a local image that has it elsewhere needs one argument.
FROM ${NODE_IMAGE} AS node
RUN mkdir -p /program && cp "$(command -v node)" /program/node && mkdir -p /empty/data /empty/tmp && chown 10001:10001 /empty/data

FROM ${RUNTIME_IMAGE} AS runtime
COPY --from=node /program/node /usr/local/bin/node
COPY --from=node --chown=10001:10001 /empty/data /data
WORKDIR /app
COPY package.json LICENSE README.md CHANGELOG.md ./
COPY models ./models
COPY deploy ./deploy
COPY proto ./proto
COPY --from=build /app/dist ./dist
ENV NODE_ENV=production TREELINE_DATA_DIR=/data/treeline
USER 10001:10001
EXPOSE 8275
VOLUME /data
ENTRYPOINT ["/usr/local/bin/node", "/app/dist/src/main.js"]
CMD ["run"]

FROM runtime AS heavy
COPY --from=heavy-modules /app/node_modules ./node_modules

FROM runtime AS light
COPY --from=light-modules /app/node_modules ./node_modules
