#!/usr/bin/env bash
# Does this clone set itself up on a machine that has nothing yet? Builds a bare tree of Debian
# (Python, make, git, certificates and sudo), unpacks it anew for every run, copies a clean checkout
# into it and calls make there, as root and as a user with sudo.
#
#   .ci/fresh.sh           the README's two commands, each as the first call: half an hour
#   .ci/fresh.sh short     the set-up alone: two minutes
#
# SUITE=trixie takes another release than this machine's. The mirrors, pip's settings and the
# certificates are this machine's: a set-up that needs others would not work here either. Each run
# has its own processes and mounts, but this machine's network. Logs are in build/fresh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly FORM=${1:-whole}
readonly LOGS=$PWD/build/fresh
# shellcheck source=/dev/null
OWN_SUITE=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
readonly OWN_SUITE SUITE=${SUITE:-$OWN_SUITE}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "fresh: $*"
    exit 2
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# --- what this machine lends to the tree

# Its mirrors of the system's packages, as lines of sources.list for $SUITE.
mirrors() {
    # shellcheck disable=SC2016  # apt's own variables
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)|$(ORIGIN)' \
        'Created-By: Packages' | sed -n "s/|\(Debian\|Ubuntu\)\$//p" | sort -u |
        sed "s/ $OWN_SUITE/ $SUITE/"
}

