#!/bin/sh
# The minimal queries, concurrent and with the fastest common tools: the references of each remote,
# the images in the registry, and the images in the engine. floor.sh LIST
set -eu

# What protocol version 2 asks a remote for: a branch and HEAD.
printf '0014command=ls-refs\n0001%s%s0000' '001aref-prefix refs/heads/' '0013ref-prefix HEAD' >ls-refs
next=''
while read -r name; do
    printf %s "$next"
    printf 'url = "%s/%s.git/git-upload-pack"\ndata-binary = "@ls-refs"\n' "$GIT" "$name"
    printf 'header = "Git-Protocol: version=2"\nheader = "Content-Type: application/x-git-upload-pack-request"\n'
    printf 'output = "/dev/null"\n'
    next='next
'
done <"$1" >remotes.curl
next=''
while read -r name; do
    printf %s "$next"
    printf 'url = "http://%s/v2/%s/manifests/%s"\nhead\n' "${IMAGES%%/*}" "${IMAGES#*/}/$name" "$(cat "tags/$name")"
    printf 'header = "Accept: application/vnd.docker.distribution.manifest.v2+json"\noutput = "/dev/null"\n'
    next='next
'
done <"$1" >images.curl
curl --silent --show-error --fail --parallel --parallel-max 300 --parallel-immediate --config remotes.curl
curl --silent --show-error --fail --parallel --parallel-max 300 --parallel-immediate --config images.curl
curl --silent --fail --unix-socket "${DOCKER_HOST#unix://}" --output /dev/null http://engine/images/json
