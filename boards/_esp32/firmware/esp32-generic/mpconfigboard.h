#define MICROPY_HW_BOARD_NAME "Desalink ESP32"
#define MICROPY_HW_MCU_NAME "ESP32"

#include "../desalink.h"
