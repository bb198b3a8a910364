"""The board of the laboratory's devices: Linux, with a clock that can be wrong.

`clock_off` in the state folder holds the seconds by which it is.
"""

from agent.device.interpreter import MICROPYTHON

if MICROPYTHON:
    from boards.unix import board
else:
    from boards._linux import board


class Board(board.Board):
    def unix_time(self):
        try:
            with open(self.state_dir + "/clock_off") as f:
                return super().unix_time() + int(f.read())
        except OSError:
            return super().unix_time()

    def clock_synchronised(self):
        return False
