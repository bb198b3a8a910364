# Runs at every start, before main.py and before the raw REPL by which a laptop talks to the board.
try:
    from boards._esp32 import storage

    storage.mount_data()
except Exception as e:
    # The board must stay reachable; the agent will say what it lacks.
    print("boot:", type(e).__name__, e)
