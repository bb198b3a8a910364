// What all boards have in common.

// The agent's image is read in place: MicroPython's own firmware can't do this.
#define MICROPY_VFS_ROM (1)

// Both take memory, and the agent uses neither.
#define MICROPY_PY_BLUETOOTH (0)
#define MICROPY_PY_ESPNOW (0)
