#!/bin/sh
# Updates one service and builds its image if it is missing: one.sh NAME
set -eu

# shellcheck source=benches/bench/scripts/service.sh
. "$SCRIPTS/service.sh"
service "$1"
