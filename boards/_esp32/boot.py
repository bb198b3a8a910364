# Runs at every start, before main.py and before the raw REPL by which a laptop talks to the board.
try:
    try:
        import loader  # type: ignore[import-not-found]  # only firmware with ROMFS has it
    except ImportError:
        pass
    else:
        loader.mount()
    from boards._esp32 import storage

    storage.mount_data()
except Exception as e:
    # The board must stay reachable; the agent will say what it lacks.
    print("boot:", type(e).__name__, e)
