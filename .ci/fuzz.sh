#!/usr/bin/env bash
# .ci/fuzz.sh SECONDS [ARGUMENT...]: runs every tests/**/fuzz_*.py for so long, one after the
# other; stops at the first that finds something.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=$1
shift

found=
while IFS= read -r file; do
    found=yes
    module=${file%.py}
    module=${module//\//.}
    [ "${V:-}" != 1 ] || set -x
    .venv/bin/python -m "$module" --seconds "$seconds" "$@"
done < <(find tests -name 'fuzz_*.py' | sort)

if [ -z "$found" ]; then
    echo "There is no tests/**/fuzz_*.py to run." >&2
    exit 2
fi
