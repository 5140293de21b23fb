#!/bin/sh
# Like serial.sh, but for many services concurrently: parallel.sh LIST
set -eu

xargs --max-procs "${JOBS:-16}" --max-args 1 sh "$SCRIPTS/one.sh" <"$1"
