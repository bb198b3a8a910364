#!/bin/sh /etc/rc.common
# Desalink's agent. Its settings: /etc/config/desalink. What it says: logread -e desalink.

# shellcheck shell=busybox disable=SC2034  # rc.common reads these
START=96
STOP=04
USE_PROCD=1

HOME_DIR="$IPKG_INSTROOT/usr/lib/desalink"
# In memory: made anew at every start, and never on the flash.
RUN_DIR="$IPKG_INSTROOT/var/run/desalink"
CONFIG="$RUN_DIR/config.json"

say() {
	logger -s -t desalink -p daemon.err "$1"
}

# The interpreter of the settings, or the first one here that has all that the agent needs.
interpreter() {
	local name
	for name in ${1:-micropython python3}; do
		"$name" -c 'import asyncio, ssl, json, hashlib' 2>/dev/null || continue
		command -v "$name"
		return
	done
	return 1
}

# UCI's settings as the agent's configuration; says what is wrong with them.
convert() {
	local words
	words="$(uci -q show desalink | env MICROPYPATH="$HOME_DIR:.frozen" PYTHONPATH="$HOME_DIR" \
		PYTHONDONTWRITEBYTECODE=1 "$1" -m boards.openwrt.uci "$CONFIG" 2>&1)" && return
	say "${words:-the settings can not be read}"
	return 1
}

# All that a start needs; says what is missing.
prepare() {
	local state
	program="$(interpreter "$(uci -q get desalink.agent.interpreter)")" || {
		say "found no interpreter: install micropython-mbedtls, or python3-asyncio and python3-openssl"
		return 1
	}
	state="$(uci -q get desalink.agent.state_dir)"
	(umask 077 && mkdir -p "$RUN_DIR" "${state:-$IPKG_INSTROOT/etc/desalink/state}") || return 1
	(umask 077 && convert "$program")
}

start_service() {
	local program
	if [ "$(uci -q get desalink.agent.enabled)" != 1 ]; then
		say "is not enabled: run 'desalink provision --ssh', or set desalink.agent.enabled"
		return 0
	fi
	prepare || return 1

	procd_open_instance
	procd_set_param command "$program" -m agent "$CONFIG"
	procd_set_param env MICROPYPATH="$HOME_DIR:.frozen" PYTHONPATH="$HOME_DIR" \
		PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
	procd_set_param file "$CONFIG"
	# For ever, half a minute apart.
	procd_set_param respawn 3600 30 0
	procd_set_param stdout 1
	procd_set_param stderr 1
	procd_set_param term_timeout 20
	procd_close_instance
}

# MicroPython can't catch procd's SIGTERM. At SIGINT it writes a last report and ends; procd waits
# half a minute before it would start it again.
stop_service() {
	local seconds=0
	procd_running desalink || return 0
	procd_send_signal desalink '*' INT
	while procd_running desalink && [ $seconds -lt 12 ]; do
		sleep 1
		seconds=$((seconds + 1))
	done
}

# With a mistake in the new settings the agent goes on with the old ones.
reload_service() {
	local program
	[ "$(uci -q get desalink.agent.enabled)" != 1 ] || prepare || return 1
	stop
	start
}

service_triggers() {
	procd_add_reload_trigger desalink
}
