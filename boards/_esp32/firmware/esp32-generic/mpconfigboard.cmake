set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/../manifest.py)

set(SDKCONFIG_DEFAULTS
    boards/sdkconfig.base
    boards/desalink/sdkconfig.4MiB
)
