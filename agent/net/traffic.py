"""How many bytes the agent itself sends and receives: what counts against its budget."""


class Traffic:
    """Bytes that the agent itself sends and receives beyond the village, since its start, with
    all headers from IP upwards (docs/measuring.md says how). `beyond(n)` is called when n
    more make more than `most`, if somebody keeps account (budget.py); OSError: they must not."""

    total = most = 0
    beyond = None

    def add(self, n):
        self.total += n
        if self.beyond and self.total > self.most:
            self.beyond(n)


own = Traffic()
