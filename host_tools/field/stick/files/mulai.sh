#!/bin/sh
# Starts desalink from this folder. No network is needed.
set -eu

program=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/program
case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux-x64 ;;
Darwin-arm64) platform=macos-arm64 ;;
*) platform=$(uname -s)-$(uname -m) ;;
esac

hash_of() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi
}

# The Python of the stick, checked and unpacked once.
for archive in "$program/python/$platform"-*.tar.gz; do
    [ -e "$archive" ] || continue
    home=${XDG_DATA_HOME:-$HOME/.local/share}/desalink/python/$(basename "$archive" .tar.gz)
    if [ ! -e "$home/ready" ]; then
        case "$(hash_of "$archive")" in
        "$(cat "$archive.sha256")"*) ;;
        *)
            echo "Python di stik rusak; minta stik baru dari kantor." >&2
            echo "The stick's Python is damaged; ask the office for a new stick." >&2
            exit 1
            ;;
        esac
        rm -rf "$home"
        mkdir -p "$home"
        tar -xzf "$archive" -C "$home"
        : >"$home/ready"
    fi
    # shellcheck disable=SC2093  # there is one archive
    exec "$home/python/bin/python3" "$program/start.py" "$platform" "$@"
done

fits='import sys; sys.exit("%d.%d" % sys.version_info[:2] not in open(sys.argv[1]).read().split())'
for python in python3.13 python3.12 python3.11 python3; do
    if "$python" -c "$fits" "$program/pythons.txt" 2>/dev/null; then
        exec "$python" "$program/start.py" "$platform" "$@"
    fi
done
echo "Laptop ini tidak punya Python $(cat "$program/pythons.txt"); minta stik dengan Python." >&2
echo "This laptop has no Python $(cat "$program/pythons.txt"); ask for a stick with Python." >&2
exit 1
