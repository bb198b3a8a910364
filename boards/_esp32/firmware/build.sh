#!/usr/bin/env bash
# Builds MicroPython with ROMFS for the boards, in ESP-IDF's own container (make firmware).
#   build.sh FOLDER [BOARD]...
# FOLDER gets MicroPython's source and a file for each board: all boards of this folder, or those
# named. It needs git, docker and the internet, and about half an hour. CI does not run it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly VERSION=1.26.1
readonly COMMIT=647c8b96cae7e202c7a020395b7cfe65e5b8ce04
readonly SOURCE=https://github.com/micropython/micropython.git
# The version in the lock files of that MicroPython.
readonly IMAGE=espressif/idf:v5.4.2

die() {
    printf '%s\n' "$*" >&2
    exit 2
}

[ $# -ge 1 ] || die "usage: build.sh FOLDER [BOARD]..."
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
boards=("$@")
if [ $# -eq 0 ]; then
    for file in "$here"/*/mpconfigboard.h; do boards+=("$(basename "$(dirname "$file")")"); done
fi
for board in "${boards[@]}"; do
    [ -f "$here/$board/mpconfigboard.h" ] || die "There is no firmware for '$board'; name a folder of $here."
done
for program in git docker; do
    command -v $program >/dev/null || die "$program is missing, which builds the firmware; install it and try again."
done
docker info >/dev/null 2>&1 || die "Docker does not run, or you may not use it; start it and try again."

source=$folder/micropython
if [ "$(git -C "$source" rev-parse HEAD 2>/dev/null)" != $COMMIT ]; then
    rm -rf "$source"
    git clone --quiet --depth 1 --branch v$VERSION $SOURCE "$source" \
        || die "MicroPython's source can't be fetched from $SOURCE; connect to the internet and try again."
    [ "$(git -C "$source" rev-parse HEAD)" = $COMMIT ] \
        || die "v$VERSION of MicroPython is not the commit $COMMIT; don't use it."
fi
docker image inspect $IMAGE >/dev/null 2>&1 || docker pull --quiet $IMAGE >/dev/null \
    || die "The container $IMAGE can't be fetched; connect to the internet and try again."

definitions=$source/ports/esp32/boards/desalink
rm -rf "$definitions"
cp -r "$here" "$definitions"
cp "$here"/../boot.py "$here"/../main.py "$definitions"
for board in "${boards[@]}"; do
    docker run --rm --user "$(id -u):$(id -g)" --env HOME=/tmp --volume "$source:/micropython" \
        --workdir /micropython $IMAGE bash -c "
            git config --global --add safe.directory '*'
            make -C mpy-cross &&
            make -C ports/esp32 BOARD_DIR=boards/desalink/$board submodules &&
            make -C ports/esp32 BOARD_DIR=boards/desalink/$board" \
        || die "The firmware for $board was not built; the lines above show why."
    file=$folder/desalink-$board-v$VERSION.bin
    cp "$source/ports/esp32/build-$board/firmware.bin" "$file"
    echo "$file: add it with 'desalink firmware add $file --board $board --pin'"
done
