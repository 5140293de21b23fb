# The traditional steps for one service: fetch, reset, check out, look for the image, build it if it is
# missing. This file is sourced, not run.
#
# shellcheck shell=sh

service() { # NAME
    source=src/$1
    if [ -d "$source" ]; then
        git -C "$source" fetch --quiet origin
        git -C "$source" reset --quiet --hard
        git -C "$source" checkout --quiet --detach origin/master
    else
        git clone --quiet "$GIT/$1.git" "$source"
    fi
    image=$IMAGES/$1:$(git -C "$source" rev-parse HEAD)
    if docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" >/dev/null 2>&1; then
        return
    fi
    if [ -n "${BUILD-}" ]; then
        # shellcheck disable=SC2086 # a command and its arguments
        docker run --rm --network none --volume "$PWD/$source:/workspace" --workdir /workspace "$BASE" $BUILD
    fi
    docker build --quiet --tag "$image" "$source"
    docker push --quiet "$image"
}
