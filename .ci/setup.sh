#!/usr/bin/env bash
# Makes this clone ready to run: Mosquitto from the system's packages where it is missing, and
# .venv with the packages of constraints.txt. Says nothing and takes no time where nothing is left
# to do. The Makefile calls it before every target; it may run several times at once.
#
#   .ci/setup.sh demo     what a user needs, and MicroPython
#   .ci/setup.sh test     all that the tests, the linters and the benchmarks need as well
#   .ci/setup.sh lab      the programs of which the laboratory is built, too
#   .ci/setup.sh browser  Chromium and what drives it, too
#
# PYTHON=python3.12 uses this interpreter, V=1 shows what pip and the package manager say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly WANTED=${1:-test}
case $WANTED in
demo | test | browser) EXTRA=$WANTED ;;
lab) EXTRA='test' ;;
*) echo "setup: there is no set-up '$WANTED': demo, test, lab or browser." >&2 && exit 2 ;;
esac
readonly EXTRA

readonly VENV=.venv
# With the extra's name: written last, what .venv was made from.
readonly READY=$VENV/.ready
# The clone's folder: the scripts in .venv/bin name it, and don't survive a move.
readonly MADE_FOR=$VENV/.made-for
# Debian keeps daemons out of a user's PATH, Homebrew its own out of everybody's.
readonly SEARCH_PATH="$PATH:/usr/local/sbin:/usr/sbin:/opt/homebrew/sbin"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 2
}

# Runs a command quietly; on failure shows its last words. Without descriptor 9, lest a daemon keep
# our lock.
quietly() {
    if [ "${V:-}" = 1 ]; then
        "$@" </dev/null >&2 9<&-
        return
    fi
    local log status=0
    log=$(mktemp)
    "$@" </dev/null >"$log" 2>&1 9<&- || status=$?
    [ $status -eq 0 ] || tail -n 15 "$log" >&2
    rm -f "$log"
    return $status
}

# A mirror that does not answer now may answer in a moment.
readonly TRIES=3
readonly SECONDS_BETWEEN=${DESALINK_SETUP_WAIT:-10}

# with_retries WHAT COMMAND...: says which step failed, and tries again.
with_retries() {
    local what=$1 try
    shift
    for ((try = 1; try <= TRIES; try++)); do
        quietly "$@" && return
        [ $try -eq $TRIES ] || {
            say "$what failed (try $try of $TRIES; its last words are above)." \
                "Trying again in $SECONDS_BETWEEN seconds ..."
            sleep "$SECONDS_BETWEEN"
        }
    done
    return 1
}

# --- the system's packages

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Can this user install packages? Asks for sudo's password here, where it can say what for.
may_install() {
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null && return
    [ -t 0 ] && sudo -v -p "Installing $1 needs root: sudo password for %u: "
}

package_manager() {
    local manager
    for manager in apt-get dnf apk pacman zypper brew; do
        if command -v "$manager" >/dev/null; then
            echo "$manager"
            return
        fi
    done
}

# system_install MANAGER PACKAGE
system_install() {
    case $1 in
    apt-get)
        local apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
            apt-get -y -o DPkg::Lock::Timeout=300)
        # A fresh machine has no package lists, an old one stale lists: then the first try fails.
        if ! as_root "${apt[@]}" install --no-install-recommends "$2"; then
            as_root "${apt[@]}" update && as_root "${apt[@]}" install --no-install-recommends "$2"
        fi
        ;;
    dnf) as_root dnf install -y "$2" ;;
    apk) as_root apk add --no-cache "$2" ;;
    pacman) as_root pacman -Sy --noconfirm --needed "$2" ;;
    zypper) as_root zypper --non-interactive install --no-recommends "$2" ;;
    brew) brew install "$2" ;;
    esac
}

# install PACKAGE WHAT: with whatever package manager there is, or one sentence and the end.
install() {
    local package=$1 what=$2 manager
    manager=$(package_manager)
    [ -n "$manager" ] ||
        die "$what is missing and no known package manager was found: install it by hand," \
            "then run make again."
    [ "$manager" = brew ] || may_install "$package" ||
        die "$what is missing and this user may not install it: run '$manager install $package'" \
            "as root, then run make again."
    say "Installing $package with $manager ..."
    with_retries "Installing $package" system_install "$manager" "$package" ||
        die "$manager could not install $package (its last words are above): check the network," \
            "or install $what by hand, then run make again."
}