# The folders and files on this machine that pip's settings name. The index of a folder of packages
# names what lies beside it, so such a folder's parent.
pip_paths() {
    python3 -m pip config list 2>/dev/null | grep -o "[^' =]*/[^' ]*" |
        while read -r path; do
            case $path in
            file:///*) path=$(dirname "${path#file://}") ;;
            /etc/ssl/* | *://*) continue ;;
            esac
            [ ! -e "$path" ] || echo "$path"
        done | sort -u
}

# pip's settings, as one file.
pip_settings() {
    echo '[global]'
    python3 -m pip config list 2>/dev/null | sed -n "s/^global\.\([a-z-]*\)='\(.*\)'\$/\1 = \2/p"
}

build_tree() { # build_tree ARCHIVE
    local lines
    lines=$(mirrors)
    [ -n "$lines" ] || die "apt knows no mirror of Debian or Ubuntu: run 'apt-get update' first."
    say "Building a bare tree of $SUITE ..."
    as_root mmdebstrap --quiet --variant=minbase --include=python3,make,git,ca-certificates,sudo \
        "$SUITE" "$1" - <<<"$lines" >"$LOGS/tree.log" 2>&1 ||
        die "mmdebstrap failed: $(tail -n 3 "$LOGS/tree.log")"
}

# --- one run

# ENTER TREE USER COMMAND PATH...: runs the command in the tree as this user, with these paths of
# this machine; the first process of a namespace of its own, with which all that it leaves behind
# ends. Fails also if there is any.
# shellcheck disable=SC2016  # expanded by the shell inside
ENTER='
set -euo pipefail
tree=$1 user=$2 command=$3
shift 3
mount --make-rprivate /
mount -t proc proc "$tree/proc"
mount --rbind -o ro /sys "$tree/sys"
mount -t tmpfs tmpfs "$tree/run"
mount -t tmpfs -o mode=755 tmpfs "$tree/dev"
mkdir "$tree/dev/pts" "$tree/dev/shm"
for node in null zero full random urandom tty; do
    touch "$tree/dev/$node"
    mount --bind "/dev/$node" "$tree/dev/$node"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$tree/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$tree/dev/shm"
ln -s pts/ptmx "$tree/dev/ptmx"
ln -s /proc/self/fd "$tree/dev/fd"
for path in "$@"; do
    if [ -d "$path" ]; then mkdir -p "$tree$path"; else
        mkdir -p "$(dirname "$tree$path")"
        touch "$tree$path"
    fi
    mount --bind -o ro "$path" "$tree$path"
done
home=$(chroot "$tree" sh -c "echo ~$user")
status=0
env -i HOME="$home" USER="$user" TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$tree" setpriv --reuid "$user" --regid "$user" --init-groups \
    sh -c "cd ~/desalink && $command" </dev/null || status=$?
sleep 2
for process in "$tree"/proc/[0-9]*; do
    words=$(tr "\0" " " <"$process/cmdline" 2>/dev/null) || continue
    case $words in "" | *fresh-inside*) continue ;; esac
    echo "fresh: still running: $words"
    status=1
done
others=$(chroot "$tree" setpriv --reuid "$user" --regid "$user" --clear-groups \
    env HOME="$home" git -C "$home/desalink" ls-files --others --exclude-standard)
[ -z "$others" ] || { echo "fresh: git would see what was left behind: $others"; status=1; }
exit $status
'

# run USER COMMAND: in a tree of its own; adds a line to the table.
run() {
    local user=$1 command=$2 tree=$WORK/tree home log status=0 began
    log="$LOGS/$SUITE-$user-$(echo "$command" | tr -c 'a-zA-Z0-9\n' -).log"
    as_root mkdir -p "$tree"
    as_root tar -C "$tree" --numeric-owner -xf "$WORK/tree.tar"
    if [ "$user" != root ]; then
        as_root chroot "$tree" useradd --create-home --shell /bin/bash "$user"
        echo "$user ALL=(ALL) NOPASSWD: ALL" | as_root tee "$tree/etc/sudoers.d/$user" >/dev/null
    fi
    home=$(as_root chroot "$tree" sh -c "echo ~$user")
    pip_settings | as_root tee "$tree/etc/pip.conf" >/dev/null
    apt-config dump | grep -E '^Acquire::https?::' |
        as_root tee "$tree/etc/apt/apt.conf.d/90here" >/dev/null || true
    as_root cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] ||
        as_root cp -L /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
    # As images of containers do: no package starts its daemon, on a network that isn't the tree's.
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$tree/usr/sbin/policy-rc.d" >/dev/null
    as_root chmod 755 "$tree/usr/sbin/policy-rc.d"
    as_root cp -R "$WORK/desalink" "$tree$home/desalink"
    as_root chroot "$tree" chown -R "$user:" "$home/desalink"

    say "In a bare $SUITE, as $user: $command ..."
    began=$(date +%s)
    # shellcheck disable=SC2086  # no path has a space
    as_root unshare --mount --pid --fork --kill-child \
        bash -c "$ENTER" fresh-inside "$tree" "$user" "$command" ${PIP_PATHS} >"$log" 2>&1 ||
        status=$?
    [ $status -eq 0 ] || {
        say "It failed with exit code $status; the end of $log:"
        tail -n 20 "$log" >&2
        FAILED=1
    }
    TABLE+=$(printf '%-10s %-6s %-22s exit %d  %s min' "$SUITE" "$user" "$command" $status \
        "$(awk "BEGIN { printf \"%.1f\", ($(date +%s) - $began) / 60 }")")$'\n'
    as_root rm -rf --one-file-system "$tree"
}

command -v apt-get >/dev/null || die "it builds trees of Debian and Ubuntu, and needs apt for it."
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "it needs root or sudo."
as_root unshare --mount --pid --fork true 2>/dev/null ||
    die "this machine does not allow namespaces of mounts and processes."
command -v mmdebstrap >/dev/null || {
    say "Installing mmdebstrap with apt-get ..."
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends \
        mmdebstrap >/dev/null
}
mkdir -p "$LOGS"
WORK=$(mktemp -d /var/tmp/desalink-fresh.XXXXXX)
chmod 755 "$WORK"
trap 'as_root rm -rf --one-file-system "$WORK"' EXIT
PIP_PATHS=$(pip_paths | tr '\n' ' ')
TABLE='' FAILED=0

build_tree "$WORK/tree.tar"
# A clean checkout, with what is changed in files that git knows.
git clone --quiet --depth 1 "file://$PWD" "$WORK/desalink"
git diff --binary HEAD | git -C "$WORK/desalink" apply --allow-empty
if [ "$FORM" = short ]; then
    run root 'make setup-demo'
    run sari 'make setup'
else
    for user in root sari; do
        run $user 'make demo MINUTES=1'
        run $user 'make test'
    done
fi
printf '%s' "$TABLE"
exit $FAILED
