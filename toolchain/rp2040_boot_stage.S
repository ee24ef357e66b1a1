/* RP2040's boot stage: makes the flash readable at 0x10000000, then starts the firmware there.
 *
 * The boot ROM copies the first 256 bytes of the flash to SRAM, checks their CRC, and jumps to them
 * with LR 0 (RP2040 datasheet 2.8.1.3). So this runs at any address, and has 252 bytes. Called with a
 * return address, as by code that has just programmed the flash, it returns there.
 *
 * The flash is read with the command 03h, one bit at a time, which every SPI flash knows. */

/* Synopsys SSI (datasheet 4.10.13). */
#define XIP_SSI 0x18000000
#define CTRLR0 0x00
#define CTRLR1 0x04
#define SSIENR 0x08
#define SER 0x10
#define BAUDR 0x14
#define SPI_CTRLR0 0xf4

/* Even, from 2 on. At a core's largest clock, 133 MHz, this reads at 33 MHz: 03h is slower than a
 * flash's other commands (W25Q16JV: 50 MHz). */
#define CLOCK_DIVIDER 4
#define FRAME_OF_32_BITS (31 << 16) /* DFS_32; SPI_FRF 0: one bit at a time; SPI mode 0 */
#define EEPROM_READ (3 << 8)        /* TMOD: command and address out, then data in */
#define COMMAND_03H (0x03 << 24)    /* XIP_CMD */
#define COMMAND_OF_8_BITS (2 << 8)  /* INST_L */
#define ADDRESS_OF_24_BITS (6 << 2) /* ADDR_L, in steps of 4; TRANS_TYPE 0: one bit at a time */

#define VTOR 0xe000ed08

    .syntax unified
    .cpu cortex-m0plus
    .thumb
    .section .boot_stage, "ax", %progbits
    .global boot_stage
    .type boot_stage, %function
    .thumb_func
boot_stage:
    movs r0, #0
    ldr r3, =XIP_SSI
    str r0, [r3, #SSIENR] /* the other registers can be written only while it is off */
    movs r1, #CLOCK_DIVIDER
    str r1, [r3, #BAUDR]
    ldr r1, =FRAME_OF_32_BITS | EEPROM_READ
    str r1, [r3, #CTRLR0]
    str r0, [r3, #CTRLR1] /* one frame for each read */
    ldr r1, =COMMAND_03H | COMMAND_OF_8_BITS | ADDRESS_OF_24_BITS
    ldr r2, =XIP_SSI + SPI_CTRLR0
    str r1, [r2]
    movs r1, #1
    str r1, [r3, #SER]
    str r1, [r3, #SSIENR]

    mov r0, lr
    cmp r0, #0
    beq 1f
    bx lr

1:  ldr r0, =_vectors
    ldr r1, =VTOR
    str r0, [r1]
    ldmia r0!, {r1, r2} /* initial SP and reset handler */
    msr msp, r1
    bx r2
    .ltorg
    .size boot_stage, . - boot_stage
