#!/bin/sh
# As serial.sh does it, but many services at once: parallel.sh LIST
set -eu

xargs --max-procs "${JOBS:-16}" --max-args 1 sh "$SCRIPTS/one.sh" <"$1"