# --- daemons of which only the programs are wanted

# find_program NAME: its path.
find_program() { PATH=$SEARCH_PATH command -v "$1"; }

units() { # units VERB UNIT...
    local verb=$1
    shift
    as_root systemctl "$verb" "$@" >/dev/null 2>&1 || true
}

# install_unstarted PACKAGE WHAT UNIT...
#
# Debian's packages start their daemon, now and at every boot. Its units are masked while the
# package is set up, so that it never starts, and left disabled. A unit that somebody else has put
# there is none of our business.
install_unstarted() {
    local package=$1 what=$2 unit masked=()
    shift 2
    if command -v systemctl >/dev/null && command -v apt-get >/dev/null && may_install "$package"; then
        for unit in "$@"; do
            [ -e "/etc/systemd/system/$unit" ] || [ -L "/etc/systemd/system/$unit" ] ||
                masked+=("$unit")
        done
    fi
    if [ ${#masked[@]} -gt 0 ]; then
        # shellcheck disable=SC2064  # the names of now
        trap "units unmask ${masked[*]}" EXIT
        units mask "${masked[@]}"
    fi
    install "$package" "$what"
    if [ ${#masked[@]} -gt 0 ]; then
        trap - EXIT
        units unmask "${masked[@]}"
        units disable "${masked[@]}"
    fi
    # Without systemd (a container, a chroot) the package's init script may have started it.
    ! [ -d /run/systemd/system ] && command -v apt-get >/dev/null || return 0
    for unit in "$@"; do
        unit=${unit%.*}
        [ -x "/etc/init.d/$unit" ] || continue
        as_root "/etc/init.d/$unit" stop >/dev/null 2>&1 || true
        as_root update-rc.d "$unit" disable >/dev/null 2>&1 || true
    done
}

need_mosquitto() {
    local program version
    program=$(find_program mosquitto) || {
        install_unstarted mosquitto 'Mosquitto 2.0 or newer (the MQTT broker)' mosquitto.service
        program=$(find_program mosquitto) ||
            die "Mosquitto was installed, but there is no 'mosquitto' on the PATH."
    }
    version=$({ "$program" -h 2>&1 || true; } | sed -n 's/^mosquitto version \([0-9.]*\).*/\1/p')
    case $version in
    '' | 0.* | 1.*)
        die "Mosquitto ${version:-of an unknown version} at $program is too old:" \
            "install version 2.0 or newer."
        ;;
    esac
}

# The tests start these themselves, on loopback and with files of their own.
need_test_daemons() {
    local net_snmp=net-snmp openssh=openssh
    case $(package_manager) in
    apt-get) net_snmp=snmpd openssh=openssh-server ;;
    dnf) openssh='openssh-server' ;;
    esac
    find_program snmpd >/dev/null ||
        install_unstarted $net_snmp 'snmpd (Net-SNMP, for the tests)' snmpd.service
    find_program sshd >/dev/null ||
        install_unstarted $openssh 'sshd (OpenSSH, for the tests)' ssh.service ssh.socket
    # For the packets of a namespace.
    [ "$(uname)" != Linux ] || find_program ip >/dev/null || install iproute2 'ip (for the tests)'
    find_program faketime >/dev/null || install faketime 'faketime (for the tests)'
}

# Lays out the PDF pages of reports (for weasyprint), with a font that has every letter.
need_pango() {
    command -v apt-get >/dev/null || return 0
    { ldconfig -p || true; } 2>/dev/null | grep -q libpangoft2-1.0 ||
        install libpangoft2-1.0-0 'Pango (for PDF reports)'
    [ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] ||
        install fonts-dejavu-core 'DejaVu (the letters of PDF reports)'
}

need_chromium() {
    find_program chromium >/dev/null || find_program chromium-browser >/dev/null ||
        install chromium 'Chromium (for make browser)'
}

# --- the laboratory

# Where they can't be installed, the laboratory says so itself, and is skipped.
need_lab() {
    local pair package
    for pair in unshare:util-linux ip:iproute2 tc:iproute2 nft:nftables dnsmasq:dnsmasq-base; do
        package=${pair#*:}
        PATH=$SEARCH_PATH command -v "${pair%:*}" >/dev/null && continue
        if ! command -v apt-get >/dev/null || ! may_install "$package"; then continue; fi
        say "Installing $package with apt-get ..."
        quietly system_install apt-get "$package" || say "apt-get could not install $package."
    done
}

# --- Python

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Prints the first interpreter that is new enough, one that can make virtual environments before
# one that can't.
find_python() {
    local candidate candidates=(python3.13 python3.12 python3.11 python3) without_venv=
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        new_enough "$candidate" || continue
        if has_venv "$candidate"; then
            echo "$candidate"
            return
        fi
        without_venv=${without_venv:-$candidate}
    done
    echo "$without_venv"
}

need_python() {
    python=$(find_python)
    if [ -z "$python" ]; then
        local found
        found=$(version_of "${PYTHON:-python3}") || found=
        die "Desalink needs Python 3.11 or newer${found:+, and this is $found}: install it," \
            "or name it as in 'PYTHON=/path/to/python3.12 make test'."
    fi
    has_venv "$python" && return
    # Debian and Ubuntu split it off; other systems ship it with Python.
    local package
    package=python$(version_of "$python")-venv
    if command -v apt-get >/dev/null; then
        install "$package" "Python's venv module"
    fi
    has_venv "$python" ||
        die "$python has no working venv module: install it (on Debian and Ubuntu:" \
            "apt-get install $package), then run make again."
}

# --- .venv

wanted() {
    cksum pyproject.toml constraints.txt .ci/setup.sh .ci/mend_stubs.py
    echo "$PWD"
}

# After an upgrade of the system's Python .venv's links still work, but lead past its packages.
usable_venv() {
    local version
    version=$(version_of $VENV/bin/python) && [ -d "$VENV/lib/python$version" ] &&
        [ "$(cat $MADE_FOR 2>/dev/null)" = "$PWD" ] &&
        { [ -z "${PYTHON:-}" ] || [ "$version" = "$(version_of "$PYTHON")" ]; }
}

ready() { usable_venv && [ "$(cat "$READY-$EXTRA" 2>/dev/null)" = "$(wanted)" ]; }

pip_install() {
    with_retries "Installing the packages of Python" \
        $VENV/bin/python -m pip --disable-pip-version-check --no-input \
        install -c constraints.txt "$@" ||
        die "pip could not install the packages of pyproject.toml (its last words are above):" \
            "check the network and 'pip config list', then run make again; ready-made packages" \
            "exist for Python 3.11 to 3.13."
}

make_venv() {
    rm -f $READY-*
    if ! usable_venv; then
        local python
        need_python
        say "Making .venv with $("$python" --version) ..."
        rm -rf $VENV
        quietly "$python" -m venv $VENV ||
            die "'$python -m venv .venv' failed (its last words are above)."
        echo "$PWD" >$MADE_FOR
    fi
    say "Installing the packages of pyproject.toml into .venv (once; about half a minute) ..."
    if [ "$EXTRA" = browser ]; then pip_install -e '.[test,browser]'; else pip_install -e ".[$EXTRA]"; fi
    wanted >$READY-demo # a part of every extra
    [ "$EXTRA" != demo ] || return 0
    # For the type checker only, and never beside the other packages: they replace time, socket ...
    rm -rf $VENV/micropython-stubs
    pip_install --target $VENV/micropython-stubs micropython-esp32-stubs
    $VENV/bin/python .ci/mend_stubs.py $VENV/micropython-stubs
    wanted >$READY-test
    [ "$EXTRA" = test ] || wanted >$READY-browser
}

# One at a time: a second make waits here, then finds the work done.
if command -v flock >/dev/null; then
    exec 9<.ci/setup.sh
    flock 9
fi
need_mosquitto
need_pango
[ "$EXTRA" = demo ] || need_test_daemons
[ "$WANTED" != browser ] || need_chromium
[ "$WANTED" != lab ] || need_lab
ready || make_venv
