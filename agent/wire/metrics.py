"""The vocabulary of the wire: every metric, state, event, cause, with its meaning.

This is the one table from which the documentation (docs/metrics.md) and the province's decoding
are derived. A device never loads it: it writes the numbers of `ids.py`.

A metric is (id, name, unit, scale, kind, meaning); value on the wire = measured value x scale,
rounded to an integer. Kinds, which fix a column's coding in a report (docs/wire.md):

    enum   a code from another table; coded like a gauge
    gauge  a level at the sample's end, or a statistic over the sample; coded as differences
    count  a quantity that happened during the sample and may be summed; coded as it is
"""

METRICS = (
    (1, "state", "", 1, "enum", "state of the link at the sample's end (table of states)"),
    (2, "rtt_gw_min", "ms", 10, "gauge", "least round-trip time to the gateway in the sample"),
    (3, "rtt_gw_mean", "ms", 10, "gauge", "mean round-trip time to the gateway"),
    (4, "rtt_gw_max", "ms", 10, "gauge", "greatest round-trip time to the gateway"),
    (5, "loss_gw", "%", 10, "gauge", "probes to the gateway that got no answer"),
    (6, "rtt_min", "ms", 10, "gauge", "least round-trip time to the upstream targets"),
    (7, "rtt_mean", "ms", 10, "gauge", "mean round-trip time to the upstream targets"),
    (8, "rtt_max", "ms", 10, "gauge", "greatest round-trip time to the upstream targets"),
    (9, "loss", "%", 10, "gauge", "probes to the upstream targets that got no answer"),
    (10, "jitter", "ms", 10, "gauge", "interarrival jitter of upstream probes (RFC 3550, 6.4.1)"),
    (11, "dns_time", "ms", 1, "gauge", "time of one name look-up at the village's own resolver"),
    (12, "signal", "dBm", 1, "gauge", "strength of the radio signal that carries the uplink"),
    (13, "bytes_down", "B", 1, "count", "bytes received from upstream during the sample"),
    (14, "bytes_up", "B", 1, "count", "bytes sent upstream during the sample"),
    (15, "clients", "", 1, "gauge", "active clients of the hotspot at the sample's end"),
    (16, "clients_peak", "", 1, "gauge", "most active clients at once during the sample"),
    (17, "clients_day", "", 1, "gauge", "different clients since midnight WITA"),
    (18, "heap_free", "KiB", 1, "gauge", "free heap of the agent's interpreter"),
    (19, "storage_free", "KiB", 1, "gauge", "free space where the journal lies"),
    (20, "journal_fill", "%", 10, "gauge", "part of the journal that holds what is not stored"),
    (21, "voltage", "V", 100, "gauge", "supply voltage of the device"),
    (22, "temperature", "degC", 1, "gauge", "temperature of the device"),
)

STATES = (
    (0, "unknown", "not known yet: the agent has just started"),
    (1, "up", "every rung of the ladder answers"),
    (2, "degraded", "the internet answers, with loss or delay beyond the configured limits"),
    (3, "interface", "down: the device's own interface or radio has no link or no address"),
    (4, "gateway", "down: the village's router does not answer"),
    (5, "provider", "down: the router answers, nothing beyond it does"),
    (6, "dns", "down: the internet answers by address, names do not resolve"),
    (7, "portal", "down: a captive portal answers in place of the internet"),
    (8, "tls", "down: TLS is intercepted, the certificate is not the expected one"),
    (9, "broker", "the internet is there, the province's broker is not"),
)

EVENTS = (
    (1, "outage_began", "the link left the state up; 1: cause (state), 2: evidence"),
    (2, "outage_ended", "1: cause (state), 3: duration in s, 4: how often it flapped"),
    (3, "booted", "1: reset cause, 2: [boot, up] last seen alive, 3: Unix time of it, 4: clean stop"),
    (4, "clock_set", "1: source, 2: step in s against the clock before, null if there was none"),
    (
        5,
        "dropped",
        "reports lost before they were stored; 1: reason, 2: [first seq, last seq], "
        "3: stream if it is not this report's",
    ),
    (6, "stream_began", "in a stream's first report; 1: reason, 2: stream before, 3: its last seq"),
    (7, "cadence_changed", "1: seconds between samples from now on"),
    (8, "counter_reset", "an interface's counters began anew; 1: metric"),
    (9, "stopped", "the agent was asked to stop and did so in order"),
    (10, "config_changed", "1: first 8 bytes of SHA-256 over the configuration file"),
)

CLOCK_SOURCES = (
    (0, "none", "the clock was never set"),
    (1, "saved", "only a lower bound from before the last reset is known"),
    (2, "ack", "the time inside an acknowledgement from the province"),
    (3, "ntp", "SNTP (RFC 5905, client mode)"),
    (4, "system", "the operating system's clock, which it keeps synchronised itself"),
)

RESET_CAUSES = (
    (0, "unknown", "the platform does not tell"),
    (1, "power", "power came (back)"),
    (2, "brownout", "the supply voltage fell too low"),
    (3, "watchdog", "a watchdog bit"),
    (4, "panic", "the firmware or kernel crashed"),
    (5, "soft", "the device was restarted by command"),
    (6, "agent", "only the agent was started anew, the device kept running"),
)

DROP_REASONS = (
    (1, "full", "the journal's ring was full"),
    (2, "corrupt", "the medium returned bytes that were not the ones written"),
)

STREAM_REASONS = (
    (1, "new", "the journal was empty"),
    (2, "lost", "the province holds reports that the journal no longer knows"),
)

PROBE_RESULTS = (
    (0, "ok", "answered"),
    (1, "timeout", "no answer in time"),
    (2, "refused", "the host answered that nobody listens"),
    (3, "unreachable", "no route, or a router said so"),
    (4, "no_name", "the name did not resolve"),
    (5, "bad_answer", "an answer that the protocol does not allow, or that lies"),
    (6, "no_carrier", "the interface has no link"),
    (7, "no_address", "the interface has no address"),
    (8, "certificate", "the certificate was not the expected one"),
    (9, "error", "any other error"),
)
