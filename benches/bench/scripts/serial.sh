#!/bin/sh
# Updates services and builds missing images, one after the other: serial.sh LIST
set -eu

# shellcheck source=benches/bench/scripts/service.sh
. "$SCRIPTS/service.sh"

while read -r name; do
    service "$name" </dev/null
done <"$1"
