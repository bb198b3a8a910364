#define MICROPY_HW_BOARD_NAME "Desalink ESP32-C3"
#define MICROPY_HW_MCU_NAME "ESP32C3"
// For boards with a USB chip, beside the USB of the microcontroller itself.
#define MICROPY_HW_ENABLE_UART_REPL (1)

#include "../desalink.h"
