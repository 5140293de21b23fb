#!/bin/sh
# Brings one service up to date, and builds its image where it is missing: one.sh NAME
set -eu

# shellcheck source=benches/bench/scripts/service.sh
. "$SCRIPTS/service.sh"
service "$1"
