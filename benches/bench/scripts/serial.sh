#!/bin/sh
# Brings services up to date and builds what is missing, one after the other: serial.sh LIST
set -eu

# shellcheck source=benches/bench/scripts/service.sh
. "$SCRIPTS/service.sh"

while read -r name; do
    service "$name" </dev/null
done <"$1"
