# shellcheck shell=busybox
# Sourced when busybox's ntpd has something to say: writes down whether the clock is right.

case "$ACTION" in
stratum | step | periodic)
	# 16: it follows nobody.
	if [ "${stratum:-16}" -lt 16 ]; then
		echo synchronised > /var/run/desalink-clock
	else
		echo searching > /var/run/desalink-clock
	fi
	;;
unsync)
	echo searching > /var/run/desalink-clock
	;;
esac
