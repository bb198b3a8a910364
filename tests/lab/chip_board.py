"""The board of the instrument, whose `socket` lacks the AF_UNIX of the Linux boards' lock."""

from boards.unix import board


class Board(board.Board):
    def lock(self):
        return True
