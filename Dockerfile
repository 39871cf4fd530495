# One image for the worker and the CLI. PostgreSQL's server programs are in it, since a worker of the secondary region brings servers up.
ARG POSTGRES_MAJOR=17

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/smartdr ./starter \
 && CGO_ENABLED=0 go build -trimpath -o /out/smartdr-worker ./worker

FROM postgres:${POSTGRES_MAJOR}-bookworm
COPY --from=build /out/ /usr/local/bin/
RUN install -d -o postgres -g postgres /var/lib/smartdr
USER postgres
VOLUME /var/lib/smartdr
ENTRYPOINT ["smartdr-worker"]
