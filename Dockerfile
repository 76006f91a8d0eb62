# SPDX-License-Identifier: Apache-2.0
#
# An image of one node: the Debian package, built in one Debian 12 and installed in another. docs/install.md says how to run it.
FROM debian:12-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates make npm \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# What is needed to build changes seldom: a layer of its own.
COPY package.json package-lock.json .npmrc ./
COPY scripts scripts
RUN scripts/setup.sh deb
COPY . .
RUN make deb

FROM debian:12-slim
COPY --from=build /src/build/isola_*.deb /tmp/
# tini is process 1: it takes in what services leave behind, and passes signals on.
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini /tmp/isola_*.deb \
 && rm -rf /var/lib/apt/lists/* /tmp/isola_*.deb \
 && install -d -o isola -g isola -m 700 /var/lib/isola \
 && install -d -o isola -g isola -m 755 /run/isola
USER isola
WORKDIR /var/lib/isola
VOLUME /var/lib/isola
# Where other nodes find it, once it is in a cluster: --listen tcp://0.0.0.0:4711 --data-listen tcp://0.0.0.0:4712 --advertise HOST
EXPOSE 4711 4712
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s CMD ["ctl", "--node", "/run/isola/agent.sock", "nodes", "--timeout", "5000"]
ENTRYPOINT ["tini", "--", "node-agent", "--data", "/var/lib/isola", "--socket", "/run/isola/agent.sock"]
