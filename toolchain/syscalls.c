/* The system calls that newlib's malloc and printf need; the linker drops those not used.
 *
 * The heap grows from the end of .bss (`_end`) up to the stack pointer of the moment. All output,
 * of stdout and of stderr, goes to the semihosting console. There is no input and there are no
 * files. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "semihosting.h"

extern char _end[]; /* linker.py: the first byte behind .bss */

/* Declared here because newlib's headers declare only some of them, and only at times. */
void *_sbrk(ptrdiff_t increment);
int _write(int file, const char *text, int length);
int _read(int file, char *text, int length);
int _close(int file);
int _fstat(int file, struct stat *status);
int _isatty(int file);
int _lseek(int file, int offset, int whence);
int _kill(int process, int signal);
int _getpid(void);
void _exit(int status);

/* The old end of the heap, or (void *)-1 with ENOMEM where it would run into the stack. */
void *_sbrk(ptrdiff_t increment) {
    static char *heap_end = _end;
    const uintptr_t stack_pointer = (uintptr_t)__builtin_frame_address(0);
    char *const old_end = heap_end;
    /* Both in RAM, so the sum of an address and a sane increment cannot wrap; an insane one is
     * caught because it is larger than the gap. */
    if (increment > 0 && (uintptr_t)increment > stack_pointer - (uintptr_t)old_end) {
        errno = ENOMEM;
        return (void *)-1;
    }
    if (increment < 0 && (uintptr_t)(-increment) > (uintptr_t)(old_end - _end)) {
        errno = EINVAL;
        return (void *)-1;
    }
    heap_end = old_end + increment;
    return old_end;
}

int _write(int file, const char *text, int length) {
    enum { SYS_WRITEC = 0x03 };
    (void)file;
    for (int i = 0; i < length; i++) {
        (void)semihosting_call(SYS_WRITEC, text + i);
    }
    return length;
}

int _read(int file, char *text, int length) {
    (void)file;
    (void)text;
    (void)length;
    return 0; /* end of file */
}

int _close(int file) {
    (void)file;
    return 0;
}

int _fstat(int file, struct stat *status) {
    (void)file;
    status->st_mode = S_IFCHR;
    return 0;
}

int _isatty(int file) {
    (void)file;
    return 1; /* so that stdout is flushed at each line's end */
}

int _lseek(int file, int offset, int whence) {
    (void)file;
    (void)offset;
    (void)whence;
    return 0;
}

int _kill(int process, int signal) {
    (void)process;
    (void)signal;
    semihosting_exit(134); /* abort(): 128 + SIGABRT, as a shell shows it */
}

int _getpid(void) {
    return 1;
}

void _exit(int status) {
    semihosting_exit(status);
}
