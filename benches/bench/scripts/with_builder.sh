#!/bin/sh
# Builds and pushes the builder, then the services that use it, concurrently: with_builder.sh LIST
set -eu

BASE=$IMAGES/builders/tools:newest
export BASE
docker build --quiet --tag "$BASE" builders/tools
docker push --quiet "$BASE"
xargs --max-procs "${JOBS:-16}" --max-args 1 sh "$SCRIPTS/one.sh" <"$1"
